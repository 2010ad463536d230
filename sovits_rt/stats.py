"""What one run measured of itself, and the one sentence that says what limits it.

`limit` is a pure function of the facts; its thresholds are the constants here. What does not depend on speech
(quota, other programs, explaining a GPU's use) is `autotune.bottleneck`'s.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autotune import bottleneck, plain
from autotune.devices import Roofline
from autotune.usage import Usage
from sovits_rt.stopwatch import Stage, StageTime

# A stage below this share of the run is not what limits: without it the run would be less than 1.5 times as fast.
LARGE_SHARE = 1 / 3
# From half of what the machine can do on, doubling it would win more than anything else could.
ROOF_SHARE = 0.5
# A GPU that ran kernels this much of the time was not waiting for the processor.
GPU_FED = 0.8
# One span that took half of a stage of many: something happened only once, such as compiling.
ONCE_SHARE, ONCE_SPANS = 0.5, 10


@dataclass(frozen=True, slots=True)
class Decoding:
    """tokens: spoken ones. steps: of all slots together. seconds: busy. bytes_per_second: weights and memory read, at
    least. operations_per_second: multiplications and additions of the weights."""

    tokens: int
    steps: int
    seconds: float
    bytes_per_second: float
    operations_per_second: float

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def step_seconds(self) -> float:
        return self.seconds / self.steps if self.steps else 0.0


@dataclass(frozen=True, slots=True)
class Facts:
    """device: torch's name of where the weights are. wall_seconds: of the whole run, loading included, the choice of
    settings not. first_audio_seconds: from the start of speaking to the first finished sentence. gpu_busy: by stage,
    share of the time in which a kernel ran, where it was seen. device_peak_bytes: most that this process held on a GPU,
    None without one. roofline: None if it could not be measured. sampling_seconds: processor time that looking took.
    """

    device: str
    stages: tuple[StageTime, ...]
    wall_seconds: float
    audio_seconds: float
    first_audio_seconds: float
    decoding: Decoding
    usage: Usage
    usable_cores: int
    device_name: str = ""
    gpu_busy: Mapping[str, float] = field(default_factory=dict)
    device_peak_bytes: int | None = None
    roofline: Roofline | None = None
    sampling_seconds: float = 0.0

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"

    @property
    def busy_seconds(self) -> Mapping[Stage, float]:
        """By stage, summed over threads."""
        return {stage: sum(each.seconds for each in self.stages if each.stage is stage) for stage in self._seen}

    @property
    def longest_thread_seconds(self) -> Mapping[Stage, float]:
        """By stage, on the thread that was busiest with it: what the run at least takes for it."""
        return {stage: max(each.seconds for each in self.stages if each.stage is stage) for stage in self._seen}

    @property
    def other_seconds(self) -> float:
        """Time in which no stage ran, if they never ran side by side; else a lower bound."""
        return max(0.0, self.wall_seconds - sum(each.seconds for each in self.stages))

    @property
    def _seen(self) -> dict[Stage, None]:
        return dict.fromkeys(each.stage for each in self.stages)


def decoding(stages: Sequence[StageTime], *, weights: int, weight_bytes: int, position_bytes: int) -> Decoding:
    """From the counts of Stage.DECODE and `StepCost`'s numbers."""
    decode = [each for each in stages if each.stage is Stage.DECODE]
    names = ("tokens", "steps", "rows", "positions")
    total = {name: sum(each.counts.get(name, 0) for each in decode) for name in names}
    seconds = sum(each.seconds for each in decode)
    read = total["steps"] * weight_bytes + total["positions"] * position_bytes
    operations = 2 * weights * total["rows"]
    return Decoding(
        tokens=total["tokens"],
        steps=total["steps"],
        seconds=seconds,
        bytes_per_second=read / seconds if seconds else 0.0,
        operations_per_second=operations / seconds if seconds else 0.0,
    )


def limit(facts: Facts) -> str:
    """One sentence: what comes from outside first, then the largest stage and why it takes its time."""
    if sentence := bottleneck.outside(facts.usage, facts.usable_cores):
        return sentence
    busy = facts.longest_thread_seconds
    if not busy or facts.wall_seconds <= 0:
        return "Nothing was measured."
    stage = max(busy, key=lambda each: busy[each])
    share = busy[stage] / facts.wall_seconds
    if share < LARGE_SHARE:
        return f"No single part limits: the largest, {stage}, takes {share:.0%} of the time."
    if once := _happened_once(facts, stage):
        return once
    return _SENTENCES[stage](facts, share)


def notes(facts: Facts) -> tuple[str, ...]:
    """What a reader of the numbers may wonder about."""
    device = bottleneck.busiest_device(facts.usage)
    found = [] if device is None or not facts.on_gpu else [bottleneck.low_use(device)]
    return tuple(filter(None, found))


def _happened_once(facts: Facts, stage: Stage) -> str:
    for each in facts.stages:
        if each.stage is stage and each.spans >= ONCE_SPANS and each.longest >= ONCE_SHARE * each.seconds:
            return (
                f"Warming up limits: one call of {stage} took {each.longest:.2f} s of its {each.seconds:.2f} s, to "
                "compile or to set up libraries; the next text in the same process does without."
            )
    return ""


def _load(facts: Facts, share: float) -> str:
    return (
        f"Loading the models limits: it takes {share:.0%} of a run that speaks {facts.audio_seconds:.1f} s; speak more "
        "text per run, or keep one process (the Python API)."
    )


def _text(facts: Facts, share: float) -> str:
    return (
        f"The text front end limits: splitting, normalising and phones take {share:.0%} of the time, on one core; part "
        "of it loads dictionaries, once per process."
    )


def _features(facts: Facts, share: float) -> str:
    return f"BERT limits: the features of Chinese text take {share:.0%} of the time, once per sentence."


def _reference(facts: Facts, share: float) -> str:
    return (
        f"Preparing the voice limits: it takes {share:.0%} of the time, and only the first time that this recording is "
        "used."
    )


def _prefill(facts: Facts, share: float) -> str:
    return (
        f"The decoder's prefill limits, compute-bound: reading text and prompt takes {share:.0%} of the time; a "
        "shorter reference or longer sentences (--split) reduce it."
    )


def _decode(facts: Facts, share: float) -> str:
    work, roof = facts.decoding, facts.roofline
    milliseconds = 1000 * work.step_seconds
    start = f"decoding takes {share:.0%} of the time, {milliseconds:.3g} ms per step"
    if roof is not None and work.bytes_per_second >= ROOF_SHARE * roof.bandwidth:
        return (
            f"The decoder limits, memory-bandwidth-bound: {start}, reading {shown_bytes(work.bytes_per_second)}/s of "
            f"the {shown_bytes(roof.bandwidth)}/s of a copy; fewer bytes (precision) or more slots would help."
        )
    if roof is not None and work.operations_per_second >= ROOF_SHARE * roof.arithmetic:
        return (
            f"The decoder limits, compute-bound: {start}, at {work.operations_per_second / roof.arithmetic:.0%} of the "
            "arithmetic that a matrix product reaches; more slots would not help."
        )
    if facts.on_gpu:
        busy = facts.gpu_busy.get(Stage.DECODE, 0.0)
        if busy >= GPU_FED:
            return (
                f"The decoder limits, by its GPU kernels: {start}, with the GPU {busy:.0%} busy but far from its "
                "bandwidth and arithmetic; fused kernels (a compiled backend) would help."
            )
        return (
            f"The decoder limits, launch-bound: {start}, while the GPU waits for the next short kernel; more slots or "
            "a backend that captures whole steps would help."
        )
    floor = "" if roof is None else f" where reading its memory would take {_floor_milliseconds(facts, roof):.2g} ms"
    return (
        f"The decoder limits, overhead-bound: {start}{floor}, so the rest goes to starting many small operations; more "
        "slots or a compiled backend would help."
    )


def _floor_milliseconds(facts: Facts, roof: Roofline) -> float:
    work = facts.decoding
    return 1000 * work.step_seconds * work.bytes_per_second / roof.bandwidth


def _vocoder(facts: Facts, share: float) -> str:
    busy = facts.gpu_busy.get(Stage.VOCODER, 1.0)
    if facts.on_gpu and busy < GPU_FED:
        return (
            f"The vocoder limits, launch-bound: it takes {share:.0%} of the time with the GPU {busy:.0%} busy; a "
            "larger acoustic.window or a compiled backend would help."
        )
    help_ = "a lower acoustic.precision" if facts.on_gpu else "a lower acoustic.precision or more cores"
    return f"The vocoder limits, compute-bound: it takes {share:.0%} of the time; {help_} would help."


def _output(facts: Facts, share: float) -> str:
    return (
        f"Writing limits: joining and writing take {share:.0%} of the time; a format that is not compressed or a "
        "faster place for -o would help."
    )


_SENTENCES: Mapping[Stage, Callable[[Facts, float], str]] = {
    Stage.LOAD: _load,
    Stage.TEXT: _text,
    Stage.FEATURES: _features,
    Stage.REFERENCE: _reference,
    Stage.PREFILL: _prefill,
    Stage.DECODE: _decode,
    Stage.VOCODER: _vocoder,
    Stage.OUTPUT: _output,
}


def shown_bytes(value: float) -> str:
    """ "1.3 GB", in powers of 1000."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e3:.3g} kB"


def to_dict(facts: Facts) -> dict[str, Any]:
    """For JSON: the facts, what follows from them, the sentence and the notes."""
    data: dict[str, Any] = plain.to_plain(facts)
    data["stages"] = [plain.to_plain(each) for each in facts.stages]
    data["busy_seconds"] = {str(stage): seconds for stage, seconds in facts.busy_seconds.items()}
    data["other_seconds"] = facts.other_seconds
    data["decoding"]["tokens_per_second"] = facts.decoding.tokens_per_second
    data["limit"] = limit(facts)
    data["notes"] = list(notes(facts))
    return data
