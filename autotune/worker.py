"""The inside of one trial: a child process that opens a subject and runs it when told.

Started as `python -m autotune.worker`. Commands come as JSON lines on stdin and are answered one by one on stdout;
both are moved away first, so that a library that prints does no harm. Arrays travel as .npz files. This is the only
file that catches every exception: in here a crash is a result.
"""

import contextlib
import ctypes
import faulthandler
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from autotune import knobs, measure
from autotune.machine import Machine
from autotune.measure import Gate
from autotune.subject import Outputs, Runner, SubjectName, common_gates

PR_SET_PDEATHSIG = 1
GRACE_SECONDS = 30.0
ORPHANED = 111  # exit code when the session's end of the pipe is gone


class Worker:
    """State between commands: the runner, and for each unit the first and the latest outputs."""

    def __init__(self) -> None:
        self._runner: Runner | None = None
        self._first: dict[int, Outputs] = {}
        self._latest: dict[int, Outputs] = {}

    def answer(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one command; what goes wrong becomes {"outcome", "reason"}."""
        try:
            return {"ok": True, **getattr(self, f"do_{command['do']}")(command)}
        except Exception as error:  # noqa: BLE001
            sys.excepthook(*sys.exc_info())  # the traceback goes to the stderr file
            failure = measure.classify_error(error)
            return {"ok": False, "outcome": failure.outcome.value, "reason": failure.reason}

    def do_open(self, command: Mapping[str, Any]) -> dict[str, Any]:
        sys.path.extend(entry for entry in command["path"] if entry not in sys.path)
        subject = SubjectName(command["subject"]["target"], command["subject"]["arguments"]).create()
        machine = Machine.from_dict(command["machine"])
        settings = knobs.load(subject.settings_type, command["settings"], machine)
        self._runner = subject.open(settings, machine)
        return {"units": self._runner.units}

    def do_run(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Seconds of `passes` runs over a unit, timed one by one."""
        runner, unit = self._opened(), command["unit"]
        seconds = []
        for _ in range(command["passes"]):
            start = time.perf_counter()
            outputs = runner.run(unit)
            seconds.append(time.perf_counter() - start)
        self._first.setdefault(unit, outputs)
        self._latest[unit] = outputs
        return {"seconds": seconds}

    def do_outputs(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Write the latest outputs of a unit to a file."""
        with open(command["path"], "wb") as file:
            np.savez(file, **self._latest[command["unit"]])  # type: ignore[arg-type]
        return {}

    def do_compare(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Judge outputs in a file against this process's first ones of the same unit."""
        with np.load(command["path"], allow_pickle=False) as file:
            output = {name: file[name] for name in file.files}
        reference = self._first[command["unit"]]
        gates = common_gates(reference, output)
        if all(gate.passed for gate in gates):
            gates.extend(judged(self._opened(), command["unit"], reference, output))
        return {"gates": [[g.name, bool(g.passed), float(g.value), float(g.limit), g.detail] for g in gates]}

    def do_memory(self, command: Mapping[str, Any]) -> dict[str, Any]:
        return {"peak_bytes": measure.peak_memory_bytes(os.getpid())}

    def _opened(self) -> Runner:
        assert self._runner is not None, "a command came before open"
        return self._runner


def judged(runner: Runner, unit: int, reference: Outputs, output: Outputs) -> list[Gate]:
    """The subject's own gates; an output that can't even be compared (another shape, say) has failed one."""
    try:
        return list(runner.compare(unit, reference, output))
    except Exception as error:  # noqa: BLE001
        sys.excepthook(*sys.exc_info())
        return [Gate("compare", False, 1.0, 0.0, f"comparisons that raised {measure.classify_error(error).reason}")]


def wake_when_orphaned(parent: int) -> None:
    """Linux: be continued, if stopped, when the session ends, so that `listen` can see it.

    Not SIGKILL: that would end this process alone and leave what it started.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGCONT)
        if os.getppid() != parent:  # it ended before the call above
            os._exit(ORPHANED)


def offer_to_oom_killer(adjustment: int) -> None:
    """Ask the system to end this process first when memory runs out, and write no core files."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(adjustment), encoding="ascii")
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """(commands in, answers out) on fresh descriptors; 0 becomes empty and 1 becomes stderr."""
    commands = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return commands, answers


def listen(commands: BinaryIO, inbox: "queue.SimpleQueue[bytes]") -> None:
    """Pass commands on; when the session is gone (its end of the pipe closes), end the whole process group at once."""
    for line in commands:
        inbox.put(line)
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(ORPHANED)


def main() -> None:
    parent, adjustment = int(sys.argv[1]), int(sys.argv[2])
    wake_when_orphaned(parent)
    offer_to_oom_killer(adjustment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the session's business
    faulthandler.enable()
    commands, answers = private_pipes()
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(commands, inbox), daemon=True).start()
    worker = Worker()
    while True:
        command = json.loads(inbox.get())
        if command["do"] == "close":
            os._exit(0)  # no tidying up: a library that crashes in its destructors has already been measured
        # The session ends a run that takes too long. This is for a run that holds the interpreter lock, so that
        # `listen` can't act, when the session is gone: a timer that needs no lock.
        faulthandler.dump_traceback_later(command["limit"] + GRACE_SECONDS, exit=True)
        answer = worker.answer(command)
        faulthandler.cancel_dump_traceback_later()
        answers.write(json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
