"""AMD GPUs, found through the kernel's compute driver (KFD) in sysfs; under WSL, which has no KFD, `rocminfo` is asked.

torch drives them under the name "cuda". HSA_OVERRIDE_GFX_VERSION is never set here; where the user set it, it counts.
"""

import re
from dataclasses import dataclass

from autotune.devices import cuda
from autotune.machine import Device
from autotune.reader import Reader, whole_number

_NODES = "/sys/class/kfd/kfd/topology/nodes"
_AMD = 0x1002
# Architectures that ROCm's libraries are built for and that this project takes on, and what they are sold as.
_SUPPORTED = (
    (re.compile(r"gfx110[0-3]"), "Radeon RX 7000 (RDNA 3)"),
    (re.compile(r"gfx115[0-3]"), "Radeon 800M (RDNA 3.5)"),
    (re.compile(r"gfx120[01]"), "Radeon RX 9000 (RDNA 4)"),
    (re.compile(r"gfx90a"), "Instinct MI200"),
    (re.compile(r"gfx942"), "Instinct MI300"),
    (re.compile(r"gfx950"), "Instinct MI350"),
)
_REFUSED = (
    (re.compile(r"gfx103\w"), "Radeon RX 6000 series (RDNA 2)"),
    (re.compile(r"gfx101\w"), "Radeon RX 5000 series (RDNA 1)"),
    (re.compile(r"gfx90[06c]|gfx908"), "Vega or Instinct MI100 series"),
)


@dataclass(frozen=True, slots=True)
class RocmKind(cuda.CudaKind):
    kind: str = "rocm"

    def find(self, reader: Reader) -> tuple[list[Device], str | None]:
        if reader.system != "Linux":
            return [], f"AMD GPUs are used through ROCm on Linux only, and this is {reader.system}."
        found = _from_kfd(reader) or _from_rocminfo(reader)
        if not found:
            return [], _nothing_reason(reader)
        usable = [device for device in found if _family(device, _SUPPORTED)]
        if not usable:
            return [], _refusal(found[0])
        if reader.names("/sys/class/kfd") and not reader.openable("/dev/kfd"):
            return [], f"{usable[0].name} is there, but /dev/kfd may not be opened; add the user to the group render."
        if (reason := _torch_reason(reader)) is not None:
            return [], f"{usable[0].name} is there, but {reason}"
        return usable, None

    def torch_name(self, device: Device) -> str:
        """torch gives ROCm devices the name "cuda"; it lists them in the driver's order."""
        return f"cuda:{device.index}"


def gfx_name(version: int) -> str:
    """The kernel's number as an architecture: 110000 -> gfx1100, 90010 -> gfx90a, 90402 -> gfx942."""
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def _from_kfd(reader: Reader) -> list[Device]:
    devices: list[Device] = []
    nodes = sorted(number for name in reader.names(_NODES) if (number := whole_number(name)) is not None)
    for number in nodes:
        properties = _pairs(reader.text(f"{_NODES}/{number}/properties"))
        version = properties.get("gfx_target_version", 0)
        if version == 0:
            continue  # a node of processor cores
        native = gfx_name(version)
        minor = properties.get("drm_render_minor", 0)
        card = f"/sys/class/drm/renderD{minor}/device"
        name = (reader.text(f"{card}/product_name") or "").strip() or f"AMD {_sold_as(native) or 'GPU'}"
        devices.append(
            Device(
                kind="rocm",
                index=len(devices),
                name=name,
                memory_bytes=whole_number(reader.text(f"{card}/mem_info_vram_total")) or _bank_bytes(reader, number),
                arch=_overridden(reader) or native,
                ids={"render_minor": str(minor)},
                facts={"native_arch": native, "units": str(properties.get("simd_count", 0))},
            )
        )
    return devices


def _from_rocminfo(reader: Reader) -> list[Device]:
    if "microsoft" not in (reader.text("/proc/version") or "").lower():
        return []
    devices: list[Device] = []
    for agent in re.split(r"^\s*Agent \d+\s*$", reader.output("rocminfo") or "", flags=re.MULTILINE):
        arch = re.search(r"^\s*Name:\s+(gfx\w+)", agent, re.MULTILINE)
        if arch is None:
            continue
        name = re.search(r"^\s*Marketing Name:\s+(\S.*?)\s*$", agent, re.MULTILINE)
        pool = re.search(r"Segment:\s+GLOBAL.*?Size:\s+(\d+)", agent, re.DOTALL)
        native = arch.group(1)
        devices.append(
            Device(
                kind="rocm",
                index=len(devices),
                name=name.group(1) if name else f"AMD {_sold_as(native) or 'GPU'}",
                memory_bytes=int(pool.group(1)) * 1024 if pool else 0,
                arch=_overridden(reader) or native,
                facts={"native_arch": native},
            )
        )
    return devices


def _pairs(text: str | None) -> dict[str, int]:
    """{"simd_count": 192} out of lines "simd_count 192"."""
    found: dict[str, int] = {}
    for line in (text or "").splitlines():
        name, _, value = line.strip().partition(" ")
        number = whole_number(value)
        if number is not None:
            found[name] = number
    return found


def _bank_bytes(reader: Reader, node: int) -> int:
    folder = f"{_NODES}/{node}/mem_banks"
    sizes = [
        _pairs(reader.text(f"{folder}/{bank}/properties")).get("size_in_bytes", 0) for bank in reader.names(folder)
    ]
    return max(sizes, default=0)


def _overridden(reader: Reader) -> str:
    """The architecture that the user makes ROCm believe in ("11.0.0" -> gfx1100), or ""."""
    parts = reader.environment.get("HSA_OVERRIDE_GFX_VERSION", "").split(".")
    numbers = [whole_number(part) for part in parts]
    if len(numbers) != 3 or None in numbers:
        return ""
    major, minor, step = (number or 0 for number in numbers)
    return gfx_name(major * 10000 + minor * 100 + step)


def _family(device: Device, families: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    native = device.facts["native_arch"]
    return next((name for pattern, name in families if pattern.fullmatch(native)), "")


def _sold_as(arch: str) -> str:
    return next((name for pattern, name in (*_SUPPORTED, *_REFUSED) if pattern.fullmatch(arch)), "")


def _refusal(device: Device) -> str:
    native = device.facts["native_arch"]
    family = _family(device, _REFUSED)
    what = f"{native}, {family}," if family else native
    return (
        f"{device.name} ({what}) is not supported: AMD GPUs work from the Radeon RX 7000 series and Instinct MI200 on."
    )


def _nothing_reason(reader: Reader) -> str:
    cards = [name for name in reader.names("/sys/class/drm") if re.fullmatch(r"card\d+", name)]
    vendors = [whole_number(reader.text(f"/sys/class/drm/{card}/device/vendor")) for card in cards]
    if _AMD in vendors:
        return "An AMD GPU is there, but the kernel's compute driver (amdkfd) does not list it."
    return "No AMD GPU: the kernel's compute driver (amdkfd) lists none."


def _torch_reason(reader: Reader) -> str | None:
    version, text = reader.package("torch"), reader.module_file("torch", "version.py")
    if version is None or text is None:
        return "torch is not installed." if version is None else None
    has_hip = any(line.startswith("hip") and "None" not in line.partition("=")[2] for line in text.splitlines())
    return None if has_hip else f"the installed torch {version} is built without ROCm; install a ROCm build of torch."


DEVICE = RocmKind()
