"""What a machine is, as frozen facts that can be written down and read back. Finding them out is `probe`'s work.

A fact that could not be read is None or empty, never guessed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autotune import plain
from autotune.errors import ProbeError


@dataclass(frozen=True, slots=True)
class CoreGroup:
    """Logical cpus of one kind. kind: "performance", "efficiency" or "uniform" (all alike)."""

    kind: str
    cpus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cache:
    """One cache and the logical cpus that share it."""

    level: int
    size_bytes: int
    cpus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NumaNode:
    number: int
    cpus: tuple[int, ...]
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor as this process may use it.

    vendor: "intel", "amd", "arm", "apple", … or "unknown". model: the marketing name (useless in virtual machines).
    family: "family.model" on x86, the part number on ARM, "" if unknown. arch: "x86_64", "arm64", ….
    isa: sorted names out of avx2, avx512f, avx512_vnni, avx512_bf16, avx_vnni, amx_bf16, amx_int8, neon, bf16, i8mm,
    dotprod, sve, sve2, sme, fp16. affinity: logical cpus this process may run on; empty where there is none (macOS).
    quota: CPUs' worth of time that the container grants, or None for no limit.
    """

    vendor: str
    model: str
    family: str
    arch: str
    isa: tuple[str, ...]
    logical_cores: int
    physical_cores: int
    affinity: tuple[int, ...] = ()
    quota: float | None = None
    core_groups: tuple[CoreGroup, ...] = ()
    caches: tuple[Cache, ...] = ()
    numa: tuple[NumaNode, ...] = ()

    @property
    def usable_cores(self) -> int:
        """min(affinity, container quota), rounded down, at least 1."""
        allowed = len(self.affinity) or self.logical_cores
        if self.quota is not None:
            allowed = min(allowed, math.floor(self.quota))
        return max(1, allowed)

    @property
    def usable_physical_cores(self) -> int:
        """Like usable_cores, with the hyper-threads of one core counted once; at least 1."""
        threads_per_core = max(1, self.logical_cores // max(1, self.physical_cores))
        allowed = math.ceil((len(self.affinity) or self.logical_cores) / threads_per_core)
        return max(1, min(allowed, self.usable_cores))

    def cpus_of(self, kind: str) -> tuple[int, ...]:
        """Usable logical cpus of one kind ("performance", "efficiency"); empty if the machine has no such kind."""
        allowed = set(self.affinity)
        cpus = (cpu for group in self.core_groups if group.kind == kind for cpu in group.cpus)
        return tuple(sorted(cpu for cpu in cpus if not allowed or cpu in allowed))

    def cache_domains(self, level: int) -> tuple[tuple[int, ...], ...]:
        """Sets of usable logical cpus that share a cache of this level, sets without a usable cpu left out."""
        allowed = set(self.affinity)
        sets = (
            tuple(c for c in cache.cpus if not allowed or c in allowed) for cache in self.caches if cache.level == level
        )
        return tuple(sorted(cpus for cpus in sets if cpus))

    def cache_bytes(self, level: int) -> int:
        """Size of one cache of this level (the largest), 0 if unknown."""
        return max((cache.size_bytes for cache in self.caches if cache.level == level), default=0)


@dataclass(frozen=True, slots=True)
class Memory:
    """limit_bytes: what the container allows, or None. All sizes in bytes; 0 means that it could not be read."""

    total_bytes: int
    available_bytes: int
    limit_bytes: int | None = None

    @property
    def usable_bytes(self) -> int:
        return self.total_bytes if self.limit_bytes is None else min(self.total_bytes, self.limit_bytes)


@dataclass(frozen=True, slots=True)
class Device:
    """Something that can run a network.

    kind: "cpu", "cuda", "rocm" or "mps": a file in `autotune/devices`. index: position in the driver's own order, not
    always torch's. memory_bytes: its own memory, or for "cpu" and "mps" what it shares with the system.
    arch: "sm_90", "gfx1100", "apple", "x86_64", …. ids: names to join lists by ("uuid", "pci_bus"); never in a profile.
    facts: what else is known, as text; what a driver does not tell is left out:
        driver, cuda_driver ("12.8", what the driver can run), driver_model ("wddm"), bf16 ("native" or "emulated"),
        fp16 ("unreliable"), mig ("on"), compute_mode ("exclusive"), max_clock_mhz, native_arch, units,
        power_limit_watts, power_default_watts, temperature_celsius, memory_free_bytes, memory ("shared"),
        wired_limit_bytes (what the user lets Apple's GPU hold),
        held_back (what holds its clock down now: "heat", "power supply"),
        tryout ("works"), unreliable ("float16"), growth_bytes (of a device that was tried, see `probe.tried`),
        refused_for, refused, remedy (of a refused device: a word, why, what to do).
    """

    kind: str
    index: int
    name: str
    memory_bytes: int
    arch: str
    ids: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Software:
    """packages: installed versions by distribution name ("torch", "optuna", "onnxruntime", …), nothing is imported.
    drivers: "nvidia", "rocm", … -> version. os: "linux", "macos", "windows" or the platform's own name.
    torch_build: what the installed torch was built with: "cuda" or "hip" -> version, "kernels" -> the GPU
    architectures that it has code for. openmp: files of the OpenMP runtimes that this process has loaded.
    """

    python: str
    os: str
    os_version: str
    packages: Mapping[str, str] = field(default_factory=dict)
    drivers: Mapping[str, str] = field(default_factory=dict)
    torch_build: Mapping[str, str] = field(default_factory=dict)
    openmp: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Environment:
    """container: "docker", "podman", "kubernetes", … or "" outside of one. overrides: variables the user set that
    change how devices or threads behave (HSA_OVERRIDE_GFX_VERSION, CUDA_VISIBLE_DEVICES, OMP_NUM_THREADS, …).
    wsl: Windows' Linux subsystem; wsl_gpu: whether it passes a GPU through. translated: Python runs as x86 code on
    Apple silicon (Rosetta).
    """

    container: str = ""
    wsl: bool = False
    wsl_gpu: bool = False
    translated: bool = False
    virtual_machine: bool = False
    overrides: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Power:
    """source: "mains", "battery" or "" (not known). profile: the system's power profile ("low-power", "balanced",
    "performance", …) or "". limits: what holds the processor down: "undervoltage", "turbo off", "clock at 60 %".
    """

    source: str = ""
    profile: str = ""
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """devices: usable ones, the cpu last. absent: for each device kind that is not usable, why, in one sentence.
    refused: GPUs that are there and can't be used; their facts say why. unknown: for each fact that could not be read
    ("cpu.caches", "power.source", …), why, in a few words.
    """

    cpu: Cpu
    memory: Memory
    devices: tuple[Device, ...]
    software: Software
    environment: Environment = Environment()
    power: Power = Power()
    absent: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[Device, ...] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def usable_cores(self) -> int:
        return self.cpu.usable_cores

    def devices_of(self, kind: str) -> tuple[Device, ...]:
        return tuple(device for device in self.devices if device.kind == kind)

    def has(self, kind: str) -> bool:
        return any(device.kind == kind for device in self.devices)

    @property
    def accelerators(self) -> tuple[Device, ...]:
        """Usable devices other than the cpu."""
        return tuple(device for device in self.devices if device.kind != "cpu")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON or YAML."""
        data: dict[str, Any] = plain.to_plain(self)
        return data

    @classmethod
    def from_dict(cls, data: object) -> "Machine":
        """The inverse of to_dict. Raises ProbeError naming the place of an unknown, missing or mistyped value."""
        return plain.from_plain(cls, data, ProbeError, "machine")
