"""AMD GPUs, found through the kernel's compute driver (KFD) in sysfs; under WSL, which has no KFD, `rocminfo` is asked.

torch drives them under the name "cuda". HSA_OVERRIDE_GFX_VERSION is never set here; where the user set it, it counts.
"""

import re
from dataclasses import dataclass, replace

from autotune.devices import DeviceUsage, Found, Gauge, _pci, cuda, refuse
from autotune.devices._torch import build_refusal, torch_build
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
# Each cuts down and renumbers what the one before it leaves; HIP reads CUDA's variable too.
_CHOOSING = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")


@dataclass(frozen=True, slots=True)
class RocmKind(cuda.CudaKind):
    kind: str = "rocm"

    def find(self, reader: Reader) -> Found:
        if reader.system != "Linux":
            return _elsewhere(reader)
        found = _from_kfd(reader) or _from_rocminfo(reader)
        if not found:
            return _nothing(reader)
        visible = _visible(found, reader)
        if not visible:
            why = f"{' or '.join(name for name in _CHOOSING if name in reader.environment)} hides every AMD GPU"
            return Found.of([refuse(device, "hidden", why, "unset it to use one") for device in found], "")
        return Found.of([_judged(device, reader) for device in visible], "")

    def torch_name(self, device: Device) -> str:
        """torch gives ROCm devices the name "cuda"; it lists them in the driver's order."""
        return f"cuda:{device.index}"

    def gauge(self, device: Device, reader: Reader) -> Gauge | None:
        folder = f"/sys/class/drm/renderD{device.ids.get('render_minor')}/device"
        return (lambda: _usage(reader, folder, device)) if reader.text(f"{folder}/gpu_busy_percent") else None


def _usage(reader: Reader, folder: str, device: Device) -> DeviceUsage:
    """From the files of the kernel's driver (amdgpu): shares in percent, power in microwatts."""

    def number(name: str) -> int | None:
        return whole_number(reader.text(f"{folder}/{name}"))

    sensors = [f"hwmon/{name}" for name in reader.names(f"{folder}/hwmon")]
    power = [number(f"{each}/power1_average") or number(f"{each}/power1_input") for each in sensors]
    limit = [number(f"{each}/power1_cap") for each in sensors]
    busy, memory_busy = number("gpu_busy_percent"), number("mem_busy_percent")
    return DeviceUsage(
        kind=device.kind,
        index=device.index,
        name=device.name,
        busy=None if busy is None else busy / 100,
        memory_busy=None if memory_busy is None else memory_busy / 100,
        memory_bytes=number("mem_info_vram_used"),
        power_watts=next((watts / 1e6 for watts in power if watts), None),
        power_limit_watts=next((watts / 1e6 for watts in limit if watts), None),
    )


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
        memory = whole_number(reader.text(f"{card}/mem_info_vram_total")) or 0
        devices.append(
            Device(
                kind="rocm",
                index=len(devices),
                name=name,
                # A chip that shares the system's memory reports its small own part here, KFD what it may use of both.
                memory_bytes=max(memory, _bank_bytes(reader, number)),
                arch=_overridden(reader) or native,
                ids={"render_minor": str(minor)},
                facts={
                    "native_arch": native,
                    "units": str(properties.get("simd_count", 0)),
                    **_card_facts(reader, card, memory),
                    **({"memory": "shared"} if _bank_bytes(reader, number) > memory > 0 else {}),
                },
            )
        )
    return devices


def _card_facts(reader: Reader, card: str, memory: int) -> dict[str, str]:
    """Power limits, temperature and free memory, as the amdgpu driver tells (hwmon: microwatts, thousandths of °C)."""
    monitors = reader.names(f"{card}/hwmon")
    monitor = f"{card}/hwmon/{monitors[0]}" if monitors else ""
    limit, usual, heat, critical = (
        whole_number(reader.text(f"{monitor}/{name}")) if monitor else None
        for name in ("power1_cap", "power1_cap_default", "temp1_input", "temp1_crit")
    )
    used = whole_number(reader.text(f"{card}/mem_info_vram_used"))
    facts = {
        "power_limit_watts": f"{limit / 1e6:.0f}" if limit else "",
        "power_default_watts": f"{usual / 1e6:.0f}" if usual else "",
        "temperature_celsius": f"{heat // 1000}" if heat else "",
        "memory_free_bytes": f"{memory - used}" if memory and used is not None else "",
        "held_back": "heat" if heat and critical and heat >= critical else "",
    }
    return {name: value for name, value in facts.items() if value}


def _visible(devices: list[Device], reader: Reader) -> list[Device]:
    """What the user's variables leave, numbered as torch will number them; a list with other than numbers keeps all."""
    for variable in _CHOOSING:
        wish = reader.environment.get(variable)
        numbers = None if wish is None else [whole_number(part) for part in wish.split(",") if part.strip()]
        if numbers is None or None in numbers:
            continue
        kept = [devices[number] for number in numbers if number is not None and 0 <= number < len(devices)]
        devices = [replace(device, index=index) for index, device in enumerate(kept)]
    return devices


def _judged(device: Device, reader: Reader) -> Device:
    """The device as it is, or refused: of a family or under a driver that torch can't use."""
    name, native = device.name, device.facts["native_arch"]
    if not _family(device, _SUPPORTED):
        family = _family(device, _REFUSED)
        what = f"{native}, {family}" if family and family not in name else native
        why = f"{name} ({what}) is not supported"
        return refuse(device, "family", why, "AMD GPUs work from the Radeon RX 7000 series and Instinct MI200 on")
    if reader.names("/sys/class/kfd") and not reader.openable("/dev/kfd"):
        why = f"{name} is there, but /dev/kfd may not be opened"
        remedy = "add the user to the group render; in a container: start it with --device /dev/kfd --device /dev/dri"
        return refuse(device, "permission", why, remedy)
    if (refused := build_refusal(reader, "hip", "ROCm")) is not None:
        word = "torch" if reader.package("torch") is None else "build"
        return refuse(device, word, f"{name} is there, but {refused[0]}", refused[1])
    built = torch_build(reader).get("kernels", "").split()
    if built and not any(_covers(text, device.arch) for text in built):
        why = f"torch {reader.package('torch')} has no code for {name} ({device.arch}), only for {' '.join(built)}"
        return refuse(device, "kernels", why, f"install a ROCm build of torch with {native}")
    return device


def _covers(built: str, arch: str) -> bool:
    """ "gfx90a:xnack-" is for gfx90a, "gfx11-generic" for all of gfx11xx."""
    family = built.partition("-")[0]
    return built.partition(":")[0] == arch or (built.endswith("-generic") and arch.startswith(family))


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


def _nothing(reader: Reader) -> Found:
    cards = [name for name in reader.names("/sys/class/drm") if re.fullmatch(r"card\d+", name)]
    vendors = [whole_number(reader.text(f"/sys/class/drm/{card}/device/vendor")) for card in cards]
    none = "No AMD GPU: the kernel's compute driver (amdkfd) lists none."
    if _AMD not in vendors and not _pci.display_adapters(reader, _AMD):
        return Found(reason=none)
    why = "An AMD GPU is there, but the kernel's compute driver (amdkfd) does not list it"
    device = Device("rocm", 0, "AMD GPU", 0, "unknown")
    remedy = "use a kernel with amdgpu and CONFIG_HSA_AMD if it is a Radeon RX 7000 or later"
    return Found.of([refuse(device, "driver", why, remedy)], none)


def _elsewhere(reader: Reader) -> Found:
    reason = f"AMD GPUs are used through ROCm on Linux only, and this is {reader.system}"
    names = _pci.display_adapters(reader, _AMD)
    remedy = "use WSL 2 or Linux if it is a Radeon RX 7000 or later"
    devices = [Device("rocm", index, name, 0, "unknown") for index, name in enumerate(names)]
    refused = [refuse(device, "system", f"{device.name} is there: {reason}", remedy) for device in devices]
    return Found.of(refused, f"{reason}.")


DEVICE = RocmKind()
