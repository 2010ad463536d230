"""Decoding beside rendering: the same sound in the same order, each on its threads, and no thread is left behind."""

import threading
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from sovits_rt import process
from sovits_rt.engine import Engine
from sovits_rt.errors import TextError
from sovits_rt.overlap import Overlap, in_order
from sovits_rt.settings import ProcessSettings, SemanticSettings, Settings, StreamSettings
from sovits_rt.stopwatch import Stage, Stopwatch
from sovits_rt.types import Sampling, Segment, Sentence

MODES = ("serial", "shared", "0.5", "0.25")
BESIDE = MODES[1:]
TEXT = "今天天气真不错。我们去公园玩吧。明天可能会下雨，记得带伞。他说好。后天我要去上海出差。"


@pytest.fixture
def case(speaker):
    return speaker.pack.case("v2_eos_batch1")


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before, threads = set(threading.enumerate()), torch.get_num_threads()
    yield
    assert set(threading.enumerate()) == before
    assert torch.get_num_threads() == threads


def overlapping(mode: str, **others: object) -> Settings:
    return Settings(process=ProcessSettings(overlap=mode), semantic=SemanticSettings(slots=2), **others)


def request_of(speaker, case, **changes):
    asked = {"text": TEXT, "sampling": Sampling(), "noise_scale": 0.5, "max_tokens": 40, "seed": 3}
    return speaker.request(case, speaker.voice(case), **{**asked, **changes})


@pytest.fixture
def serial(speaker, case):
    return list(speaker.engine(case, overlapping("serial")).synth(request_of(speaker, case)))


@pytest.mark.parametrize("mode", BESIDE)
def test_side_by_side_gives_the_serial_samples(speaker, case, serial, mode):
    found = list(speaker.engine(case, overlapping(mode)).synth(request_of(speaker, case)))
    assert len({len(chunk.tokens) for chunk in serial}) > 1, "the lengths should differ, or the order proves nothing"
    assert [chunk.index for chunk in found] == [chunk.index for chunk in serial]
    assert [chunk.tokens.tolist() for chunk in found] == [chunk.tokens.tolist() for chunk in serial]
    worst = max(np.abs(a.samples - b.samples).max() for a, b in zip(found, serial, strict=True))
    print(f"{mode}: largest difference of a sample {worst:.1e}")
    # Another number of threads may sum in another order; with the same number not a bit differs.
    assert worst <= (0.0 if mode == "shared" or torch.get_num_threads() == 1 else 1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_whoever_stops_listening_leaves_a_usable_engine(speaker, case, serial, mode):
    engine = speaker.engine(case, overlapping(mode))
    with closing(engine.stream(engine.sentences(request_of(speaker, case)), request_of(speaker, case))) as stream:
        assert next(stream).index == 0
    assert [chunk.tokens.tolist() for chunk in engine.synth(request_of(speaker, case))] == [
        chunk.tokens.tolist() for chunk in serial
    ]


@pytest.mark.parametrize("mode", MODES)
def test_what_decoding_raises_reaches_the_listener(speaker, case, mode):
    engine = speaker.engine(case, overlapping(mode))
    long = Sentence("b", (Segment("b", "zh", "b", (), (5,) * 5000, None),))
    with pytest.raises(TextError, match="4096"):
        next(engine.speak([long], request_of(speaker, case)))


@pytest.mark.parametrize("mode", MODES)
def test_a_fault_after_the_first_sentence_reaches_the_listener(mode):
    """What is done before it is still given out."""

    def results():
        yield 0, "first"
        raise ValueError("broken step")

    with Overlap(mode).ahead(results()) as ahead:
        parts = in_order(ahead, lambda index, result: [result])
        assert next(parts) == "first"
        with pytest.raises(ValueError, match="broken step"):
            next(parts)


@pytest.mark.parametrize("mode", MODES)
def test_a_fault_of_rendering_ends_decoding(mode):
    overlap = Overlap(mode)
    step = overlap.stepping(lambda: time.sleep(0.001))
    taken = []

    def results():
        for index in range(100_000):
            step()
            taken.append(index)
            yield index, index

    def broken(index, result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), overlap.ahead(results()) as ahead:
        list(in_order(ahead, broken))
    assert len(taken) < 1000, "decoding went on although nobody listened"


def test_a_long_sentence_is_given_up_between_two_steps():
    """The thread does not decode to the end of what nobody wants."""
    overlap = Overlap("shared")
    steps = []
    step = overlap.stepping(lambda: steps.append(time.sleep(0.001)))

    def results():
        while True:
            step()
        yield 0, None

    with overlap.ahead(results()):
        while not steps:
            time.sleep(0.001)


@pytest.mark.parametrize(
    ("mode", "alone", "decoding", "rendering"), [("0.25", 4, 1, 3), ("0.5", 4, 2, 2), ("shared", 4, 4, 4)]
)
def test_threads_are_divided_while_both_work(monkeypatch, mode, alone, decoding, rendering):
    """torch keeps the number per calling thread, and a stage that is alone has all threads."""
    monkeypatch.setattr(process, "threads", lambda: alone)
    overlap, at_work, rendered = Overlap(mode), threading.Event(), threading.Event()
    step = overlap.stepping(torch.get_num_threads)
    before = torch.get_num_threads()
    seen = {}

    def results():
        seen["decoding alone"] = step()
        yield 0, None
        at_work.wait(10)
        seen["decoding beside"] = step()
        rendered.set()
        yield 1, None

    def parts(index, result):
        if index == 0:
            seen["rendering beside"] = torch.get_num_threads()
            at_work.set()
            rendered.wait(10)
        else:
            while ahead._decoding:
                time.sleep(0.001)
        yield index

    try:
        with overlap.ahead(results()) as ahead:
            assert list(in_order(ahead, parts)) == [0, 1]
            assert list(ahead.beside(torch.get_num_threads() for _ in range(1))) == [alone]
    finally:
        process.use_threads(before)
    print(seen)
    assert (seen["decoding alone"], seen["decoding beside"], seen["rendering beside"]) == (alone, decoding, rendering)


@pytest.mark.parametrize("mode", MODES)
def test_sentences_that_come_out_of_turn_are_kept(mode):
    with Overlap(mode).ahead((index, index) for index in (2, 0, 3, 1)) as ahead:
        assert list(in_order(ahead, lambda index, result: [(index, 0), (index, 1)])) == [
            (index, part) for index in range(4) for part in (0, 1)
        ]


def test_the_stopwatch_tells_the_threads_apart(speaker, case):
    stopwatch = Stopwatch()
    engine = Engine.load(speaker.paths(case), overlapping("shared"), timer=stopwatch)
    voice = engine.prepare(speaker.references(case), text=case.meta["request"]["prompt_text"], language="zh")
    start = time.perf_counter()
    chunks = list(engine.synth(replace(request_of(speaker, case), voice=voice)))
    wall = time.perf_counter() - start
    times = {each.stage: each for each in stopwatch.times()}
    assert times[Stage.DECODE].thread.startswith("decode")
    assert times[Stage.VOCODER].thread == threading.current_thread().name
    assert times[Stage.DECODE].counts["tokens"] == sum(len(chunk.tokens) for chunk in chunks)
    busy = dict.fromkeys(("decode", "render"), 0.0)
    for each in stopwatch.times():
        if each.stage in (Stage.PREFILL, Stage.DECODE):
            busy["decode"] += each.seconds
        elif each.stage is Stage.VOCODER:
            busy["render"] += each.seconds
    print(f"{wall:.2f} s, busy {busy}")
    assert all(0 < seconds <= wall for seconds in busy.values())


@pytest.mark.parametrize("first_window", [16, 32, 3000])
@pytest.mark.parametrize("mode", ["serial", "shared"])
def test_parts_of_the_first_sentence_join_to_the_whole(speaker, case, mode, first_window):
    """Streamed equals joined bit for bit, and is what one window gives up to rounding."""
    engine = speaker.engine(case, overlapping(mode, stream=StreamSettings(first_window=first_window)))
    request = request_of(speaker, case)
    sentences = engine.sentences(request)
    streamed, joined = list(engine.stream(sentences, request)), list(engine.speak(sentences, request))
    np.testing.assert_array_equal(
        np.concatenate([chunk.samples for chunk in streamed]), np.concatenate([chunk.samples for chunk in joined])
    )
    numbers = [(chunk.index, chunk.part) for chunk in streamed]
    assert numbers == sorted(numbers)
    assert [chunk.index for chunk in streamed if chunk.last] == list(range(len(sentences)))
    first = [chunk for chunk in streamed if chunk.index == 0]
    frames = 2 * len(first[0].tokens)
    assert len(first[0].wave) == min(first_window, frames) * 640
    assert (len(first) > 1) == (first_window < frames)
    whole = engine.render(sentences[0], first[0].tokens, noise_of_first(sentences, request), request)
    difference = np.abs(joined[0].wave - whole.wave).max()
    print(f"first window {first_window}: {len(first)} parts, largest difference from one window {difference:.1e}")
    assert difference <= 1e-5
    assert len(joined[0].samples) == len(whole.samples)


def noise_of_first(sentences, request):
    from sovits_rt.engine import sentence_noises

    return sentence_noises(sentences, request.seed)[0]


def test_a_pause_before_all_speech_does_not_take_the_first_window(speaker, case):
    engine = speaker.engine(case, overlapping("serial", stream=StreamSettings(first_window=16)))
    request = request_of(speaker, case, text="[pause:0.5s]今天天气真不错。")
    chunks = list(engine.stream(engine.sentences(request), request))
    assert [(chunk.index, chunk.part) for chunk in chunks[:3]] == [(0, 0), (1, 0), (1, 1)]
    assert len(chunks[1].wave) == 16 * 640
