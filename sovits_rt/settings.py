"""Every knob of the runtime. A field is its only declaration: search, profile, command line and README read it."""

from dataclasses import dataclass, field, replace

from autotune.knobs import Choice, OneOf, knob
from autotune.machine import Machine
from autotune.registry import plugins
from sovits_rt.backends import Backend
from sovits_rt.backends.eager import Eager

BACKENDS = plugins("sovits_rt.backends", "BACKEND")
PIECE_FRAMES = 200
WHOLE_SENTENCE_FRAMES = 3000  # 60 s, longer than any sentence: never cut


def core_set(machine: Machine, name: str) -> tuple[int, ...]:
    """The logical cpus that `process.cores` names; for "unpinned" those that the process may use anyway."""
    cpu = machine.cpu
    allowed = cpu.affinity or tuple(range(cpu.logical_cores))
    if name == "performance":
        return cpu.cpus_of("performance")
    if name == "one-cache":
        return max(cpu.cache_domains(3), key=len, default=())
    if name == "one-node":
        nodes = [tuple(c for c in node.cpus if c in allowed) for node in cpu.numa]
        return max(nodes, key=len, default=())
    return allowed


def thread_count(machine: Machine, process: "ProcessSettings") -> int:
    """At least 1, at most the core set and the container's quota."""
    cores = min(len(core_set(machine, process.cores)), machine.usable_cores)
    return max(1, round(cores * process.thread_share))


def _cores_unavailable(name: object, machine: Machine) -> str | None:
    if name == "unpinned":
        return None
    if not machine.cpu.affinity:
        return "this system has no way to pin a process to cores"
    cores = core_set(machine, str(name))
    if not cores:
        return "the machine has no such set of cores, or does not tell"
    if name != "pinned" and len(cores) == len(machine.cpu.affinity):
        return "that would be all cores, as with 'pinned'"
    return None


def _share_unavailable(share: object, machine: Machine) -> str | None:
    assert isinstance(share, float)
    threads = max(1, round(machine.usable_cores * share))
    same = [each for each in SHARES if each > share and max(1, round(machine.usable_cores * each)) == threads]
    return f"gives as many threads here as {same[0]}" if same else None


def _device_unavailable(kind: object, machine: Machine) -> str | None:
    if kind == "cpu" or machine.has(str(kind)):
        return None
    return machine.absent.get(str(kind), "the machine has none")


def backends_for(entry_name: str) -> OneOf:
    return OneOf({name: each for name, each in BACKENDS.items() if each.formats(entry_name)})


def _half_unavailable(precision: object, machine: Machine) -> str | None:
    if precision != "fp16":
        return None
    if not machine.accelerators:
        return "fp16 is for GPUs; a CPU computes in bf16"
    if all("float16" in device.facts.get("unreliable", "") for device in machine.accelerators):
        return "this GPU gave NaN or infinity in fp16 when it was tried"
    return None


def _slots_unavailable(slots: object, machine: Machine) -> str | None:
    assert isinstance(slots, int)
    return "so many pay on a GPU only" if slots >= _SLOTS_FOR_GPUS and not machine.accelerators else None


def _pieces_unavailable(pieces: object, machine: Machine) -> str | None:
    return "several windows in one run pay on a GPU only" if pieces != 1 and not machine.accelerators else None


def _format_unavailable(backend: Backend, entry_name: str, precision: str) -> str | None:
    formats = backend.formats(entry_name)
    if precision in formats:
        return None
    name = type(backend).__name__.lower()
    return f"{name} runs this in {' or '.join(formats)}, not {precision}" if formats else f"{name} can't run this"


def _overlap_unavailable(share: object, machine: Machine) -> str | None:
    if share not in OVERLAP_SHARES:
        return None
    cores = machine.usable_cores
    if cores < 2:
        return "there is but one core to share"
    threads = max(1, round(cores * float(str(share))))
    same = [each for each in OVERLAP_SHARES if each > str(share) and max(1, round(cores * float(each))) == threads]
    return f"gives the decoder as many threads here as {same[0]}" if same else None


OVERLAP_SHARES = ("0.5", "0.25")


def _allocator_unavailable(name: object, machine: Machine) -> str | None:
    if name == "standard" or machine.software.os == "linux":
        return None
    return "only the C library of Linux (glibc) can be told"


SHARES = (1.0, 0.75, 0.5, 0.25, 0.125)
SLOTS = (1, 2, 4, 8, 16, 32, 64)
_SLOTS_FOR_GPUS = 64  # from here on
FIRST_WINDOWS = (16, 32, 64, 128, WHOLE_SENTENCE_FRAMES)


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """What holds for the whole process and must be in place before torch is imported."""

    device: str = knob(
        Choice(("cpu", "cuda", "rocm", "mps")),
        default="cpu",
        doc="What runs the networks.",
        available=_device_unavailable,
    )
    cores: str = knob(
        Choice(("unpinned", "pinned", "performance", "one-cache", "one-node")),
        default="unpinned",
        doc="Cores the process keeps to: any, all by name, the fast ones, those of one L3 cache, of one NUMA node.",
        available=_cores_unavailable,
    )
    thread_share: float = knob(
        Choice(SHARES),
        default=1.0,
        doc="CPU threads, as a share of the usable cores.",
        available=_share_unavailable,
    )
    overlap: str = knob(
        Choice(("serial", "shared", *OVERLAP_SHARES)),
        default="serial",
        doc="Decode while rendering: no, with all threads for both, or with this share of them for the decoder.",
        available=_overlap_unavailable,
    )
    wait_policy: str = knob(
        Choice(("passive", "brief", "active")),
        default="brief",
        doc="Idle threads sleep at once, after a moment, or go on spinning (fast only where nothing else runs).",
    )
    allocator: str = knob(
        Choice(("standard", "keep", "lean")),
        default="standard",
        doc="Freed memory: as the C library likes, kept for the next operation, or given back at once.",
        available=_allocator_unavailable,
    )


@dataclass(frozen=True, slots=True)
class FrontendSettings:
    """From text to what the decoder reads."""

    precision: str = knob(
        Choice(("fp32", "bf16")), default="fp32", doc="Number format of BERT (Chinese text).", exact=False
    )


@dataclass(frozen=True, slots=True)
class SemanticSettings:
    """The text-to-semantic decoder."""

    backend: Backend = knob(backends_for("t2s_step"), default=Eager(), doc="How the decoder's steps are run.")
    precision: str = knob(
        Choice(("fp32", "bf16", "fp16", "int8", "int4")),
        default="fp32",
        doc="Number format of the decoder; int8 and int4 are those of the weights in its steps.",
        exact=False,
        available=_half_unavailable,
    )
    slots: int = knob(
        Choice(SLOTS),
        default=4,
        doc="Sentences decoded together (the batch size).",
        available=_slots_unavailable,
    )
    order: str = knob(
        Choice(("text", "longest")),
        default="text",
        doc="Which sentences are decoded first: as in the text, or after the first one the longest (for files).",
    )

    def unavailable(self, machine: Machine) -> str | None:
        return _format_unavailable(self.backend, "t2s_step", self.precision)


@dataclass(frozen=True, slots=True)
class AcousticSettings:
    """From tokens to waveform."""

    backend: Backend = knob(backends_for("vocoder"), default=Eager(), doc="How the vocoder is run.")
    precision: str = knob(
        Choice(("fp32", "bf16", "fp16")),
        default="fp32",
        doc="Number format of the vocoder.",
        exact=False,
        available=_half_unavailable,
    )
    window: int = knob(
        Choice((50, 100, 200, 400, WHOLE_SENTENCE_FRAMES)),
        default=400,  # most sentences in one piece, and memory that does not grow with the longest
        doc=f"Frames of 20 ms that the vocoder renders at a time; {WHOLE_SENTENCE_FRAMES} is the whole sentence.",
    )

    pieces: int = knob(
        Choice((1, 4, 16)),
        default=1,
        doc=f"Windows per run of the vocoder, other sentences' too; above 1 they have at most {PIECE_FRAMES} frames.",
        available=_pieces_unavailable,
    )

    def unavailable(self, machine: Machine) -> str | None:
        return _format_unavailable(self.backend, "vocoder", self.precision)


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What is heard, and when."""

    first_window: int = knob(
        Choice(FIRST_WINDOWS),
        default=32,
        doc="Frames of 20 ms of a text's first sentence that are given out before its rest is rendered.",
    )


@dataclass(frozen=True, slots=True)
class Settings:
    process: ProcessSettings = field(default_factory=ProcessSettings)
    frontend: FrontendSettings = field(default_factory=FrontendSettings)
    semantic: SemanticSettings = field(default_factory=SemanticSettings)
    acoustic: AcousticSettings = field(default_factory=AcousticSettings)
    stream: StreamSettings = field(default_factory=StreamSettings)


def untuned(machine: Machine) -> Settings:
    """The defaults, on the first GPU if there is one: what tuning starts from and is measured against.

    Apple's GPU is left to the search: on many Macs the processor is faster (upstream issue 516).
    """
    gpus = [device.kind for device in machine.accelerators if device.kind != "mps"]
    settings = Settings()
    return replace(settings, process=replace(settings.process, device=gpus[0])) if gpus else settings
