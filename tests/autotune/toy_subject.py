"""A subject that is not speech: square roots of a long vector, block by block. Small blocks are really slower.

Faults are planted by a knob, so that the search meets them as it would meet a broken backend.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotune import knobs
from autotune.knobs import Choice, IntRange, knob
from autotune.machine import Cpu, Machine, Memory, Software
from autotune.measure import Gate, Outcome
from autotune.subject import Outputs

LENGTH = 1 << 14
FAULTS = (
    "none",
    "exception",
    "segfault",
    "abort",
    "hang",
    "out of memory",
    "memory text",
    "killed",
    "nan",
    "shifted",
    "short",
    "import",
    "exit",
    "silence",
    "nan scale",
    "zero scale",
    "swapped",
    "half silent",
    "memory limit",
    "bad alloc",
)
# What each fault must be called.
EXPECTED: Mapping[str, Outcome] = {
    "exception": Outcome.CRASHED,
    "segfault": Outcome.CRASHED,
    "abort": Outcome.CRASHED,
    "exit": Outcome.CRASHED,
    "hang": Outcome.TIMED_OUT,
    "out of memory": Outcome.OUT_OF_MEMORY,
    "memory text": Outcome.OUT_OF_MEMORY,
    "killed": Outcome.OUT_OF_MEMORY,
    "memory limit": Outcome.OUT_OF_MEMORY,
    "bad alloc": Outcome.OUT_OF_MEMORY,
    "import": Outcome.IMPORT_FAILED,
    **dict.fromkeys(
        ("nan", "shifted", "short", "silence", "nan scale", "zero scale", "swapped", "half silent"),
        Outcome.WRONG_OUTPUT,
    ),
}
MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Speed:
    block: int = knob(Choice((32, 64, 256, 2048)), default=64, doc="Elements per step; more is faster.")
    spare: int = knob(IntRange(0, 2), default=0, doc="Changes nothing.")


@dataclass(frozen=True, slots=True)
class Flat:
    spare: int = knob(IntRange(0, 5), default=0, doc="Changes nothing.")


@dataclass(frozen=True, slots=True)
class Faulty:
    block: int = knob(Choice((64, 2048)), default=64, doc="Elements per step; more is faster.")
    fault: str = knob(Choice(FAULTS), default="none", doc="What goes wrong.")


@dataclass(frozen=True, slots=True)
class Many:
    block: int = knob(Choice((64, 256, 2048)), default=64, doc="Elements per step; more is faster.")
    spare: int = knob(IntRange(0, 9999), default=0, doc="Changes nothing.")


KINDS: Mapping[str, type[Any]] = {"speed": Speed, "flat": Flat, "faulty": Faulty, "many": Many}


class ToyRunner:
    def __init__(self, settings: Any) -> None:
        self.units = 2
        self._block = getattr(settings, "block", 64)
        self._fault = getattr(settings, "fault", "none")
        self._values = np.arange(LENGTH, dtype=np.float64)

    def run(self, unit: int) -> Mapping[str, NDArray[Any]]:
        happen(self._fault)
        roots = np.empty(LENGTH)
        for start in range(0, LENGTH, self._block):
            roots[start : start + self._block] = np.sqrt(self._values[start : start + self._block] + unit)
        spoil(roots, self._fault)
        return {"roots": roots[:-1] if self._fault == "short" else roots}

    def compare(self, unit: int, reference: Outputs, output: Outputs) -> Sequence[Gate]:
        worst = float(np.abs(reference["roots"] - output["roots"]).max())
        return [Gate("close", worst <= 1e-9, worst, 1e-9, "largest difference of a root")]


def spoil(roots: NDArray[Any], fault: str) -> None:
    """Faults that leave an output, in place."""
    scales = {"nan scale": np.nan, "zero scale": 0.0, "silence": 0.0}
    if fault in scales:
        roots *= scales[fault]
    if fault == "nan":
        roots[7] = np.nan
    if fault == "shifted":
        roots += 1e-3
    if fault == "swapped":
        roots[:] = roots[::-1].copy()
    if fault == "half silent":
        roots[LENGTH // 2 :] = 0.0


def happen(fault: str) -> None:
    if fault == "exception":
        raise RuntimeError("the toy broke")
    if fault == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if fault == "abort":
        os.abort()
    if fault == "hang":
        time.sleep(3600)
    if fault == "out of memory":
        raise MemoryError
    if fault == "memory text":
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "exit":
        sys.exit(3)
    if fault == "memory limit":
        import resource

        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + 64 * MEGABYTE, resource.RLIM_INFINITY))
        np.ones(512 * MEGABYTE)
    if fault == "bad alloc":  # what a C++ library leaves
        sys.stderr.write("terminate called after throwing an instance of 'std::bad_alloc'\n")
        sys.stderr.flush()
        os.abort()


class Toy:
    """kind: which knobs. grandchild: a file to which the process id of a helper started by `open` is written."""

    name = "toy"

    def __init__(self, kind: str, grandchild: str = "") -> None:
        self.settings_type = KINDS[kind]
        self._grandchild = grandchild

    def reject(self, settings: Any, machine: Machine) -> str | None:
        return "this spare is never used" if getattr(settings, "spare", 0) == 2 else None

    def default(self, machine: Machine) -> Any:
        return knobs.default(self.settings_type)

    def environment(self, settings: Any, machine: Machine) -> Mapping[str, str]:
        return {"OMP_NUM_THREADS": "1"}

    def cost(self, settings: Any) -> tuple[float, ...]:
        return (float(getattr(settings, "spare", 0)),)

    def open(self, settings: Any, machine: Machine) -> ToyRunner:
        print("a library that prints does no harm")
        if self._grandchild:
            helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
            Path(self._grandchild).write_text(str(helper.pid))
        if getattr(settings, "fault", "none") == "import":
            import a_module_that_nobody_has  # noqa: F401
        return ToyRunner(settings)


def toy_machine() -> Machine:
    cpu = Cpu("amd", "Toy", "25.1", "x86_64", (), logical_cores=2, physical_cores=2)
    return Machine(cpu, Memory(1 << 34, 1 << 33), (), Software("3.11", "linux", "6"))
