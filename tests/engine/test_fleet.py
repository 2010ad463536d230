"""Several engines behind one queue speak as one does, in order, also when some of them fail."""

import threading
from dataclasses import replace

import pytest

from sovits_rt.engine import Engine
from sovits_rt.errors import RequestError, SettingsError, SovitsError
from sovits_rt.fleet import Fleet
from sovits_rt.settings import SemanticSettings, Settings

TEXT = "今天天气真不错。我们去公园玩吧。明天可能会下雨，记得带伞。他说好。你听见没有？我不知道。学生们都在看书。"
TWO_SLOTS = Settings(semantic=SemanticSettings(slots=2))


@pytest.fixture
def case(speaker):
    return speaker.pack.case("v2_eos_batch1")


@pytest.fixture
def engines(speaker, case):
    """Two on the CPU instead of two GPUs."""
    return [Engine.load(speaker.paths(case), TWO_SLOTS, device="cpu") for _ in range(2)]


@pytest.fixture
def request_(speaker, case):
    return speaker.request(case, speaker.voice(case), text=TEXT, split="cut5", max_tokens=15)


@pytest.fixture
def expected(speaker, case, request_):
    return [(chunk.index, chunk.tokens.tolist()) for chunk in speaker.engine(case).synth(request_)]


def spoken(fleet, request):
    return [(chunk.index, chunk.tokens.tolist()) for chunk in fleet.synth(request)]


def failing(engine, after):
    """Its device fails once it has spoken so many sentences."""
    original, count = engine.render, iter(range(10**6))

    def render(*arguments, **named):
        if next(count) >= after:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return original(*arguments, **named)

    engine.render = render
    return engine


def test_two_engines_speak_as_one(engines, request_, expected, monkeypatch):
    who = {}
    for number, engine in enumerate(engines):
        original = engine.render

        def render(*arguments, original=original, number=number, **named):
            who.setdefault(number, threading.current_thread().name)
            return original(*arguments, **named)

        monkeypatch.setattr(engine, "render", render)
    assert spoken(Fleet(engines, least=1), request_) == expected
    assert len(set(who.values())) == 2, "one of them had nothing to do"


@pytest.mark.parametrize("after", [0, 1])
def test_sentences_of_a_device_that_fails_go_to_the_others(engines, request_, expected, after, caplog):
    fleet = Fleet([failing(engines[0], after), engines[1]], least=2)
    assert spoken(fleet, request_) == expected
    assert fleet.engines == [engines[1]]
    assert "failed" in caplog.text
    assert spoken(fleet, request_) == expected


def test_if_all_fail_the_error_is_theirs(engines, request_):
    fleet = Fleet([failing(each, 0) for each in engines], least=1)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        spoken(fleet, request_)
    with pytest.raises(SovitsError, match="load them again"):
        spoken(fleet, request_)


def test_a_request_that_can_not_be_spoken_is_nobodys_failure(speaker, engines, request_):
    fleet = Fleet(engines, least=1)
    with pytest.raises(RequestError, match="another SoVITS checkpoint"):
        spoken(fleet, replace(request_, voice=replace(request_.voice, made_for="other")))
    assert fleet.engines == engines


def test_a_fleet_that_is_given_up_leaves_no_thread(engines, request_):
    before = threading.active_count()
    chunks = Fleet(engines, least=1).synth(request_)
    next(chunks)
    chunks.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("devices", [[], ["cpu", "cpu"]])
def test_devices_are_named_once(speaker, case, devices):
    with pytest.raises(SettingsError, match="each of at least one must be named once"):
        Fleet.load(speaker.paths(case), TWO_SLOTS, devices)
