"""NVIDIA GPUs, found through NVML: it works without a CUDA context, so probing leaves the device alone."""

from dataclasses import dataclass, replace
from typing import Any

from autotune.machine import Device
from autotune.reader import Reader

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class CudaKind:
    kind: str = "cuda"

    def find(self, reader: Reader) -> tuple[list[Device], str | None]:
        nvml = reader.nvml()
        if nvml is None:
            return [], "NVIDIA GPUs can't be looked for: the package nvidia-ml-py is not installed."
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            return [], _init_reason(nvml, error)
        try:
            devices = _devices(nvml)
        except nvml.NVMLError as error:
            return [], f"The NVIDIA driver does not list its GPUs ({error})."
        finally:
            _optional(nvml, "nvmlShutdown")
        if not devices:
            return [], "The NVIDIA driver is there, but it has no GPU."
        devices = _visible(devices, reader)
        if not devices:
            return [], "CUDA_VISIBLE_DEVICES hides every NVIDIA GPU."
        if (reason := _torch_reason(reader)) is not None:
            return [], f"{devices[0].name} is there, but {reason}"
        return devices, None

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


def no_kernels_reason(device: Device) -> str | None:
    """In a worker: why the installed torch has no code for this GPU, or None.

    Such a GPU would fail at its first kernel with "no kernel image is available".
    """
    import torch

    built = torch.cuda.get_arch_list()
    major = device.arch.removeprefix("sm_")[:-1]
    # Code for sm_80 runs on sm_86 and sm_89; compute_XX is translated for anything newer.
    same = any(a.startswith(f"sm_{major}") and a.rstrip("af") <= device.arch for a in built)
    newer = any(a.startswith("compute_") and int(a[8:].rstrip("af")) <= int(device.arch[3:]) for a in built)
    if not built or same or newer:
        return None
    return f"The installed torch has no kernels for {device.name} ({device.arch}); it was built for {', '.join(built)}."


def _devices(nvml: Any) -> list[Device]:
    driver = _text(_optional(nvml, "nvmlSystemGetDriverVersion"))
    devices: list[Device] = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError:
            continue  # a GPU that fell off the bus; the others work
        whole = _device(nvml, handle, index, driver)
        mig = _optional(nvml, "nvmlDeviceGetMigMode", handle)
        devices.extend(_mig_instances(nvml, handle, whole) if mig and mig[0] == 1 else [whole])
    return devices


def _device(nvml: Any, handle: Any, index: int, driver: str) -> Device:
    capability = _optional(nvml, "nvmlDeviceGetCudaComputeCapability", handle)
    limit = _optional(nvml, "nvmlDeviceGetPowerManagementLimit", handle)
    usual = _optional(nvml, "nvmlDeviceGetPowerManagementDefaultLimit", handle)
    clock = _optional(nvml, "nvmlDeviceGetMaxClockInfo", handle, getattr(nvml, "NVML_CLOCK_SM", 1))
    bus = _optional(nvml, "nvmlDeviceGetPciInfo", handle)
    model = _optional(nvml, "nvmlDeviceGetCurrentDriverModel", handle)
    facts = {
        "driver": driver,
        "power_limit_watts": f"{limit / 1000:.0f}" if limit else "",
        "power_default_watts": f"{usual / 1000:.0f}" if usual else "",
        "max_clock_mhz": f"{clock}" if clock else "",
        "driver_model": "wddm" if model == getattr(nvml, "NVML_DRIVER_WDDM", 0) else "",
        "bf16": "native" if capability and capability[0] >= 8 else "emulated",
    }
    ids = {
        "uuid": _text(_optional(nvml, "nvmlDeviceGetUUID", handle)),
        "pci_bus": _text(getattr(bus, "busId", "")),
    }
    return Device(
        kind="cuda",
        index=index,
        name=_text(_optional(nvml, "nvmlDeviceGetName", handle)) or "NVIDIA GPU",
        memory_bytes=_memory(nvml, handle),
        arch=f"sm_{capability[0]}{capability[1]}" if capability else "unknown",
        ids={key: value for key, value in ids.items() if value},
        facts={key: value for key, value in facts.items() if value},
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
        memory = _memory(nvml, part)
        found.append(replace(whole, name=name, memory_bytes=memory, ids=ids, facts={**whole.facts, "mig": "on"}))
    return found


def _memory(nvml: Any, handle: Any) -> int:
    # Version 2 tells what the driver reserves apart; old drivers have only version 1, some boards neither.
    version = getattr(nvml, "nvmlMemory_v2", None)
    memory = None if version is None else _optional(nvml, "nvmlDeviceGetMemoryInfo", handle, version)
    memory = memory or _optional(nvml, "nvmlDeviceGetMemoryInfo", handle)
    return int(memory.total) if memory else 0


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


def _init_reason(nvml: Any, error: Any) -> str:
    code = getattr(error, "value", None)
    if code == getattr(nvml, "NVML_ERROR_LIBRARY_NOT_FOUND", 12):
        return "No NVIDIA driver: the NVML library was not found."
    if code == getattr(nvml, "NVML_ERROR_DRIVER_NOT_LOADED", 9):
        return "The NVIDIA driver is installed, but not loaded; a restart may help."
    return f"The NVIDIA driver does not answer ({error})."


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


def _torch_reason(reader: Reader) -> str | None:
    version = reader.package("torch")
    text = reader.module_file("torch", "version.py")
    if version is None or text is None:
        return "torch is not installed." if version is None else None
    has_cuda = any(line.startswith("cuda") and "None" not in line.partition("=")[2] for line in text.splitlines())
    return None if has_cuda else f"the installed torch {version} is built without CUDA; install a CUDA build of torch."


DEVICE = CudaKind()
