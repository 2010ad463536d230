"""Reads tests/machines/*.txt into a Reader; the form is described in the README there."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from autotune.reader import Recorded, colon_lines, cpu_list

FOLDER = Path(__file__).parent.parent / "machines"
PATHS = sorted(FOLDER.glob("*.txt"))


def read(path: Path) -> tuple[Recorded, dict[str, Any]]:
    """The recorded machine and what must be found on it."""
    files: dict[str, str] = {}
    groups: dict[str, dict[str, str]] = {}
    outputs: dict[str, str] = {}
    yamls: dict[str, Any] = {}
    words: dict[str, tuple[str, ...]] = {}
    _, *sections = re.split(r"^=== ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for section in sections:
        head, _, body = section.partition("\n")
        kind, _, rest = head.strip().partition(" ")
        if kind == "file":
            target, _, numbers = rest.partition(" for ")
            for number in cpu_list(numbers) if numbers else [0]:
                name = target.replace("{n}", str(number))
                files[name] = files.get(name, "") + body.replace("{n}", str(number))
        elif kind == "output":
            outputs[rest] = body
        elif kind in ("nvml", "expect"):
            yamls[kind] = yaml.safe_load(body)
        elif kind in ("libraries", "kernels"):
            words[kind] = tuple(body.split())
        else:
            groups[kind] = colon_lines(body)
    host = groups.pop("host")
    reader = Recorded(
        system=host["system"],
        release=host["release"].strip('"'),
        architecture=host["architecture"],
        python=host["python"],
        files=files,
        cpus=cpu_list(host.get("affinity")),
        environment=groups.pop("environment", {}),
        packages=groups.pop("packages", {}),
        groups=groups,
        outputs=outputs,
        locked=(host["locked"],) if "locked" in host else (),
        loaded=words.get("libraries", ()),
        built_for=words.get("kernels", ()),
        nvml_module=FakeNvml(yamls["nvml"]) if "nvml" in yamls else None,
    )
    return reader, yamls["expect"]


class NvmlError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class FakeNvml:
    """The functions of pynvml that are used, over recorded data; what is not recorded is "not supported" (3)."""

    NVMLError = NvmlError
    NVML_ERROR_LIBRARY_NOT_FOUND = 12
    NVML_ERROR_DRIVER_NOT_LOADED = 9
    NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1
    NVML_DRIVER_WDDM = 0
    nvmlMemory_v2 = 0x02000028  # noqa: N815

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.open = 0

    def nvmlInit(self) -> None:  # noqa: N802  NVML's own names
        if "init_error" in self.data:
            raise NvmlError(self.data["init_error"])
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> bytes:  # noqa: N802
        return str(self.data["driver"]).encode()

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802
        return int(self._get(self.data, "cuda"))

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.data["gpus"])

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:  # noqa: N802
        gpu: dict[str, Any] = self.data["gpus"][index]
        if gpu.get("lost"):
            raise NvmlError(15)
        return gpu

    def nvmlDeviceGetName(self, gpu: dict[str, Any]) -> str:  # noqa: N802
        return str(self._get(gpu, "name"))

    def nvmlDeviceGetUUID(self, gpu: dict[str, Any]) -> str:  # noqa: N802
        return str(self._get(gpu, "uuid"))

    def nvmlDeviceGetCudaComputeCapability(self, gpu: dict[str, Any]) -> tuple[int, int]:  # noqa: N802
        major, minor = self._get(gpu, "capability")
        return major, minor

    def nvmlDeviceGetMemoryInfo(self, gpu: dict[str, Any], version: int = 1) -> SimpleNamespace:  # noqa: N802
        if version != 1 and self.data.get("memory_v1_only"):
            raise NvmlError(25)
        total = self._get(gpu, "memory_mib")
        return SimpleNamespace(total=total * 1024**2, free=(total - gpu.get("used_mib", 0)) * 1024**2)

    def nvmlDeviceGetPowerManagementLimit(self, gpu: dict[str, Any]) -> int:  # noqa: N802
        return int(self._get(gpu, "power")[0])

    def nvmlDeviceGetPowerManagementDefaultLimit(self, gpu: dict[str, Any]) -> int:  # noqa: N802
        return int(self._get(gpu, "power")[1])

    def nvmlDeviceGetMaxClockInfo(self, gpu: dict[str, Any], clock: int) -> int:  # noqa: N802
        return int(self._get(gpu, "clock"))

    def nvmlDeviceGetCurrentDriverModel(self, gpu: dict[str, Any]) -> int:  # noqa: N802
        self._get(gpu, "wddm")
        return self.NVML_DRIVER_WDDM

    def nvmlDeviceGetTemperature(self, gpu: dict[str, Any], sensor: int) -> int:  # noqa: N802
        return int(self._get(gpu, "celsius"))

    def nvmlDeviceGetComputeMode(self, gpu: dict[str, Any]) -> int:  # noqa: N802
        return int(self._get(gpu, "compute_mode"))

    def nvmlDeviceGetCurrentClocksEventReasons(self, gpu: dict[str, Any]) -> int:  # noqa: N802
        if self.data.get("old_names"):
            raise NvmlError(13)
        return int(self._get(gpu, "slowed_by"))

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, gpu: dict[str, Any]) -> int:  # noqa: N802
        return int(self._get(gpu, "slowed_by"))

    def nvmlDeviceGetMigMode(self, gpu: dict[str, Any]) -> tuple[int, int]:  # noqa: N802
        self._get(gpu, "mig")
        return 1, 1

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu: dict[str, Any]) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: dict[str, Any], slot: int) -> dict[str, Any]:  # noqa: N802
        if slot >= len(gpu["mig"]):
            raise NvmlError(6)
        part: dict[str, Any] = gpu["mig"][slot]
        return part

    def _get(self, gpu: dict[str, Any], name: str) -> Any:
        if gpu.get(name) is None:
            raise NvmlError(3)
        return gpu[name]
