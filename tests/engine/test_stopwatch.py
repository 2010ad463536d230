"""Times add up per thread and stage, and timing changes nothing that is heard."""

import threading
import time

import numpy as np
import pytest

from sovits_rt.engine import Engine
from sovits_rt.stopwatch import UNTIMED, Stage, StageTime, Stopwatch
from sovits_rt.types import Sampling


class Clock:
    """Time that passes only where the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def by_stage(stopwatch: Stopwatch) -> dict[Stage, StageTime]:
    return {each.stage: each for each in stopwatch.times()}


def test_spans_and_counts_add_up(clock):
    stopwatch = Stopwatch()
    for seconds, rows in ((1.0, 3), (4.0, 2)):
        with stopwatch.span(Stage.DECODE, steps=1, rows=rows):
            clock.pass_(seconds)
        clock.pass_(7.0)
    (found,) = stopwatch.times()
    assert (found.stage, found.thread) == (Stage.DECODE, "MainThread")
    assert (found.seconds, found.spans, found.longest) == (5.0, 2, 4.0)
    assert found.counts == {"steps": 2, "rows": 5}


def test_a_span_inside_another_is_taken_off(clock):
    stopwatch = Stopwatch()
    with stopwatch.span(Stage.REFERENCE):
        clock.pass_(1.0)
        with stopwatch.span(Stage.LOAD):
            clock.pass_(2.0)
            with stopwatch.span(Stage.FEATURES):
                clock.pass_(4.0)
        clock.pass_(8.0)
    seconds = {stage: each.seconds for stage, each in by_stage(stopwatch).items()}
    assert seconds == {Stage.REFERENCE: 9.0, Stage.LOAD: 2.0, Stage.FEATURES: 4.0}


def test_what_fails_is_counted_and_closed(clock):
    stopwatch = Stopwatch()

    def fail() -> None:
        with stopwatch.span(Stage.VOCODER):
            clock.pass_(3.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert by_stage(stopwatch)[Stage.VOCODER].seconds == 3.0
    assert stopwatch.doing() == ()


def test_threads_side_by_side_are_kept_apart():
    """Both are busy at the same time: each gets its own sum, and what is going on can be seen from outside."""
    stopwatch = Stopwatch()
    both, seen = threading.Barrier(3), threading.Barrier(3)

    def work(stage: Stage) -> None:
        with stopwatch.span(stage):
            both.wait(30)
            seen.wait(30)

    threads = [threading.Thread(target=work, args=(stage,), name=stage) for stage in (Stage.DECODE, Stage.VOCODER)]
    for thread in threads:
        thread.start()
    both.wait(30)
    assert set(stopwatch.doing()) == {Stage.DECODE, Stage.VOCODER}
    time.sleep(0.05)
    seen.wait(30)
    for thread in threads:
        thread.join()
    times = stopwatch.times()
    assert {(each.stage, each.thread) for each in times} == {("decode", "decode"), ("vocoder", "vocoder")}
    assert all(each.seconds >= 0.05 for each in times)
    assert stopwatch.doing() == ()


def test_the_innermost_span_is_what_is_done():
    stopwatch = Stopwatch()
    with stopwatch.span(Stage.REFERENCE):
        assert stopwatch.doing() == (Stage.REFERENCE,)
        with stopwatch.span(Stage.LOAD):
            assert stopwatch.doing() == (Stage.LOAD,)


def test_the_device_is_waited_for_only_if_asked(clock):
    """Work that goes on after the call belongs to the stage that asked for it."""
    pending = [2.0, 0.0]

    def synchronize() -> None:
        clock.pass_(pending.pop())

    stopwatch = Stopwatch(synchronize)
    with stopwatch.span(Stage.PREFILL):
        clock.pass_(1.0)
    assert by_stage(stopwatch)[Stage.PREFILL].seconds == 3.0
    assert pending == []


def test_untimed_costs_nothing_to_keep():
    assert UNTIMED.span(Stage.DECODE, steps=1) is UNTIMED.span(Stage.LOAD)


def test_waves_are_equal_with_and_without(speaker):
    """Sampled, four sentences on two slots: every stage is timed, and not a bit of the sound changes."""
    case = speaker.pack.case("v2_eos_batch1")
    plain = speaker.engine(case)
    stopwatch = Stopwatch()
    timed = Engine.load(speaker.paths(case), timer=stopwatch)
    asked = case.meta["request"]
    prompt = {"text": asked["prompt_text"], "language": asked["prompt_lang"]}
    heard = []
    for engine in (plain, timed):
        voice = engine.prepare(speaker.references(case), **prompt)
        text = "今天天气真不错。我们去公园玩吧。明天可能会下雨。他说好。"
        request = speaker.request(case, voice, text=text, sampling=Sampling(), noise_scale=0.5, max_tokens=20, seed=3)
        heard.append(list(engine.synth(request)))
    for before, after in zip(*heard, strict=True):
        np.testing.assert_array_equal(before.tokens, after.tokens)
        np.testing.assert_array_equal(before.wave, after.wave)
        np.testing.assert_array_equal(before.samples, after.samples)
    found = by_stage(stopwatch)
    assert set(found) == set(Stage)
    assert all(each.seconds > 0 for each in found.values())
    tokens = sum(len(chunk.tokens) for chunk in heard[0])
    decode = found[Stage.DECODE].counts
    assert decode["tokens"] == found[Stage.VOCODER].counts["tokens"] == tokens
    assert tokens - len(heard[0]) <= decode["rows"] <= tokens
    assert decode["steps"] < decode["rows"] <= 4 * decode["steps"], "sentences are decoded together"
    assert decode["positions"] >= 64 * decode["rows"]
    assert found[Stage.PREFILL].spans == len(heard[0])
    print({stage.value: round(each.seconds, 3) for stage, each in found.items()})


def test_the_cost_of_a_step_is_that_of_its_weights(speaker):
    case = speaker.pack.case("v2_eos_batch1")
    engine = speaker.engine(case)
    cost = engine.step_cost
    config = engine._models.t2s.config
    width, layers = config.width, config.layers
    layer = 4 * width * width + 4 * width + 8 * width * width + 5 * width + 4 * width
    assert cost.weights == layers * layer + config.audio_vocab * width
    assert cost.weight_bytes == 4 * cost.weights
    assert cost.position_bytes == 2 * layers * width * 4
    assert (cost.precision, engine.device) == ("float32", "cpu")
