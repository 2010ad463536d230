"""Readings of real processes, what is made of made-up readings, and GPUs as their drivers tell of them."""

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from recorded import FakeNvml

from autotune.devices import DeviceUsage, kinds, measure_roofline
from autotune.errors import ProbeError
from autotune.machine import Device, Machine
from autotune.probe import probe
from autotune.reader import Recorded
from autotune.usage import Counts, Meter, Moment, Reading, Sampler, between, busy_while

BUSY = "import time\nwhile time.process_time() < {}: pass"
GPU = DeviceUsage("cuda", 0, "Card", busy=0.5, memory_busy=0.25, memory_bytes=100, power_watts=60.0)
FIRST = Reading(
    when=10.0,
    core_seconds=(5.0, 7.0),
    own_seconds=1.0,
    total_seconds=40.0,
    stolen_seconds=0.0,
    throttled_seconds=2.0,
    counts=Counts(100, 10, 0.5),
    threads=2,
    peak_bytes=500,
    moment=Moment(400, (GPU,)),
)
LAST = Reading(
    when=14.0,
    core_seconds=(9.0, 8.0),
    own_seconds=4.0,
    total_seconds=48.0,
    stolen_seconds=0.8,
    throttled_seconds=3.0,
    counts=Counts(150, 10, 2.5),
    threads=3,
    peak_bytes=600,
    moment=Moment(450, (replace(GPU, busy=0.1, memory_bytes=300, power_watts=None, held_back="heat"),)),
)


@pytest.fixture(scope="module")
def machine() -> Machine:
    return probe()


@pytest.fixture
def sleeping() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield child
    child.kill()
    child.wait()


def test_two_readings_make_shares() -> None:
    usage = between(FIRST, LAST)
    assert usage.seconds == 4.0
    assert usage.cores == (1.0, 0.25)
    assert (usage.own_cores, usage.foreign_cores, usage.idle_cores) == (0.75, 0.5, 0.75)
    assert usage.stolen_share == pytest.approx(0.1)
    assert (usage.throttled_share, usage.queued_threads) == (0.25, 0.5)
    assert (usage.voluntary_switches, usage.involuntary_switches, usage.threads) == (50, 0, 3)
    assert (usage.memory_bytes, usage.peak_memory_bytes) == (450, 600)


def test_what_a_system_does_not_tell_is_none() -> None:
    silent = {"stolen_seconds": math.nan, "throttled_seconds": math.nan, "counts": Counts()}
    usage = between(replace(FIRST, **silent), replace(LAST, **silent))
    assert (usage.stolen_share, usage.throttled_share, usage.queued_threads) == (None, None, None)


def test_counts_that_fell_since_threads_ended_are_no_negative_numbers() -> None:
    usage = between(LAST, replace(FIRST, when=20.0))
    assert (usage.own_cores, usage.voluntary_switches, usage.queued_threads) == (0.0, 0, 0.0)
    assert usage.cores == (0.0, 0.0)


def test_devices_are_averaged_over_what_was_seen() -> None:
    between_them = [Moment(700, (replace(GPU, busy=0.9, held_back="heat"),))]
    (device,) = between(FIRST, LAST, between_them).devices
    assert device.busy == pytest.approx(0.5)
    assert (device.memory_bytes, device.power_watts, device.held_back) == (300, 60.0, "heat")
    assert between(FIRST, LAST, between_them).peak_memory_bytes == 700
    (device,) = between(FIRST, LAST, [Moment(0, (GPU,)), Moment(0, (GPU,))]).devices
    assert device.held_back == "", "held back at one moment of three"


def test_use_while_something_was_done() -> None:
    moments = [
        Moment(0, (replace(GPU, busy=0.2),), ("load",)),
        Moment(0, (replace(GPU, busy=0.6),), ("decode",)),
        Moment(0, (replace(GPU, busy=1.0),), ("decode", "vocoder")),
    ]
    assert busy_while("decode", moments) == pytest.approx(0.8)
    assert busy_while("vocoder", moments) == 1.0
    assert busy_while("text", moments) is None
    assert busy_while("decode", [Moment(0, (replace(GPU, busy=None),), ("decode",))]) is None


def test_own_work_is_counted(machine: Machine) -> None:
    meter = Meter(machine)
    first = meter.read()
    work(0.2)
    usage = between(first, meter.read())
    assert usage.own_cores * usage.seconds >= 0.19
    assert len(usage.cores) == len(machine.cpu.affinity)
    assert all(0 <= share <= 1 for share in usage.cores)
    assert usage.peak_memory_bytes >= usage.memory_bytes > 1e6
    assert usage.threads >= 1


def work(seconds: float) -> None:
    started = time.process_time()
    while time.process_time() - started < seconds:
        pass


def test_a_command_is_counted_when_it_has_ended(machine: Machine) -> None:
    child = subprocess.Popen([sys.executable, "-c", BUSY.format(0.3)])
    meter = Meter(machine, child.pid, waits=True)
    first = meter.read()
    own = time.process_time()
    child.wait()
    work(0.1)
    usage = between(first, meter.read())
    used = usage.own_cores * usage.seconds
    print(f"{used:.2f} s of a child that works for 0.3 s")
    assert not meter.alive
    assert 0.2 <= used < 0.3 + 0.3, "the time before the first reading is not counted, nor is that of the test itself"
    assert time.process_time() - own >= 0.1


def test_children_of_the_process_count(machine: Machine) -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY.format(0.3)!r}]); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    try:
        meter = Meter(machine, child.pid)
        first = last = meter.read()
        deadline = time.monotonic() + 60
        while last.own_seconds - first.own_seconds < 0.2 and time.monotonic() < deadline:
            time.sleep(0.02)
            last = meter.read()
        assert last.own_seconds - first.own_seconds >= 0.2
    finally:
        child.communicate(b"\n")


def test_a_process_that_ends_keeps_its_numbers(machine: Machine, sleeping: subprocess.Popen[bytes]) -> None:
    meter = Meter(machine, sleeping.pid)
    before = meter.read()
    assert meter.alive
    assert before.threads == 1
    sleeping.kill()
    sleeping.wait()
    after = meter.read()
    assert not meter.alive
    assert (after.own_seconds, after.peak_bytes, after.threads) == (before.own_seconds, before.peak_bytes, 1)
    assert after.moment.memory_bytes == 0


def test_a_process_that_is_not_there_is_refused(machine: Machine) -> None:
    with pytest.raises(ProbeError, match="There is no process 2147483646"):
        Meter(machine, 2147483646)


def test_a_process_that_may_not_be_read_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: psutil.Process) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "cpu_times", denied)
    with pytest.raises(ProbeError, match=f"Process {os.getpid()} may not be looked at; run this as the user"):
        Meter(machine, os.getpid())


@pytest.mark.skipif(sys.platform != "linux", reason="threads are listed in /proc")
def test_switches_of_all_threads_are_counted(machine: Machine) -> None:
    code = (
        "import threading, time\n"
        "thread = threading.Thread(target=lambda: [time.sleep(0.001) for _ in range(200)] + [input()])\n"
        "thread.start(); thread.join()"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    try:
        meter = Meter(machine, child.pid)
        deadline = time.monotonic() + 60
        counts = meter.read().counts
        while counts.voluntary < 200 and time.monotonic() < deadline:
            time.sleep(0.05)
            counts = meter.read().counts
        assert counts.voluntary >= 200
        assert math.isnan(counts.queued_seconds) or counts.queued_seconds >= 0
    finally:
        child.communicate(b"\n")


def test_the_sampler_looks_while_the_block_runs(machine: Machine) -> None:
    seen: list[str] = ["first"]
    with Sampler(Meter(machine), interval_seconds=0.01, doing=lambda: seen) as sampler:
        deadline = time.monotonic() + 60
        while len(sampler.moments) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(sampler.moments) >= 3
    assert sampler.moments[0].doing == ("first",)
    assert sampler.usage.seconds > 0
    assert 0 < sampler.overhead_seconds < sampler.usage.seconds
    count = len(sampler.moments)
    time.sleep(0.05)
    assert len(sampler.moments) == count, "its thread has ended"


def test_the_sampler_ends_when_the_block_fails(machine: Machine) -> None:
    sampler = Sampler(Meter(machine), interval_seconds=0.01)
    with pytest.raises(ZeroDivisionError), sampler:
        raise ZeroDivisionError
    assert sampler.usage.seconds > 0


class LiveNvml(FakeNvml):
    """With the functions that tell of a moment; "utilisation" etc. may be missing, as on MIG instances."""

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> dict[str, Any]:  # noqa: N802
        found = [gpu for gpu in self.data["gpus"] if gpu["uuid"] == uuid]
        if not found:
            raise self.NVMLError(6)
        return found[0]  # type: ignore[no-any-return]

    def nvmlDeviceGetUtilizationRates(self, gpu: dict[str, Any]) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(gpu=self._get(gpu, "rates")[0], memory=self._get(gpu, "rates")[1])

    def nvmlDeviceGetPowerUsage(self, gpu: dict[str, Any]) -> int:  # noqa: N802
        return int(self._get(gpu, "milliwatts"))

    def nvmlDeviceGetCurrentClocksEventReasons(self, gpu: dict[str, Any]) -> int:  # noqa: N802
        return int(self._get(gpu, "reasons"))

    def nvmlDeviceGetMemoryInfo(self, gpu: dict[str, Any], version: int = 1) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(total=1000, free=self._get(gpu, "free"))


def nvidia(**gpu: Any) -> Recorded:
    module = LiveNvml({"driver": "575.1", "gpus": [{"uuid": "GPU-a", **gpu}]})
    return Recorded("Linux", "6", "x86_64", "3.12", {}, nvml_module=module)


CARD = Device("cuda", 0, "Card", 1000, "sm_90", {"uuid": "GPU-a"}, {"power_limit_watts": "700"})


def test_an_nvidia_gpu_tells_what_it_does() -> None:
    reader = nvidia(rates=(93, 41), milliwatts=350_500, reasons=0x40, free=400)
    gauge = kinds()["cuda"].gauge(CARD, reader)
    assert gauge is not None
    assert gauge() == DeviceUsage("cuda", 0, "Card", 0.93, 0.41, 600, 350.5, 700.0, "heat")


def test_an_nvidia_gpu_that_tells_little() -> None:
    gauge = kinds()["cuda"].gauge(replace(CARD, facts={}), nvidia())
    assert gauge is not None
    assert gauge() == DeviceUsage("cuda", 0, "Card")


def test_no_gauge_without_driver_or_gpu() -> None:
    for reader in (Recorded("Linux", "6", "x86_64", "3.12", {}), nvidia()):
        assert kinds()["cuda"].gauge(replace(CARD, ids={"uuid": "GPU-other"}), reader) is None
    broken = Recorded("Linux", "6", "x86_64", "3.12", {}, nvml_module=LiveNvml({"init_error": 9}))
    assert kinds()["cuda"].gauge(CARD, broken) is None


def test_an_amd_gpu_tells_what_it_does() -> None:
    folder = "/sys/class/drm/renderD128/device"
    files = {
        f"{folder}/gpu_busy_percent": "87\n",
        f"{folder}/mem_busy_percent": "12\n",
        f"{folder}/mem_info_vram_used": "4096\n",
        f"{folder}/hwmon/hwmon3/power1_average": "214000000\n",
        f"{folder}/hwmon/hwmon3/power1_cap": "303000000\n",
    }
    device = Device("rocm", 0, "Radeon", 0, "gfx1100", {"render_minor": "128"})
    reader = Recorded("Linux", "6", "x86_64", "3.12", files)
    gauge = kinds()["rocm"].gauge(device, reader)
    assert gauge is not None
    assert gauge() == DeviceUsage("rocm", 0, "Radeon", 0.87, 0.12, 4096, 214.0, 303.0)
    assert kinds()["rocm"].gauge(replace(device, ids={"render_minor": "129"}), reader) is None


@pytest.mark.parametrize("kind", ["cpu", "mps"])
def test_kinds_that_can_not_tell(kind: str) -> None:
    assert kinds()[kind].gauge(Device(kind, 0, "", 0, ""), Recorded("Linux", "6", "x86_64", "3.12", {})) is None


def test_the_roofline_is_measured() -> None:
    cpu = kinds()["cpu"]
    roof = measure_roofline(cpu.synchronize, "cpu", "float32", buffer_bytes=1 << 22)
    assert roof is not None
    print(f"{roof.bandwidth / 1e9:.1f} GB/s, {roof.arithmetic / 1e9:.0f} G operations/s")
    assert 1e7 < roof.bandwidth < 1e14
    assert 1e7 < roof.arithmetic < 1e17
    assert measure_roofline(cpu.synchronize, "cpu", "float32", buffer_bytes=1 << 60) is None
