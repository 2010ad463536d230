"""What one trial yields, how a dead child is read, and whether the machine was quiet while the clock ran.

A failure is data with a reason, never a huge number. Knows nothing of knobs, Optuna or statistics.
"""

import math
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import psutil

ROOT = Path("/")
TICK_SECONDS = 0.04  # the kernel counts in hundredths of a second; what short blocks can be off by
FAREWELL_LINES = 12  # how many last lines of a child's stderr are looked at for a reason
OUT_OF_MEMORY_TEXT = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|bad_alloc|failed to allocate memory"
    r"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|hipErrorOutOfMemory",
    re.IGNORECASE,
)


class Outcome(StrEnum):
    """How a trial ended. Only OK and PRUNED carry a comparison with the control."""

    OK = "ok"
    WRONG_OUTPUT = "wrong output"
    OUT_OF_MEMORY = "out of memory"
    CRASHED = "crashed"
    TIMED_OUT = "timed out"
    IMPORT_FAILED = "import failed"
    PRUNED = "pruned"  # dropped early: surely slower than the control
    REJECTED = "rejected"  # never started: the subject or the machine rules it out


@dataclass(frozen=True, slots=True)
class Gate:
    """One check of an output against the reference's. `value` and `limit` are in the unit that `detail` names."""

    name: str
    passed: bool
    value: float
    limit: float
    detail: str

    @property
    def sentence(self) -> str:
        verdict = "passed" if self.passed else "failed"
        return f"gate {self.name} {verdict}: {self.value:.6g} against a limit of {self.limit:.6g} ({self.detail})"


@dataclass(frozen=True, slots=True)
class Sample:
    """One timed block: `passes` runs over one unit took `seconds` together."""

    unit: int
    seconds: float
    passes: int
    used: bool  # False for warm-ups and for blocks that were repeated because something disturbed them
    note: str  # "warm-up", or what disturbed it; empty when the machine was quiet


@dataclass(frozen=True, slots=True)
class Measurement:
    """Everything seen of one child: warm-ups and repeated blocks are kept and flagged."""

    outcome: Outcome
    reason: str  # one sentence; empty when the outcome is OK
    samples: tuple[Sample, ...]
    gates: tuple[Gate, ...]
    open_seconds: float
    peak_memory_bytes: int
    stderr: str = ""  # its end

    @property
    def used(self) -> tuple[Sample, ...]:
        return tuple(each for each in self.samples if each.used)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a child did not answer, or answered that it could not."""

    outcome: Outcome
    reason: str


def classify_error(error: BaseException) -> Failure:
    """An exception inside the child, by type and text."""
    text = " ".join(str(error).split())[:500]
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, MemoryError) or OUT_OF_MEMORY_TEXT.search(text):
        return Failure(Outcome.OUT_OF_MEMORY, said)
    if isinstance(error, ImportError):
        return Failure(Outcome.IMPORT_FAILED, said)
    return Failure(Outcome.CRASHED, said)


def classify_death(exit_code: int, stderr: str) -> Failure:
    """A child that ended by itself; `exit_code` as subprocess gives it (negative: the signal), `stderr` its end."""
    words = farewell(stderr)
    said = f"; it said: {words}" if words else ""
    if OUT_OF_MEMORY_TEXT.search(_last_words(stderr)):
        return Failure(Outcome.OUT_OF_MEMORY, f"the process ended with code {exit_code}{said}")
    if exit_code < 0:
        name = _signal_name(-exit_code)
        if name == "SIGKILL":
            reason = "the process was killed (SIGKILL) from outside, most likely for the memory it used"
            return Failure(Outcome.OUT_OF_MEMORY, reason + said)
        return Failure(Outcome.CRASHED, f"the process was ended by {name}{said}")
    if re.search(r"^(ImportError|ModuleNotFoundError):", words):
        return Failure(Outcome.IMPORT_FAILED, f"the process ended with code {exit_code}{said}")
    return Failure(Outcome.CRASHED, f"the process ended with code {exit_code}{said}")


def _last_words(stderr: str) -> str:
    """The last lines; where the interpreter listed its stack (faulthandler), those before the list."""
    lines = stderr.splitlines()
    fatal = [index for index, line in enumerate(lines) if line.startswith("Fatal Python error")]
    end = fatal[-1] + 1 if fatal else len(lines)
    return "\n".join(lines[max(0, end - FAREWELL_LINES) : end])


def farewell(stderr: str) -> str:
    """The one line of a stderr that tells most: where a fatal error happened, else the last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    fatal = [index for index, line in enumerate(lines) if line.startswith("Fatal Python error")]
    if fatal:
        after = lines[fatal[-1] :]
        current = next((index for index, line in enumerate(after) if line.startswith("Current thread")), 0)
        places = [line for line in after[current:] if line.startswith("File ")]
        return f"{lines[fatal[-1]]} in {places[0]}"[:500] if places else lines[fatal[-1]][:500]
    return lines[-1][:500] if lines else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class BudgetSpentError(Exception):
    """Inside a session only: the time that this phase may use is over."""


class StoppedError(Exception):
    """Inside a session only: the user asked to stop."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Budget:
    """A deadline and the user's stop button; every wait of a session looks at it."""

    deadline: float  # in seconds of the clock; infinite for no limit
    stop: Callable[[], bool] = _never
    clock: Callable[[], float] = time.monotonic  # a replay has a clock of its own

    @classmethod
    def of(
        cls, seconds: float, stop: Callable[[], bool] = _never, clock: Callable[[], float] = time.monotonic
    ) -> "Budget":
        return cls(clock() + seconds, stop, clock)

    def left(self) -> float:
        return self.deadline - self.clock()

    def without(self, seconds: float) -> "Budget":
        """The same budget, ending `seconds` earlier: what is kept back for a later phase."""
        return replace(self, deadline=self.deadline - seconds)

    def check(self) -> None:
        """Raises: StoppedError or BudgetSpentError."""
        if self.stop():
            raise StoppedError
        if self.left() <= 0:
            raise BudgetSpentError


@dataclass(frozen=True, slots=True)
class Counters:
    """What the kernel has counted so far; a field is NaN where this system does not tell."""

    when: float
    busy_seconds: float  # of all cores together, by anyone
    total_seconds: float
    stolen_seconds: float  # taken by other virtual machines on the same host
    throttled_seconds: float  # taken by the container's own quota


@dataclass(frozen=True, slots=True)
class Guard:
    """Limits above which a block does not count. Shares are of one second of wall clock."""

    steal_share: float = 0.05
    throttled_share: float = 0.05
    foreign_cores: float = 0.5
    root: Path = field(default=ROOT)

    def read(self) -> Counters:
        busy, total, stolen = _processor_seconds(self.root)
        return Counters(time.monotonic(), busy, total, stolen, _throttled_seconds(self.root))

    def disturbance(self, before: Counters, after: Counters, own_seconds: float) -> str:
        """What disturbed the time between two readings, or "" if nothing did.

        own_seconds: processor time that the measured process itself used in between; the rest of the busy time is
        foreign. A difference with an unknown (NaN) side never counts as a disturbance.
        """
        wall = max(after.when - before.when, 1e-9)
        stolen = (after.stolen_seconds - before.stolen_seconds) / max(after.total_seconds - before.total_seconds, 1e-9)
        throttled = (after.throttled_seconds - before.throttled_seconds) / wall
        foreign = (after.busy_seconds - before.busy_seconds - own_seconds - TICK_SECONDS) / wall
        if stolen > self.steal_share:
            return f"{stolen:.0%} of the processor was taken by other virtual machines"
        if throttled > self.throttled_share:
            return f"the container's quota held the processor back for {throttled:.0%} of the time"
        if foreign > self.foreign_cores:
            return f"other programs kept {foreign:.1f} cores busy"
        return ""


def _processor_seconds(root: Path) -> tuple[float, float, float]:
    """(busy, total, stolen) seconds since boot from the first line of /proc/stat; NaN where there is none."""
    text = _read(root / "proc/stat")
    if not text.startswith("cpu "):
        return math.nan, math.nan, math.nan
    user, nice, system, idle, iowait, irq, softirq, steal = (float(each) / 100 for each in text.split()[1:9])
    busy = user + nice + system + irq + softirq
    return busy, busy + idle + iowait + steal, steal


def _throttled_seconds(root: Path) -> float:
    """Seconds that the own control group was held back: cgroup v2 (microseconds) or v1 (nanoseconds); NaN if untold."""
    for path, key, unit in (
        ("sys/fs/cgroup/cpu.stat", "throttled_usec", 1e-6),
        ("sys/fs/cgroup/cpu/cpu.stat", "throttled_time", 1e-9),
    ):
        for line in _read(root / path).splitlines():
            if line.startswith(f"{key} "):
                return float(line.split()[1]) * unit
    return math.nan


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def used_processor_seconds(process_id: int) -> float:
    """Processor time of a process so far, all threads; NaN once it is gone."""
    try:
        times = psutil.Process(process_id).cpu_times()
    except psutil.Error:
        return math.nan
    return float(times.user + times.system)


def available_memory_bytes() -> int:
    """Memory that can still be used without swapping."""
    return int(psutil.virtual_memory().available)


def peak_memory_bytes(process_id: int, root: Path = ROOT) -> int:
    """Largest resident size of a process so far; 0 once it is gone.

    Read as VmHWM: `ru_maxrss` of a child starts at its parent's peak. Where there is no /proc, the present size is
    the best that can be had.
    """
    for line in _read(root / f"proc/{process_id}/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        return int(psutil.Process(process_id).memory_info().rss)
    except psutil.Error:
        return 0
