"""The session's handle on one worker process: start it, ask with a deadline, read its death, leave nothing behind.

Knows processes and time, not what is measured. Every wait looks at the session's budget and at the free memory.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from autotune import measure
from autotune.errors import TrialError
from autotune.measure import Budget, Failure, Outcome

POLL_SECONDS = 0.2
GOODBYE_SECONDS = 5.0
MEMORY_FLOOR_BYTES = 192 << 20  # with less than this left, the running child ends before the system picks a victim


class ChildFailedError(TrialError):
    """A child died, hung, or answered that it could not; `failure` says which, `child` whose fault it is."""

    def __init__(self, child: "Child", failure: Failure) -> None:
        super().__init__(f"The trial process ({child.role}) failed: {failure.outcome.value}: {failure.reason}")
        self.child = child
        self.failure = failure


class Child:
    """One worker process in its own session and process group. Use as a context manager.

    role: for messages. folder: where its stderr goes, as <role>.stderr. environment: added to this process's own.
    oom_adjustment: 0 to 1000, how gladly the system may end it (Linux).
    """

    def __init__(self, role: str, folder: Path, environment: Mapping[str, str], oom_adjustment: int) -> None:
        self.role = role
        self.alive = True
        self._asked = False  # a command is under way
        self._stderr_path = folder / f"{role}.stderr"
        self._resting = False
        self._replies: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        with self._stderr_path.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "autotune.worker", str(os.getpid()), str(oom_adjustment)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ready(self) -> bool:
        """Alive and waiting for a command."""
        return self.alive and not self._asked

    @property
    def process_id(self) -> int:
        return self._process.pid

    def ask(self, do: str, limit_seconds: float, budget: Budget, **fields: Any) -> dict[str, Any]:
        """Send one command and wait for its answer.

        Raises ChildFailedError (the child is gone then, unless it answered that it could not), and what
        `budget.check` raises; after that the child may be in the middle of its work and must be closed.
        """
        budget.check()
        self.wake()
        deadline = time.monotonic() + limit_seconds
        self._asked = True
        self._send({"do": do, "limit": limit_seconds, **fields})
        while True:
            try:
                patience = min(POLL_SECONDS, deadline - time.monotonic(), budget.left())
                line = self._replies.get(timeout=max(0.0, patience))
                break
            except queue.Empty:
                self._check(do, limit_seconds, deadline, budget)
        if line is None:
            raise self._death()
        self._asked = False
        reply: dict[str, Any] = json.loads(line)
        if not reply["ok"]:
            raise ChildFailedError(self, Failure(Outcome(reply["outcome"]), reply["reason"]))
        return reply

    def rest(self) -> None:
        """Take the processor away while the other child has the baton: waiting threads may spin.

        Linux only: elsewhere a stopped process would outlive a killed session.
        """
        if sys.platform == "linux" and self.alive and not self._resting:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process_id, signal.SIGSTOP)
            self._resting = True

    def wake(self) -> None:
        if sys.platform == "linux" and self._resting:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process_id, signal.SIGCONT)
            self._resting = False

    def close(self) -> None:
        """End the process and all it started; safe to call again."""
        if self.alive:
            self.alive = False
            self._end()

    def stderr_tail(self, size_bytes: int = 8192) -> str:
        with self._stderr_path.open("rb") as file:
            file.seek(max(0, self._stderr_path.stat().st_size - size_bytes))
            return file.read().decode("utf-8", errors="replace")

    def _check(self, do: str, limit_seconds: float, deadline: float, budget: Budget) -> None:
        budget.check()
        if time.monotonic() >= deadline:
            self.close()
            reason = f"no answer to {do!r} within {limit_seconds:.1f} s"
            raise ChildFailedError(self, Failure(Outcome.TIMED_OUT, reason))
        left = measure.available_memory_bytes()
        if left < MEMORY_FLOOR_BYTES:
            self.close()
            reason = f"stopped during {do!r} because only {left / 2**20:.0f} MiB of memory were left"
            raise ChildFailedError(self, Failure(Outcome.OUT_OF_MEMORY, reason))

    def _send(self, command: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, OSError):
            raise self._death() from None

    def _death(self) -> ChildFailedError:
        """The pipe is closed: wait for the exit code, which says more."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GOODBYE_SECONDS)
        code = self._process.returncode
        self.close()
        if code is None:
            failure = Failure(Outcome.CRASHED, "the process closed its pipe and did not end")
        else:
            failure = measure.classify_death(code, self.stderr_tail())
        return ChildFailedError(self, failure)

    def _end(self) -> None:
        """Kill the whole group first and reap then: the group's number can't be taken by others before."""
        if sys.platform == "win32":
            _kill_tree(self.process_id)
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process_id, signal.SIGKILL)
        self._process.wait()
        self._reader.join(GOODBYE_SECONDS)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError, OSError):
            self._process.stdin.close()
        self._process.stdout.close()

    def _listen(self, answers: IO[bytes]) -> None:
        for line in answers:
            self._replies.put(line)
        self._replies.put(None)


def _kill_tree(process_id: int) -> None:
    import psutil

    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(process_id)
        for process in [*parent.children(recursive=True), parent]:
            with contextlib.suppress(psutil.Error):
                process.kill()
