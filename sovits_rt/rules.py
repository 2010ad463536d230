"""Rules of thumb: settings that are likely to be fast on a kind of machine. Guesses, to be tested by tuning.

A rule has a name, so that a profile derived from it can say where it comes from; nothing here was measured.
"""

from dataclasses import dataclass, replace

from autotune.fingerprint import GIB, Fingerprint
from sovits_rt.settings import SHARES, SLOTS, Settings
from sovits_rt.tuning import slot_bytes

VERSION = "1"  # of the rules: raised when one of them changes
NATIVE_HALF = ("avx512_bf16", "amx_bf16", "bf16")
FIRST_CUDA_WITH_BF16 = 80  # compute capability 8.0
MEMORY_FOR_SLOTS = 0.25  # of the device's memory: the networks and the vocoder need theirs
SMALL_GPU_GIB = 6
MANY_CORES = 32

RULES = {
    "nvidia-gpu": "an NVIDIA GPU runs the networks",
    "amd-gpu": "an AMD GPU from the RX 7000 series on runs the networks",
    "apple-cpu": "on Apple silicon the processor runs the networks, on as many threads as there are fast cores",
    "cpu": "without a GPU the processor runs the networks",
    "half-precision": "bf16 where the hardware has it",
    "slots": "as many sentences together as a quarter of the memory holds, at most 32 on a GPU, 4 to 16 by the cores",
    "small-gpu-window": "under 6 GiB the vocoder renders in pieces",
    "small-board-window": "on a few small cores the vocoder renders in pieces, which fit into the caches",
    "fast-cores": "only the fast cores of a mixed processor",
    "one-thread-per-core": "one thread for each pair of hyper-threads",
    "one-node": "one NUMA node of a large server",
}


@dataclass(frozen=True, slots=True)
class Guess:
    """rules: names out of RULES that made the settings what they are."""

    settings: Settings
    rules: tuple[str, ...]

    @property
    def reason(self) -> str:
        return "; ".join(RULES[name] for name in self.rules)


def guess(facts: Fingerprint, shape: str) -> Guess:
    """Likely settings for a machine of these facts and models of this shape; fit them in before use."""
    settings, used = Settings(), []
    on_gpu = facts.kind in ("cuda", "rocm")
    if on_gpu:
        settings = replace(settings, process=replace(settings.process, device=facts.kind))
        used.append("nvidia-gpu" if facts.kind == "cuda" else "amd-gpu")
    else:
        settings, name = _on_processor(settings, facts)
        used += name
    if _has_half(facts):
        settings = replace(
            settings,
            semantic=replace(settings.semantic, precision="bf16"),
            acoustic=replace(settings.acoustic, precision="bf16"),
        )
        used.append("half-precision")
    settings = replace(settings, semantic=replace(settings.semantic, slots=_slots(settings, facts, shape)))
    used.append("slots")
    if on_gpu and facts.device_memory_gib < SMALL_GPU_GIB:
        settings = replace(settings, acoustic=replace(settings.acoustic, window=400))
        used.append("small-gpu-window")
    if facts.kind == "cpu" and facts.cpu_arch == "arm64" and facts.cores <= 4:
        settings = replace(settings, acoustic=replace(settings.acoustic, window=200))
        used.append("small-board-window")
    return Guess(settings, tuple(used))


def _on_processor(settings: Settings, facts: Fingerprint) -> tuple[Settings, list[str]]:
    process = settings.process
    if facts.kind == "mps":
        fast = (facts.cores - facts.efficiency_cores) / facts.cores
        return replace(settings, process=replace(process, thread_share=_share(fast))), ["apple-cpu"]
    used = ["cpu"]
    if facts.efficiency_cores:
        process = replace(process, cores="performance")
        used.append("fast-cores")
    elif facts.cores >= MANY_CORES:
        process = replace(process, cores="one-node")
        used.append("one-node")
    if facts.cpu_arch == "x86_64" and facts.cores >= 4:
        process = replace(process, thread_share=0.5)
        used.append("one-thread-per-core")
    return replace(settings, process=process), used


def _share(wanted: float) -> float:
    return min(SHARES, key=lambda share: abs(share - wanted))


def _has_half(facts: Fingerprint) -> bool:
    if facts.kind == "cuda":
        number = facts.arch.removeprefix("sm_")
        return number.isdecimal() and int(number) >= FIRST_CUDA_WITH_BF16
    if facts.kind == "rocm":
        return True  # every supported one has it
    return facts.kind == "cpu" and any(name in facts.isa for name in NATIVE_HALF)


def _slots(settings: Settings, facts: Fingerprint, shape: str) -> int:
    on_gpu = settings.process.device != "cpu"
    room = (facts.device_memory_gib if on_gpu else facts.memory_gib) * GIB
    most = 32 if on_gpu else 16 if facts.cores >= 8 else 8 if facts.cores >= 4 else 4
    fitting = [
        count
        for count in SLOTS
        if count <= most and count * slot_bytes(shape, settings.semantic.precision) <= MEMORY_FOR_SLOTS * room
    ]
    return max(fitting, default=SLOTS[0])
