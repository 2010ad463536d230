"""How busy a GPU is at this moment, as its driver tells: without torch and without a device context."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceUsage:
    """A field is None where the driver does not tell.

    busy: share of the driver's last sample period (NVML: 1/6 to 1 s) in which any kernel ran; it says nothing of how
    much of the GPU that kernel filled. memory_busy: share in which the GPU's memory was read or written.
    memory_bytes: in use, by anyone. held_back: what holds its clock down ("heat", "power supply"), or "".
    """

    kind: str
    index: int
    name: str
    busy: float | None = None
    memory_busy: float | None = None
    memory_bytes: int | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    held_back: str = ""


Gauge = Callable[[], DeviceUsage]
