"""A small tree of settings that uses every kind of knob, and machines to fit it to."""

from dataclasses import dataclass

from autotune.knobs import Choice, IntRange, OneOf, knob
from autotune.machine import Cpu, Device, Machine, Memory, Software


@dataclass(frozen=True, slots=True)
class Eager:
    pass


@dataclass(frozen=True, slots=True)
class Graphs:
    max_batch: int = knob(IntRange(1, 32, log=True), default=4, doc="Largest batch captured.")
    pool: str = knob(Choice(("on", "off")), default="on", doc="Share memory between graphs.")

    def unavailable(self, machine: Machine) -> str | None:
        return None if machine.has("cuda") else "CUDA graphs need an NVIDIA GPU."


@dataclass(frozen=True, slots=True)
class Exported:
    level: int = knob(IntRange(0, 9, step=3), default=3, doc="Optimisation level.")


BACKENDS = {"eager": Eager, "exported": Exported, "graphs": Graphs}


def _fp16(value: str, machine: Machine) -> str | None:
    return "fp16 is slow on processors." if value == "fp16" and not machine.accelerators else None


@dataclass(frozen=True, slots=True)
class Stage:
    backend: Eager | Graphs | Exported = knob(OneOf(BACKENDS), default=Eager(), doc="How it is run.")
    dtype: str = knob(
        Choice(("fp32", "bf16", "fp16")), default="fp32", doc="Compute type.", exact=False, available=_fp16
    )
    slots: int = knob(IntRange(1, 32, log=True), default=4, doc="Sentences at a time.")


@dataclass(frozen=True, slots=True)
class Process:
    threads: int = knob(lambda machine: IntRange(1, machine.usable_cores), default=1, doc="CPU threads.")
    wait: str = knob(Choice(("active", "passive")), default="active", doc="What idle threads do.")
    pin: bool = knob(Choice((True, False)), default=False, doc="Keep threads on their cores.")
    share: float = knob(Choice((0.5, 1.0)), default=1.0, doc="Part of the memory.")
    window: int = knob(Choice((128, 256, 512)), default=256, doc="Frames per chunk.")


@dataclass(frozen=True, slots=True)
class Settings:
    process: Process
    decoder: Stage = Stage(slots=8)
    vocoder: Stage = Stage()

    def unavailable(self, machine: Machine) -> str | None:
        both = self.decoder.slots * self.vocoder.slots > 512
        return "decoder.slots times vocoder.slots may not be over 512." if both else None


def machine(cores: int = 4, gpu: str = "", **cpu: object) -> Machine:
    """gpu: "" or an NVIDIA architecture such as "sm_90"."""
    facts: dict[str, object] = {"vendor": "amd", "model": "", "family": "25.1", "arch": "x86_64", "isa": ("avx2",)}
    facts.update(logical_cores=cores, physical_cores=cores)
    devices = [Device("cuda", 0, "GPU", 24 * 1024**3, gpu, facts={"driver": "580.1"})] if gpu else []
    return Machine(
        cpu=Cpu(**{**facts, **cpu}),  # type: ignore[arg-type]
        memory=Memory(16 * 1024**3, 8 * 1024**3),
        devices=(*devices, Device("cpu", 0, "CPU", 0, "x86_64")),
        software=Software("3.12.1", "linux", "6", {"torch": "2.13.0+cpu"}, {"nvidia": "580.1"} if gpu else {}),
    )
