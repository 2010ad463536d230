"""Kinds of devices: one file each, with a DEVICE that finds them, waits for them and reads their memory.

Finding never makes a device context and never imports torch; the other methods run inside a worker, which has torch.
"""

from typing import Any, Protocol

from autotune.machine import Device
from autotune.reader import Reader
from autotune.registry import plugins


class DeviceKind(Protocol):
    """What DEVICE in a file of this folder offers."""

    @property
    def kind(self) -> str:
        """Name of the file, and of `Device.kind`."""

    def find(self, reader: Reader) -> tuple[list[Device], str | None]:
        """Usable devices; if there are none, the reason in one sentence. Never raises."""

    def torch_name(self, device: Device) -> str:
        """The name torch gives this device: "cpu", "cuda:0", "mps". Imports torch only if it must."""

    def synchronize(self, torch_name: str) -> None:
        """Wait until everything submitted to the device is done: needed before a clock is read."""

    def memory_used(self, torch_name: str) -> int:
        """Bytes of device memory this process holds now."""

    def memory_peak(self, torch_name: str) -> int:
        """Most bytes this process held since its start or since `reset_peak`; now's value where none is recorded."""

    def reset_peak(self, torch_name: str) -> None:
        """Start a new peak, where the device can."""

    def empty_cache(self, torch_name: str) -> None:
        """Give cached memory back to the device."""


def kinds() -> dict[str, DeviceKind]:
    """Every device kind by name."""
    found: dict[str, Any] = plugins("autotune.devices", "DEVICE")
    return found
