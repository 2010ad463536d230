"""Every sentence about what limits a run, from made-up facts, and what is counted in between."""

import json
import re
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from autotune.devices import DeviceUsage, Roofline
from autotune.devices.cuda import CudaKind
from autotune.machine import Device
from autotune.usage import Usage
from sovits_rt import observer as observer_module
from sovits_rt.observer import Observer
from sovits_rt.stats import Decoding, Facts, decoding, limit, notes, shown_bytes, to_dict
from sovits_rt.stopwatch import Stage, StageTime

QUIET = Usage(
    seconds=10.0,
    cores=(0.5, 0.6),
    own_cores=1.0,
    foreign_cores=0.1,
    stolen_share=0.0,
    throttled_share=0.0,
    queued_threads=0.0,
    voluntary_switches=10,
    involuntary_switches=10,
    threads=2,
    memory_bytes=10**9,
    peak_memory_bytes=2 * 10**9,
    devices=(),
)
COST = SimpleNamespace(weights=10, weight_bytes=40, position_bytes=8, precision="float32")
SLOW = Decoding(tokens=100, steps=50, seconds=5.0, bytes_per_second=1e9, operations_per_second=1e9)
ROOF = Roofline(bandwidth=20e9, arithmetic=200e9)
GPU = DeviceUsage("cuda", 0, "Card", busy=0.12)


def spent(**seconds: float) -> tuple[StageTime, ...]:
    """Ten equal calls of each stage."""
    return tuple(StageTime(Stage(name), "MainThread", each, 10, each / 10) for name, each in seconds.items())


def facts(stages: tuple[StageTime, ...], **changed: object) -> Facts:
    made = Facts(
        device="cpu",
        stages=stages,
        wall_seconds=10.0,
        audio_seconds=4.0,
        first_audio_seconds=1.0,
        decoding=SLOW,
        usage=QUIET,
        usable_cores=2,
        roofline=ROOF,
    )
    return replace(made, **changed)


def on_gpu(stages: tuple[StageTime, ...], **changed: object) -> Facts:
    return facts(stages, **{"device": "cuda:0", "usage": replace(QUIET, devices=(GPU,)), **changed})


DECODING, VOCODING = spent(load=2, decode=5, vocoder=2), spent(load=2, decode=2, vocoder=5)
CASES = {
    "The container's CPU quota limits": facts(DECODING, usage=replace(QUIET, throttled_share=0.3)),
    "The host limits": facts(DECODING, usage=replace(QUIET, stolen_share=0.3)),
    "Other programs limit": facts(
        DECODING, usage=replace(QUIET, cores=(1.0, 1.0), own_cores=1.0, foreign_cores=1.0, queued_threads=1.0)
    ),
    "Card is held down by heat": on_gpu(
        DECODING, usage=replace(QUIET, devices=(replace(GPU, busy=0.95, held_back="heat"),))
    ),
    "Nothing was measured": facts(()),
    "No single part limits: the largest, decode, takes 30%": facts(spent(load=2, decode=3, vocoder=2)),
    "Warming up limits: one call of decode took 3.00 s of its 5.00 s": facts(
        (StageTime(Stage.DECODE, "MainThread", 5.0, 50, 3.0),)
    ),
    "Loading the models limits: it takes 80% of a run that speaks 4.0 s": facts(spent(load=8, decode=1, vocoder=1)),
    "The text front end limits: splitting, normalising and phones take 60%": facts(spent(load=2, text=6)),
    "BERT limits: the features of Chinese text take 50%": facts(spent(load=2, features=5)),
    "Preparing the voice limits: it takes 50%": facts(spent(load=2, reference=5)),
    "The decoder's prefill limits, compute-bound: reading text and prompt takes 50%": facts(spent(prefill=5)),
    "Writing limits: joining and writing take 50%": facts(spent(decode=2, output=5)),
    "The decoder limits, memory-bandwidth-bound: decoding takes 50% of the time, 100 ms per step, reading 12 GB/s of "
    "the 20 GB/s": facts(DECODING, decoding=replace(SLOW, bytes_per_second=12e9)),
    "The decoder limits, compute-bound: decoding takes 50% of the time, 100 ms per step, at 75% of": facts(
        DECODING, decoding=replace(SLOW, operations_per_second=150e9)
    ),
    "The decoder limits, overhead-bound: decoding takes 50% of the time, 100 ms per step where reading its memory "
    "would take 5 ms": facts(DECODING),
    "The decoder limits, overhead-bound: decoding takes 50% of the time, 100 ms per step, so": facts(
        DECODING, roofline=None
    ),
    "The decoder limits, launch-bound: decoding takes 50%": on_gpu(DECODING, gpu_busy={Stage.DECODE: 0.4}),
    "The decoder limits, by its GPU kernels: decoding takes 50% of the time, 100 ms per step, with the GPU": on_gpu(
        DECODING, gpu_busy={Stage.DECODE: 0.9, Stage.LOAD: 0.0}
    ),
    "The vocoder limits, compute-bound: it takes 50% of the time; a lower acoustic.precision or more cores": facts(
        VOCODING
    ),
    "The vocoder limits, compute-bound: it takes 50% of the time; a lower acoustic.precision would": on_gpu(
        VOCODING, gpu_busy={Stage.VOCODER: 0.95}
    ),
    "The vocoder limits, launch-bound: it takes 50% of the time with the GPU 30% busy": on_gpu(
        VOCODING, gpu_busy={Stage.VOCODER: 0.3}
    ),
}


@pytest.mark.parametrize("start", CASES)
def test_every_sentence(start):
    sentence = limit(CASES[start])
    print(sentence)
    assert sentence.startswith(start)
    assert sentence.endswith(".")
    assert not re.search(r"[.!?] +[A-Z]", sentence), "one sentence"


def test_every_stage_has_a_sentence_of_its_own():
    found = {limit(facts(spent(**{stage: 9.0}))) for stage in Stage}
    assert len(found) == len(Stage)


def test_gpu_whose_use_is_not_told():
    """Neither is guessed: a decoder far from the roofline waits for launches, a vocoder computes."""
    assert limit(on_gpu(DECODING)).startswith("The decoder limits, launch-bound")
    assert limit(on_gpu(VOCODING)).startswith("The vocoder limits, compute-bound")


def test_stages_side_by_side_are_judged_by_the_busiest_thread():
    """Decoding on one thread for 6 s and rendering on two for 4 s each: the decoder is what the run waits for."""
    stages = (
        StageTime(Stage.DECODE, "decode", 6.0, 10, 0.6),
        StageTime(Stage.VOCODER, "render 1", 4.0, 10, 0.4),
        StageTime(Stage.VOCODER, "render 2", 4.0, 10, 0.4),
    )
    made = facts(stages, wall_seconds=7.0)
    assert made.busy_seconds == {Stage.DECODE: 6.0, Stage.VOCODER: 8.0}
    assert made.other_seconds == 0.0
    assert limit(made).startswith("The decoder limits, overhead-bound: decoding takes 86%")


def test_low_use_of_a_gpu_is_explained():
    (note,) = notes(on_gpu(DECODING))
    assert note.startswith("Card ran a kernel in 12% of the time, which is no fault by itself")
    assert notes(facts(DECODING)) == ()
    assert notes(on_gpu(DECODING, usage=replace(QUIET, devices=(replace(GPU, busy=0.6),)))) == ()


def test_what_decoding_reads_and_computes():
    counts = [{"steps": 10, "rows": 25, "positions": 1600, "tokens": 20}, {"steps": 0, "tokens": 5}]
    stages = [StageTime(Stage.DECODE, f"{index}", 2.0, 10, 0.2, each) for index, each in enumerate(counts)]
    found = decoding([*stages, *spent(vocoder=9)], weights=1000, weight_bytes=4000, position_bytes=64)
    assert (found.tokens, found.steps, found.seconds) == (25, 10, 4.0)
    assert found.bytes_per_second == (10 * 4000 + 1600 * 64) / 4
    assert found.operations_per_second == 2 * 1000 * 25 / 4
    assert (found.tokens_per_second, found.step_seconds) == (6.25, 0.4)
    nothing = decoding([], weights=1, weight_bytes=1, position_bytes=1)
    assert (nothing.tokens_per_second, nothing.step_seconds, nothing.bytes_per_second) == (0.0, 0.0, 0.0)


def test_json_has_everything():
    told = json.loads(json.dumps(to_dict(on_gpu(DECODING, gpu_busy={Stage.DECODE: 0.4}, device_peak_bytes=5))))
    assert told["busy_seconds"] == {"load": 2, "decode": 5, "vocoder": 2}
    assert told["other_seconds"] == 1.0
    assert told["decoding"]["tokens_per_second"] == 20.0
    assert told["limit"].startswith("The decoder limits, launch-bound")
    assert told["gpu_busy"] == {"decode": 0.4}
    assert told["usage"]["devices"][0]["name"] == "Card"
    assert len(told["notes"]) == 1


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 kB"), (1500, "1.5 kB"), (2.5e6, "2.5 MB"), (31e9, "31 GB"), (4.3e12, "4.3 TB")]
)
def test_bytes_are_shown_in_powers_of_1000(value, text):
    assert shown_bytes(value) == text


def test_the_observer_puts_a_run_together(machine):
    observer = Observer()
    with observer.stopwatch.span(Stage.TEXT):
        sum(range(100_000))
    text = observer.stopwatch.times()[0].seconds
    with observer.watch(machine, "cpu"):
        observer.loaded("cpu", COST)
        with observer.stopwatch.span(Stage.DECODE, steps=1, rows=1, tokens=1):
            sum(range(100_000))
    found = observer.facts(audio_seconds=1.0, first_audio_seconds=0.5)
    assert (found.device, found.device_name, found.usable_cores) == ("cpu", "Test", 2)
    assert found.wall_seconds == text + found.usage.seconds
    assert [each.stage for each in found.stages] == [Stage.TEXT, Stage.DECODE]
    assert found.decoding.tokens == 1
    assert (found.device_peak_bytes, found.gpu_busy, found.usage.devices) == (None, {}, ())
    assert found.roofline is not None
    assert limit(found).endswith(".")


def test_the_observer_tells_of_the_gpu_that_was_used(machine, monkeypatch):
    """Of two GPUs, the second one as torch numbers them; the other's work is not this run's."""
    cards = [Device("cuda", index, f"Card {index}", 10**9, "sm_90") for index in (0, 1)]
    busy = {0: 0.9, 1: 0.4}

    def gauge(self, device, reader):
        return lambda: DeviceUsage("cuda", device.index, device.name, busy=busy[device.index])

    peak = {"cuda:0": 123}
    monkeypatch.setattr(CudaKind, "gauge", gauge)
    monkeypatch.setattr(CudaKind, "torch_name", lambda self, device: f"cuda:{1 - device.index}")
    monkeypatch.setattr(CudaKind, "memory_peak", lambda self, name: peak[name])
    monkeypatch.setattr(observer_module, "measure_roofline", lambda *_, **__: peak.update({"cuda:0": 999}))
    observer = Observer()
    with observer.watch(replace(machine, devices=tuple(cards)), "cuda"):
        observer.loaded("cuda:0", COST)
        with observer.stopwatch.span(Stage.DECODE):
            while not any(Stage.DECODE in each.doing for each in observer._sampler.moments):
                time.sleep(0.05)
    found = observer.facts(audio_seconds=1.0, first_audio_seconds=0.5)
    assert (found.device, found.device_name, found.on_gpu) == ("cuda:0", "Card 1", True)
    assert [(each.name, each.busy) for each in found.usage.devices] == [("Card 1", 0.4)]
    assert found.device_peak_bytes == 123
    assert found.gpu_busy == {Stage.DECODE: 0.4}


def test_the_observer_waits_for_the_device_only_if_asked(machine, monkeypatch):
    from autotune.devices.cpu import CpuKind

    waited = []
    monkeypatch.setattr(CpuKind, "synchronize", lambda self, name: waited.append(name))
    for asked in (False, True):
        observer = Observer(wait_for_gpu=asked)
        with observer.watch(machine, "cpu"):
            observer.loaded("cpu", COST)
            with observer.stopwatch.span(Stage.DECODE):
                pass
        assert waited == ["cpu", "cpu"] * asked
