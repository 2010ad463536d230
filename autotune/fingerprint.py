"""What identifies a machine for tuning: its class, the facts that matter, how far two machines are apart, its software.

Nothing here names one individual machine: no serial, no UUID, no host name. CPU marketing names are left out because
virtual machines hide them; vendor, family, instruction sets, caches and the core budget say more.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from autotune.machine import Device, Machine

GIB = 1024**3
EXACT = 0.15  # below every discrete difference, above the jitter of reported memory sizes
_KIND_ORDER = ("cuda", "rocm", "mps", "cpu")
_VENDORS = {"cuda": "nvidia", "rocm": "amd", "mps": "apple"}
# Thread counts and device lists are wishes for one run; this one changes what a GPU claims to be.
_IDENTITY_OVERRIDES = ("HSA_OVERRIDE_GFX_VERSION",)
_ISA_CLASSES = (
    ("amx_bf16", "amx"),
    ("avx512_bf16", "avx512bf16"),
    ("avx512_vnni", "avx512vnni"),
    ("avx512f", "avx512"),
    ("avx2", "avx2"),
    ("sve2", "sve2"),
    ("bf16", "bf16"),
    ("dotprod", "dotprod"),
    ("neon", "neon"),
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """kind, vendor, arch, device_name, device_memory_gib: of the main device (the cpu, if there is no other).
    isa: sorted. cores: usable ones. l3_mib: the largest level-3 cache. Sizes rounded to whole GiB and MiB.
    overrides: user variables that change what the device is taken for.
    """

    kind: str
    vendor: str
    arch: str
    device_name: str
    device_memory_gib: int
    cpu_vendor: str
    cpu_arch: str
    cpu_family: str
    isa: tuple[str, ...]
    cores: int
    efficiency_cores: int
    memory_gib: int
    l3_mib: int
    overrides: Mapping[str, str] = field(default_factory=dict)

    @property
    def hw_class(self) -> str:
        """Short and stable: "x86-avx2-2c", "arm64-neon-4c", "cuda-sm90-140gb", "rocm-gfx1100-24gb"."""
        if self.kind != "cpu":
            return f"{self.kind}-{_slug(self.arch)}-{self.device_memory_gib}gb"
        isa = next((name for flag, name in _ISA_CLASSES if flag in self.isa), "base")
        return f"{'x86' if self.cpu_arch == 'x86_64' else _slug(self.cpu_arch)}-{isa}-{self.cores}c"


def main_device(machine: Machine) -> Device | None:
    """The device a profile is made for: the largest NVIDIA, else AMD, else Apple GPU, else the cpu."""
    ranked = sorted(
        (device for device in machine.devices if device.kind in _KIND_ORDER),
        key=lambda device: (_KIND_ORDER.index(device.kind), -device.memory_bytes, device.index),
    )
    return ranked[0] if ranked else None


def fingerprint(machine: Machine) -> Fingerprint:
    cpu, device = machine.cpu, main_device(machine)
    on_cpu = device is None or device.kind == "cpu"
    return Fingerprint(
        kind="cpu" if device is None else device.kind,
        vendor=cpu.vendor if device is None or on_cpu else _VENDORS[device.kind],
        arch=cpu.arch if device is None or on_cpu else device.arch,
        device_name="" if device is None or on_cpu else device.name,
        device_memory_gib=0 if device is None or on_cpu else round(device.memory_bytes / GIB),
        cpu_vendor=cpu.vendor,
        cpu_arch=cpu.arch,
        cpu_family=cpu.family,
        isa=tuple(sorted(cpu.isa)),
        cores=cpu.usable_cores,
        efficiency_cores=len(cpu.cpus_of("efficiency")),
        memory_gib=round(machine.memory.usable_bytes / GIB),
        l3_mib=round(cpu.cache_bytes(3) / 1024**2),
        overrides={k: v for k, v in machine.environment.overrides.items() if k in _IDENTITY_OVERRIDES},
    )


def hw_class(machine: Machine) -> str:
    """The class of a machine, as in `Fingerprint.hw_class`."""
    return fingerprint(machine).hw_class


def qualifiers(machine: Machine) -> dict[str, str]:
    """What tells machines of one class apart, for people."""
    found = fingerprint(machine)
    return {
        "cpu": f"{found.cpu_vendor} {found.cpu_family}".strip(),
        "isa": " ".join(found.isa),
        "cores": str(found.cores),
        "memory": f"{found.memory_gib} GiB",
        "l3": f"{found.l3_mib} MiB",
        **({"device": found.device_name} if found.device_name else {}),
        **found.overrides,
    }


def distance(a: Fingerprint, b: Fingerprint) -> float | None:
    """How far apart two machines are: 0 for the same, about 1 per doubling of cores.

    None if nothing learned on one says anything about the other: another kind, vendor, cpu architecture or override.
    """
    if (a.kind, a.vendor, a.cpu_arch) != (b.kind, b.vendor, b.cpu_arch) or dict(a.overrides) != dict(b.overrides):
        return None
    isa = 0.25 * len(set(a.isa) ^ set(b.isa))
    host = _doublings(a.cores, b.cores) + isa + 0.25 * (a.cpu_family != b.cpu_family)
    host += 0.5 * _doublings(a.memory_gib, b.memory_gib) + 0.25 * _doublings(a.l3_mib, b.l3_mib)
    host += 0.5 * ((a.efficiency_cores > 0) != (b.efficiency_cores > 0)) + 0.25 * (a.cpu_vendor != b.cpu_vendor)
    if a.kind == "cpu":
        return host
    device = 2.0 * _doublings(a.device_memory_gib, b.device_memory_gib)
    device += 4.0 * (a.arch != b.arch) + 0.25 * (a.device_name != b.device_name)
    # The host drives the device: its size matters, but less than where the work is done.
    return device + 0.25 * host if a.cpu_vendor == b.cpu_vendor else device + 0.25 * host + 0.25


def is_exact(a: Fingerprint, b: Fingerprint) -> bool:
    """The same kind of machine as far as can be told."""
    apart = distance(a, b)
    return a.hw_class == b.hw_class and a.cores == b.cores and apart is not None and apart < EXACT


def software_stamp(machine: Machine) -> dict[str, str]:
    """The versions that a measurement depends on: torch, onnxruntime, python and drivers; absent ones left out."""
    packages = machine.software.packages
    stamp = {name: packages[name] for name in ("torch", "onnxruntime", "onnxruntime-gpu", "triton") if name in packages}
    return {"python": machine.software.python, **stamp, **machine.software.drivers}


def software_changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What changed so much that a measurement must be repeated: a package's minor version or build, any driver.

    One text per change: "torch: 2.12.1+cpu -> 2.13.0+cpu". Patch versions do not count.
    """
    names = sorted({*before, *now})
    return [
        f"{name}: {before.get(name, 'not there')} -> {now.get(name, 'not there')}"
        for name in names
        if _release(before.get(name, "")) != _release(now.get(name, ""))
    ]


def _release(version: str) -> tuple[str, ...]:
    number, _, build = version.partition("+")
    return (*number.split(".")[:2], build)


def _doublings(a: int, b: int) -> float:
    return abs(math.log2(max(a, 1) / max(b, 1)))


def _slug(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())
