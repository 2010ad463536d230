"""Kinds of devices: one file each, with a DEVICE that finds them, waits for them and reads their memory.

Finding never makes a device context and never imports torch; the other methods run inside a worker, which has torch.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from autotune.devices._gauge import DeviceUsage as DeviceUsage
from autotune.devices._gauge import Gauge as Gauge
from autotune.devices._roofline import BUFFER_BYTES as BUFFER_BYTES
from autotune.devices._roofline import Roofline as Roofline
from autotune.devices._roofline import measure_roofline as measure_roofline
from autotune.machine import Device
from autotune.reader import Reader
from autotune.registry import plugins


@dataclass(frozen=True, slots=True)
class Found:
    """devices: usable ones. refused: those that are there and can't be used, see `refuse`. reason: one sentence if no
    device is usable."""

    devices: tuple[Device, ...] = ()
    refused: tuple[Device, ...] = ()
    reason: str | None = None

    @classmethod
    def of(cls, devices: Iterable[Device], nothing: str) -> "Found":
        """nothing: the reason if there are no devices at all."""
        everything = tuple(devices)
        refused = tuple(device for device in everything if "refused" in device.facts)
        usable = tuple(device for device in everything if "refused" not in device.facts)
        if usable:
            return cls(usable, refused)
        return cls((), refused, refusal(refused[0]) if refused else nothing)


def refuse(device: Device, word: str, why: str, remedy: str) -> Device:
    """The device, marked as not usable. word: short name of the reason. why, remedy: without a full stop."""
    return replace(device, facts={**device.facts, "refused_for": word, "refused": why, "remedy": remedy})


def refusal(device: Device) -> str:
    """Why a refused device can't be used and what to do, in one sentence."""
    return f"{'; '.join(filter(None, (device.facts['refused'], device.facts['remedy'])))}."


class DeviceKind(Protocol):
    """What DEVICE in a file of this folder offers."""

    @property
    def kind(self) -> str:
        """Name of the file, and of `Device.kind`."""

    def find(self, reader: Reader) -> Found:
        """What there is of this kind. Never raises."""

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

    def gauge(self, device: Device, reader: Reader) -> Gauge | None:
        """What reads how busy the device is, cheaply; None where the system does not tell. Needs no torch."""


def kinds() -> dict[str, DeviceKind]:
    """Every device kind by name."""
    found: dict[str, Any] = plugins("autotune.devices", "DEVICE")
    return found
