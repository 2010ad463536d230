"""NVIDIA GPUs, found through NVML: it works without a CUDA context, so probing leaves the device alone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autotune.devices import DeviceUsage, Found, Gauge, _pci, refuse
from autotune.devices._torch import build_refusal, torch_build
from autotune.machine import Device
from autotune.reader import Reader

MIB = 1024**2
_VENDOR = 0x10DE
# Turing without tensor cores: half precision gives NaN there (pytorch issues 58123 and 77955, GPT-SoVITS 24 and 866).
_UNRELIABLE_HALF = re.compile(r"GTX 16\d\d|\bMX[45]50\b|\bT\d{3,4}\b")
# The first driver that runs any CUDA of a major version (CUDA compatibility guide, "minor version compatibility").
_FIRST_DRIVER = {11: 450, 12: 525, 13: 580}
# nvml.h: bits of the reasons for a lowered clock. Software's power cap is left out: under load that is normal.
_HEAT_BITS, _POWER_BRAKE_BIT = 0x20 | 0x40, 0x80
_COMPUTE_MODES = {2: "prohibited", 3: "exclusive"}


@dataclass(frozen=True, slots=True)
class CudaKind:
    kind: str = "cuda"

    def find(self, reader: Reader) -> Found:
        nvml = reader.nvml()
        if nvml is None:
            return Found(reason="NVIDIA GPUs can't be looked for: the package nvidia-ml-py is not installed.")
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            return _without_driver(reader, nvml, error)
        try:
            devices = _devices(nvml)
        except nvml.NVMLError as error:
            why = f"The NVIDIA driver does not list its GPUs ({error})"
            return Found.of([_nameless("driver", why, "restart the machine")], "")
        finally:
            _optional(nvml, "nvmlShutdown")
        if not devices:
            return Found(reason="The NVIDIA driver is there, but it has no GPU.")
        visible = _visible(devices, reader)
        if not visible:
            why, remedy = "CUDA_VISIBLE_DEVICES hides every NVIDIA GPU", "unset it to use one"
            return Found.of([refuse(device, "hidden", why, remedy) for device in devices], "")
        return Found.of([_judged(device, reader) for device in visible], "")

    def torch_name(self, device: Device) -> str:
        """Joined by UUID: torch lists the fastest GPU first, NVML goes by PCI bus."""
        import torch

        wanted = device.ids.get("uuid", "").removeprefix("GPU-")
        for index in range(torch.cuda.device_count()):
            if str(torch.cuda.get_device_properties(index).uuid) == wanted:
                return f"cuda:{index}"
        return f"cuda:{device.index}"

    def synchronize(self, torch_name: str) -> None:
        import torch

        torch.cuda.synchronize(torch_name)

    def memory_used(self, torch_name: str) -> int:
        import torch

        return torch.cuda.memory_reserved(torch_name)

    def memory_peak(self, torch_name: str) -> int:
        import torch

        return torch.cuda.max_memory_reserved(torch_name)

    def reset_peak(self, torch_name: str) -> None:
        import torch

        torch.cuda.reset_peak_memory_stats(torch_name)

    def empty_cache(self, torch_name: str) -> None:
        import torch

        with torch.cuda.device(torch_name):
            torch.cuda.empty_cache()

    def gauge(self, device: Device, reader: Reader) -> Gauge | None:
        """NVML stays open for it."""
        nvml = reader.nvml()
        if nvml is None or "uuid" not in device.ids:
            return None
        try:
            nvml.nvmlInit()
            handle = nvml.nvmlDeviceGetHandleByUUID(device.ids["uuid"])
        except nvml.NVMLError:
            return None
        return lambda: _usage(nvml, handle, device)


def runs_on(arch: str, built: Sequence[str]) -> bool:
    """Whether a torch with code for `built` ("sm_80", "compute_90", …) runs on "sm_86": without that, the first kernel
    fails with "no kernel image is available"."""
    numbers = {text: int(digits.group()) for text in (arch, *built) if (digits := re.search(r"\d+", text))}
    here = numbers.get(arch, 0)
    for text in built:
        number = numbers.get(text, here + 1)
        # sm_80 runs on 8.6 and 8.9; sm_90a only where it says; compute_90 is translated for anything newer.
        same = number == here if text.endswith("a") else number // 10 == here // 10 and number <= here
        if (same and text.startswith("sm_")) or (text.startswith("compute_") and number <= here):
            return True
    return False


def _judged(device: Device, reader: Reader) -> Device:
    """The device as it is, or refused: torch can't use it."""
    name = device.name
    if (refused := build_refusal(reader, "cuda", "CUDA")) is not None:
        word = "torch" if reader.package("torch") is None else "build"
        return refuse(device, word, f"{name} is there, but {refused[0]}", refused[1])
    build, version = torch_build(reader), reader.package("torch")
    needed, runs = _major(build.get("cuda")), _driver_major(device)
    if needed and runs and needed > runs:
        why = f"{name} has driver {device.facts.get('driver')} for CUDA {runs}, and torch {version} needs CUDA {needed}"
        first = f"{_FIRST_DRIVER[needed]} or later" if needed in _FIRST_DRIVER else "a later one"
        return refuse(device, "driver", why, f"update the driver to {first}, or install a torch built for CUDA {runs}")
    built = build.get("kernels", "").split()
    if built and device.arch.startswith("sm_") and not runs_on(device.arch, built):
        why = f"torch {version} has no code for {name} ({device.arch}), only for {' '.join(built)}"
        return refuse(device, "kernels", why, f"install a build of torch with {device.arch}")
    if device.facts.get("compute_mode") == "prohibited":
        why = f"{name} is closed for computing (compute mode prohibited)"
        return refuse(device, "mode", why, "open it: nvidia-smi -c DEFAULT, as administrator")
    return device


def _major(version: str | None) -> int:
    """12 out of "12.8"; 0 if unknown."""
    number = re.match(r"\d+", version or "")
    return int(number.group()) if number else 0


def _driver_major(device: Device) -> int:
    """The CUDA that the driver runs: it says so itself, else by its own number; 0 if unknown."""
    number = _major(device.facts.get("driver"))
    known = [cuda for cuda, first in _FIRST_DRIVER.items() if number >= first]
    return _major(device.facts.get("cuda_driver")) or max(known, default=0)


def _nameless(word: str, why: str, remedy: str) -> Device:
    """A GPU of which no more is known than that it is there."""
    return refuse(Device("cuda", 0, "NVIDIA GPU", 0, "unknown"), word, why, remedy)


def _without_driver(reader: Reader, nvml: Any, error: Any) -> Found:
    """Why the driver can't be asked; whether there is a GPU at all, the system may know."""
    code = getattr(error, "value", None)
    if code == getattr(nvml, "NVML_ERROR_LIBRARY_NOT_FOUND", 12):
        none = "No NVIDIA driver: the NVML library was not found."
        if not _pci.display_adapters(reader, _VENDOR):
            return Found(reason=none)
        why = "An NVIDIA GPU is there, but no driver for it"
        if reader.names("/sys/module/nouveau"):
            why = "An NVIDIA GPU is there, driven by nouveau, which can't compute"
        remedy = "install NVIDIA's driver; in a container: start it with its GPUs (docker run --gpus all)"
        return Found.of([_nameless("driver", why, remedy)], none)
    if code == getattr(nvml, "NVML_ERROR_DRIVER_NOT_LOADED", 9):
        why, remedy = "The NVIDIA driver is installed, but not loaded", "restart; if that does not help, see dmesg"
    elif code == getattr(nvml, "NVML_ERROR_LIB_RM_VERSION_MISMATCH", 18):
        why, remedy = "The NVIDIA driver was updated while the old one is still running", "restart the machine"
    else:
        why, remedy = f"The NVIDIA driver does not answer ({error})", "restart, or install the driver again"
    return Found.of([_nameless("driver", why, remedy)], "")


def _devices(nvml: Any) -> list[Device]:
    driver = _text(_optional(nvml, "nvmlSystemGetDriverVersion"))
    cuda = _optional(nvml, "nvmlSystemGetCudaDriverVersion_v2")
    system = {"driver": driver, "cuda_driver": f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else ""}
    devices: list[Device] = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError:
            continue  # a GPU that fell off the bus; the others work
        whole = _device(nvml, handle, index, system)
        mig = _optional(nvml, "nvmlDeviceGetMigMode", handle)
        devices.extend(_mig_instances(nvml, handle, whole) if mig and mig[0] == 1 else [whole])
    return devices


def _device(nvml: Any, handle: Any, index: int, system: Mapping[str, str]) -> Device:
    name = _text(_optional(nvml, "nvmlDeviceGetName", handle)) or "NVIDIA GPU"
    capability = _optional(nvml, "nvmlDeviceGetCudaComputeCapability", handle)
    limit = _optional(nvml, "nvmlDeviceGetPowerManagementLimit", handle)
    usual = _optional(nvml, "nvmlDeviceGetPowerManagementDefaultLimit", handle)
    clock = _optional(nvml, "nvmlDeviceGetMaxClockInfo", handle, getattr(nvml, "NVML_CLOCK_SM", 1))
    bus = _optional(nvml, "nvmlDeviceGetPciInfo", handle)
    model = _optional(nvml, "nvmlDeviceGetCurrentDriverModel", handle)
    heat = _optional(nvml, "nvmlDeviceGetTemperature", handle, getattr(nvml, "NVML_TEMPERATURE_GPU", 0))
    memory, free = _memory(nvml, handle)
    turing = capability is not None and tuple(capability) == (7, 5)
    facts = {
        **system,
        "power_limit_watts": f"{limit / 1000:.0f}" if limit else "",
        "power_default_watts": f"{usual / 1000:.0f}" if usual else "",
        "max_clock_mhz": f"{clock}" if clock else "",
        "driver_model": "wddm" if model == getattr(nvml, "NVML_DRIVER_WDDM", 0) else "",
        "bf16": "" if capability is None else "native" if capability[0] >= 8 else "emulated",
        "fp16": "unreliable" if turing and _UNRELIABLE_HALF.search(name) else "",
        "compute_mode": _COMPUTE_MODES.get(_optional(nvml, "nvmlDeviceGetComputeMode", handle), ""),
        "temperature_celsius": f"{heat}" if heat else "",
        "memory_free_bytes": free,
        "held_back": _limited_by(nvml, handle),
    }
    ids = {
        "uuid": _text(_optional(nvml, "nvmlDeviceGetUUID", handle)),
        "pci_bus": _text(getattr(bus, "busId", "")),
    }
    return Device(
        kind="cuda",
        index=index,
        name=name,
        memory_bytes=memory,
        arch=f"sm_{capability[0]}{capability[1]}" if capability else "unknown",
        ids={key: value for key, value in ids.items() if value},
        facts={key: value for key, value in facts.items() if value},
    )


def _limited_by(nvml: Any, handle: Any) -> str:
    bits = _optional(nvml, "nvmlDeviceGetCurrentClocksEventReasons", handle)
    if bits is None:  # the same under the name that drivers before 535 know
        bits = _optional(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", handle) or 0
    found = ["heat"] * bool(bits & _HEAT_BITS) + ["power supply"] * bool(bits & _POWER_BRAKE_BIT)
    return ", ".join(found)


def _usage(nvml: Any, handle: Any, device: Device) -> DeviceUsage:
    rates = _optional(nvml, "nvmlDeviceGetUtilizationRates", handle)
    power = _optional(nvml, "nvmlDeviceGetPowerUsage", handle)
    limit = device.facts.get("power_limit_watts")
    total, free = _memory(nvml, handle)
    return DeviceUsage(
        kind=device.kind,
        index=device.index,
        name=device.name,
        busy=None if rates is None else rates.gpu / 100,
        memory_busy=None if rates is None else rates.memory / 100,
        memory_bytes=total - int(free) if free else None,
        power_watts=None if power is None else power / 1000,
        power_limit_watts=float(limit) if limit else None,
        held_back=_limited_by(nvml, handle),
    )


def _mig_instances(nvml: Any, handle: Any, whole: Device) -> list[Device]:
    """A GPU in MIG mode can't be used as a whole: its instances are the devices."""
    found: list[Device] = []
    for slot in range(_optional(nvml, "nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
        part = _optional(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", handle, slot)
        if part is None:
            continue
        name = _text(_optional(nvml, "nvmlDeviceGetName", part)) or f"{whole.name} MIG"
        ids = {"uuid": _text(_optional(nvml, "nvmlDeviceGetUUID", part))}
        memory, free = _memory(nvml, part)
        facts = {**whole.facts, "mig": "on", **({"memory_free_bytes": free} if free else {})}
        found.append(replace(whole, name=name, memory_bytes=memory, ids=ids, facts=facts))
    why = f"{whole.name} is in MIG mode and has no instances"
    return found or [refuse(whole, "mig", why, "make one (nvidia-smi mig -cgi), or switch MIG off (nvidia-smi -mig 0)")]


def _memory(nvml: Any, handle: Any) -> tuple[int, str]:
    """Bytes in all, and bytes free now as text ("" if unknown)."""
    # Version 2 tells what the driver reserves apart; old drivers have only version 1, some boards neither.
    version = getattr(nvml, "nvmlMemory_v2", None)
    memory = None if version is None else _optional(nvml, "nvmlDeviceGetMemoryInfo", handle, version)
    memory = memory or _optional(nvml, "nvmlDeviceGetMemoryInfo", handle)
    return (int(memory.total), str(int(memory.free))) if memory else (0, "")


def _optional(nvml: Any, function: str, *arguments: Any) -> Any:
    """A fact that a driver or board may not have: None then."""
    call = getattr(nvml, function, None)
    if call is None:
        return None
    try:
        return call(*arguments)
    except nvml.NVMLError:
        return None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _visible(devices: list[Device], reader: Reader) -> list[Device]:
    """What CUDA_VISIBLE_DEVICES leaves.

    Numbers follow CUDA's own order, which is NVML's only if the user says so or all GPUs are alike; else it can't be
    told here which ones are meant, and all are kept.
    """
    wish = reader.environment.get("CUDA_VISIBLE_DEVICES")
    if wish is None:
        return devices
    wanted = [part.strip() for part in wish.split(",")]
    alike = len({(device.arch, device.memory_bytes) for device in devices}) == 1
    ordered = alike or reader.environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    visible: list[Device] = []
    for part in wanted:
        if part.isdigit() and not ordered:
            return devices
        if part.isdigit():
            fitting = devices[int(part) : int(part) + 1]
        else:
            fitting = [d for d in devices if part and d.ids.get("uuid", "").startswith(part)]
        if not fitting:
            break  # CUDA stops at the first entry it does not know
        visible.extend(fitting)
    return visible


DEVICE = CudaKind()
