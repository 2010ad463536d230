"""Watches one run of the engine from loading to the last sample: `stats.Facts` out of a stopwatch and a sampler."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from autotune.devices import BUFFER_BYTES, DeviceUsage, Roofline, kinds, measure_roofline
from autotune.machine import Device, Machine
from autotune.measure import available_memory_bytes
from autotune.usage import Meter, Sampler, busy_while
from sovits_rt.stats import Facts, decoding
from sovits_rt.stopwatch import Stage, Stopwatch


class Cost(Protocol):
    """`StepCost`, without torch."""

    @property
    def weights(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...
    @property
    def position_bytes(self) -> int: ...
    @property
    def precision(self) -> str: ...


class Observer:
    """stopwatch: to be given to `Engine.load` as its timer. Then:

    with observer.watch(machine, "cpu"):
        engine = Engine.load(paths, settings, timer=observer.stopwatch)
        observer.loaded(engine.device, engine.step_cost)
        …
    facts = observer.facts(audio_seconds, first_audio_seconds)

    wait_for_gpu: let every stage wait until the GPU has done its work, so that its time is its own; slower.
    """

    def __init__(self, *, wait_for_gpu: bool = False) -> None:
        self.stopwatch = Stopwatch()
        self._wait_for_gpu = wait_for_gpu

    @contextmanager
    def watch(self, machine: Machine, device_kind: str) -> Iterator[None]:
        """device_kind: "cpu", "cuda", …, as `process.device`. What the stopwatch has seen before counts as well."""
        self._machine, self._kind = machine, kinds()[device_kind]
        before = sum(each.seconds for each in self.stopwatch.times())
        with Sampler(Meter(machine, device_kinds=(device_kind,)), doing=self.stopwatch.doing) as self._sampler:
            yield
        self._wall_seconds = before + self._sampler.usage.seconds

    def loaded(self, device: str, cost: Cost) -> None:
        """device: torch's name of where the decoder's weights really are."""
        self._device, self._cost = device, cost
        if self._wait_for_gpu:
            self.stopwatch.synchronize = lambda: self._kind.synchronize(device)

    def facts(self, audio_seconds: float, first_audio_seconds: float) -> Facts:
        """After `watch`. Measures the roofline, which takes some 0.3 s."""
        stages = self.stopwatch.times()
        cost, usage, used = self._cost, self._sampler.usage, self._used_device()
        on_gpu = self._device != "cpu"
        peak = self._kind.memory_peak(self._device) if on_gpu else None  # without that of the roofline
        moments = [replace(each, devices=_only(used, each.devices)) for each in self._sampler.moments]
        busy = {stage: busy_while(stage, moments) for stage in Stage}
        return Facts(
            device=self._device,
            device_name=("" if used is None else used.name) if on_gpu else self._machine.cpu.model,
            stages=stages,
            wall_seconds=self._wall_seconds,
            audio_seconds=audio_seconds,
            first_audio_seconds=first_audio_seconds,
            decoding=decoding(
                stages, weights=cost.weights, weight_bytes=cost.weight_bytes, position_bytes=cost.position_bytes
            ),
            usage=replace(usage, devices=_only(used, usage.devices)),
            usable_cores=self._machine.usable_cores,
            gpu_busy={stage: share for stage, share in busy.items() if share is not None},
            device_peak_bytes=peak,
            roofline=self._roofline(),
            sampling_seconds=self._sampler.overhead_seconds,
        )

    def _used_device(self) -> Device | None:
        for each in self._machine.devices_of(self._kind.kind):
            name = self._kind.torch_name(each)
            if self._device in (name, f"{name}:0"):  # weights on "mps" say that they are on "mps:0"
                return each
        return None

    def _roofline(self) -> Roofline | None:
        room = BUFFER_BYTES if self._device != "cpu" else min(BUFFER_BYTES, available_memory_bytes() // 8)
        return measure_roofline(self._kind.synchronize, self._device, self._cost.precision, buffer_bytes=room)


def _only(device: Device | None, devices: tuple[DeviceUsage, ...]) -> tuple[DeviceUsage, ...]:
    """All of them where it is not known which one was used."""
    return tuple(each for each in devices if device is None or each.index == device.index)
