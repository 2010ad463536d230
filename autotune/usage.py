"""What a process and its machine do while they run: cores, memory, context switches, throttling, GPUs.

Most of it is counted by the kernel, so two readings say everything about the time between them. What is only there at
a moment (memory, GPUs) is looked at in between, by `Sampler` in a thread of its own. Knows nothing of what runs.
"""

import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from autotune.devices import DeviceUsage, kinds
from autotune.errors import ProbeError
from autotune.machine import Machine
from autotune.measure import Guard, peak_memory_bytes
from autotune.reader import Live, Reader, colon_lines, whole_number

SAMPLE_SECONDS = 0.5
HIGHEST_CLOCK = 1e-9  # seconds; keeps divisions by the time between two readings finite


@dataclass(frozen=True, slots=True)
class Moment:
    """memory_bytes: resident, of the process and those it started; what they share is counted for each. doing: what
    the process was at, in its own words; several things if it does them side by side."""

    memory_bytes: int
    devices: tuple[DeviceUsage, ...]
    doing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """Of the threads that are there now. voluntary: switches since one waited for something. involuntary: switches
    since the core was given to another. queued_seconds: time in which one could have run and waited for a core."""

    voluntary: int = 0
    involuntary: int = 0
    queued_seconds: float = math.nan


@dataclass(frozen=True, slots=True)
class Reading:
    """What has been counted so far. A number that this system does not tell is NaN.

    core_seconds: busy time of each of the meter's cpus, by anyone. own_seconds: processor time of the process and
    those it started. peak_bytes: largest resident size of the process itself.
    """

    when: float
    core_seconds: tuple[float, ...]
    own_seconds: float
    total_seconds: float
    stolen_seconds: float
    throttled_seconds: float
    counts: "Counts"
    threads: int
    peak_bytes: int
    moment: Moment


@dataclass(frozen=True, slots=True)
class Usage:
    """What happened in `seconds`; a field is None where this system does not tell.

    cores: busy share of each usable logical cpu, by anyone, 0 to 1. own_cores, foreign_cores: cores' worth of processor
    time that the process with those it started, and all others on the same cpus, used. stolen_share: of the machine's
    processor time, taken by other virtual machines. throttled_share: of the time, held back by the container's quota.
    queued_threads: how many, on average, could have run and waited for a core. voluntary_switches: since a thread
    waited for something; involuntary_switches: since its core was given to another. memory_bytes: at the end.
    peak_memory_bytes: the most so far. devices: means, but for the memory, which is the most that was seen.
    """

    seconds: float
    cores: tuple[float, ...]
    own_cores: float
    foreign_cores: float
    stolen_share: float | None
    throttled_share: float | None
    queued_threads: float | None
    voluntary_switches: int
    involuntary_switches: int
    threads: int
    memory_bytes: int
    peak_memory_bytes: int
    devices: tuple[DeviceUsage, ...]

    @property
    def idle_cores(self) -> float:
        return max(0.0, len(self.cores) - sum(self.cores))


def between(first: Reading, last: Reading, moments: Sequence[Moment] = ()) -> Usage:
    """moments: what was seen on the way, besides that of the last reading."""
    seconds = max(last.when - first.when, HIGHEST_CLOCK)
    cores = tuple(
        min(1.0, max(0.0, now - then) / seconds)
        for then, now in zip(first.core_seconds, last.core_seconds, strict=False)
    )
    own = max(0.0, last.own_seconds - first.own_seconds) / seconds
    total = max(last.total_seconds - first.total_seconds, HIGHEST_CLOCK)
    before, after = first.counts, last.counts
    seen = (*moments, last.moment)
    return Usage(
        seconds=seconds,
        cores=cores,
        own_cores=own,
        foreign_cores=max(0.0, sum(cores) - own),
        stolen_share=_known((last.stolen_seconds - first.stolen_seconds) / total),
        throttled_share=_known((last.throttled_seconds - first.throttled_seconds) / seconds),
        queued_threads=_known((after.queued_seconds - before.queued_seconds) / seconds),
        voluntary_switches=max(0, after.voluntary - before.voluntary),
        involuntary_switches=max(0, after.involuntary - before.involuntary),
        threads=last.threads,
        memory_bytes=last.moment.memory_bytes,
        peak_memory_bytes=max(last.peak_bytes, *(each.memory_bytes for each in seen)),
        devices=tuple(_mean(column) for column in zip(*(each.devices for each in seen), strict=True)),
    )


def busy_while(doing: str, moments: Sequence[Moment]) -> float | None:
    """Mean use of the busiest device in the moments at which the process was at `doing`; None if nothing is known."""
    columns = zip(*(each.devices for each in moments if doing in each.doing), strict=True)
    shares = [share for column in columns if (share := _mean(column).busy) is not None]
    return max(shares, default=None)


class Meter:
    """Reads one process, those it started, and the machine's accelerators.

    process_id: whose. waits: the process is a child of this one and will be waited for; what it used stays known then.
    device_kinds: whose devices are looked at. Raises ProbeError for a process that is not there or may not be read.
    """

    def __init__(
        self,
        machine: Machine,
        process_id: int | None = None,
        *,
        waits: bool = False,
        device_kinds: Sequence[str] = (),
        reader: Reader | None = None,
    ) -> None:
        self._id = os.getpid() if process_id is None else process_id
        self._waits = waits
        self._cpus = machine.cpu.affinity or tuple(range(machine.cpu.logical_cores))
        self._guard = Guard()
        self._reader: Reader = Live() if reader is None else reader
        devices = [device for kind in device_kinds for device in machine.devices_of(kind)]
        found = [kinds()[device.kind].gauge(device, self._reader) for device in devices]
        self._gauges = [gauge for gauge in found if gauge is not None]
        self._last: Reading | None = None
        try:
            self._process = psutil.Process(self._id)
            self._root = psutil.Process() if waits else self._process
            self._process.cpu_times()
        except (psutil.NoSuchProcess, ValueError, OverflowError) as error:
            raise ProbeError(
                f"There is no process {process_id}; `ps` or the task manager lists those that run."
            ) from error
        except psutil.AccessDenied as error:
            raise ProbeError(
                f"Process {process_id} may not be looked at; run this as the user it belongs to, or as administrator."
            ) from error

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        try:
            return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def read(self) -> Reading:
        """What has been counted so far; of a process that is gone, as far as it is still known."""
        counters = self._guard.read()
        times = psutil.cpu_times(percpu=True)
        reading = Reading(
            when=counters.when,
            core_seconds=tuple(_busy_seconds(times[cpu]) for cpu in self._cpus if cpu < len(times)),
            own_seconds=self._own_seconds(),
            total_seconds=counters.total_seconds,
            stolen_seconds=counters.stolen_seconds,
            throttled_seconds=counters.throttled_seconds,
            counts=self._counts(),
            threads=self._threads(),
            peak_bytes=peak_memory_bytes(self._id),
            moment=self.moment(),
        )
        if self._last is not None and not self.alive:
            before = self._last
            reading = replace(reading, counts=before.counts, threads=before.threads, peak_bytes=before.peak_bytes)
            if not self._waits:
                reading = replace(reading, own_seconds=before.own_seconds)
        self._last = reading
        return reading

    def moment(self) -> Moment:
        """Cheap: for twice a second."""
        return Moment(self._memory_bytes(), tuple(gauge() for gauge in self._gauges))

    def _own_seconds(self) -> float:
        """Processor time of the process and those it started; what ended and was waited for counts for its parent."""
        seconds = 0.0
        for each in self._family():
            try:
                times = each.cpu_times()
            except psutil.Error:
                continue
            seconds += times.user + times.system + times.children_user + times.children_system
            if self._waits and each == self._root:
                seconds -= times.user + times.system
        return seconds

    def _family(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            return []

    def _memory_bytes(self) -> int:
        # The process alone for a sampler in it: listing the children reads every process of the machine.
        family = [self._process] if self._id == os.getpid() else self._family()
        return sum(_resident_bytes(each) for each in family if each != self._root or not self._waits)

    def _threads(self) -> int:
        try:
            return int(self._process.num_threads())
        except psutil.Error:
            return 0

    def _counts(self) -> Counts:
        family = [each for each in self._family() if each != self._root or not self._waits]
        tasks = [task for each in family for task in Path(f"/proc/{each.pid}/task").glob("*")]
        if tasks:  # on Linux psutil counts only the first thread
            return _counts_of_tasks(tasks)
        try:
            switches = self._process.num_ctx_switches()
        except psutil.Error:
            return Counts()
        return Counts(int(switches.voluntary), int(switches.involuntary))


class Sampler:
    """Looks at a meter's moments in a thread of its own, from the beginning of a `with` block to its end.

    doing: what the process is at, asked at each moment. usage: what happened in the block, once it has ended.
    moments: those looked at. overhead_seconds: processor time that the thread used.
    """

    def __init__(
        self,
        meter: Meter,
        interval_seconds: float = SAMPLE_SECONDS,
        doing: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._meter = meter
        self._interval = interval_seconds
        self._doing = doing
        self.moments: list[Moment] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
        self.overhead_seconds = 0.0

    def __enter__(self) -> "Sampler":
        self._first = self._meter.read()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        self.usage = between(self._first, self._meter.read(), self.moments)

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            self.moments.append(replace(self._meter.moment(), doing=tuple(self._doing())))
        self.overhead_seconds = time.thread_time()


def _counts_of_tasks(tasks: Sequence[Path]) -> Counts:
    """Of Linux' folders of threads; schedstat holds nanoseconds on a core, nanoseconds queued, and a count."""
    states = [colon_lines(_text(task / "status")) for task in tasks]
    names = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
    voluntary, involuntary = (sum(whole_number(state.get(name)) or 0 for state in states) for name in names)
    queued = [words[1] for task in tasks if len(words := _text(task / "schedstat").split()) == 3]
    return Counts(voluntary, involuntary, sum(map(int, queued)) / 1e9 if queued else math.nan)


def _busy_seconds(times: Any) -> float:
    """Of one cpu, as psutil gives it; guests are counted in user and nice already."""
    names = ("user", "nice", "system", "irq", "softirq", "interrupt", "dpc")
    return float(sum(getattr(times, name, 0.0) for name in names))


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _known(value: float) -> float | None:
    return None if math.isnan(value) else max(0.0, value)


def _mean(samples: Sequence[DeviceUsage]) -> DeviceUsage:
    """Of one device, at several moments."""

    def mean(name: str) -> float | None:
        values = [value for each in samples if (value := getattr(each, name)) is not None]
        return sum(values) / len(values) if values else None

    held = [each.held_back for each in samples if each.held_back]
    return replace(
        samples[-1],
        busy=mean("busy"),
        memory_busy=mean("memory_busy"),
        power_watts=mean("power_watts"),
        memory_bytes=max((each.memory_bytes for each in samples if each.memory_bytes is not None), default=None),
        held_back=max(held, key=held.count) if 2 * len(held) > len(samples) else "",
    )
