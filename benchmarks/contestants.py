"""The benchmark's end of the line to one contestant's process: start it, ask, read its death, end it."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from autotune import measure

ROOT = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
DEADLINE_SECONDS = 900.0
GOODBYE_SECONDS = 5.0


class ContestantError(Exception):
    """A contestant died, hung, or answered with an error."""


class MissingWorkError(Exception):
    """A contestant has no such thing; the text says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One contestant, as it will be started. command: before anything is asked. environment: added to this process's.
    prepared: what `prepare` is given beside the work. peer: someone else's, not ours. commit: of a peer's checkout."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    prepared: Mapping[str, Any]
    peer: bool
    commit: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """See peers/_serve.py. peak_bytes: of the contestant's process so far."""

    seconds: float
    parts: Mapping[str, float]
    counts: Mapping[str, float]
    facts: Mapping[str, Any]
    peak_bytes: int


class Contestant:
    """A process that answers lines of JSON. Use as a context manager. started: by time.perf_counter.

    Raises ContestantError if there is no such program.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.started = time.perf_counter()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        try:
            self._process = subprocess.Popen(
                entry.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={**os.environ, **entry.environment},
                cwd=ROOT,
            )
        except OSError as error:
            self._stderr.close()
            raise ContestantError(
                f"{entry.name} can't be started with {entry.command[0]} ({error.strerror}); name another Python."
            ) from error
        self._replies: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Contestant":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, do: str, arguments: Mapping[str, Any], save: Path | None = None) -> Answer:
        """Raises MissingWorkError, ContestantError."""
        request = {"do": do, "with": dict(arguments), "save": None if save is None else str(save)}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._replies.get(timeout=DEADLINE_SECONDS)
        except queue.Empty:
            self.close()
            raise ContestantError(f"{self.entry.name} gave no answer to {do!r} in {DEADLINE_SECONDS:.0f} s.") from None
        except OSError:
            line = None
        if line is None:
            raise ContestantError(f"{self.entry.name} ended while asked to {do}: {self._last_words()}")
        try:
            reply = json.loads(line)
        except ValueError:
            raise ContestantError(f"{self.entry.name} answered {line[:80]!r}, which is no line of JSON.") from None
        if "missing" in reply:
            raise MissingWorkError(reply["missing"])
        if "error" in reply:
            raise ContestantError(f"{self.entry.name} could not {do}: {reply['error']}")
        return Answer(**reply)

    def close(self) -> None:
        """Safe to call again."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(GOODBYE_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        if not self._stderr.closed:
            self._stderr.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._replies.put(line)
        self._replies.put(None)

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GOODBYE_SECONDS)
        self._stderr.seek(0)
        said = self._stderr.read().decode("utf-8", errors="replace")
        return measure.farewell(said) or f"exit code {self._process.returncode}"


def our_command() -> tuple[str, ...]:
    return (sys.executable, "-m", "benchmarks.ours")


def peer_command(kind: str, python: str, checkout: Path, option: str) -> tuple[str, ...]:
    return (python, str(PEERS / f"{kind}.py"), str(checkout), *([option] if option else []))


def peer_kinds() -> list[str]:
    """Those that have an adapter."""
    return sorted(path.stem for path in PEERS.glob("*.py") if not path.stem.startswith("_"))


def commit_of(checkout: Path) -> str:
    """Short; what is in the file COMMIT of an unpacked archive, or "unknown" where nobody tells."""
    if (checkout / "COMMIT").is_file():
        return (checkout / "COMMIT").read_text(encoding="utf-8").strip()[:12]
    if not (checkout / ".git").exists():
        return "unknown"
    asked = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=10"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
