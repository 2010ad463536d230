"""What the engine does with unusual requests: refusals before the first chunk, pauses, limits, seeds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from speaking import RecordedNoise

from sovits_rt.errors import RequestError, TextError
from sovits_rt.models import Models
from sovits_rt.types import Sampling, Segment, Sentence


@pytest.fixture
def case(speaker):
    return speaker.pack.case("v2_zh_greedy")


@pytest.fixture
def engine(speaker, case):
    return speaker.engine(case)


@pytest.fixture
def request_for(speaker, case):
    def request(text, **changes):
        return speaker.request(case, speaker.voice(case), text=text, **{"max_tokens": 12, **changes})

    return request


def test_a_pause_before_all_speech_is_only_silence(engine, request_for):
    first, second = engine.synth(request_for("[pause:0.5s]今天天气真不错。"))
    assert first.tokens.size == first.wave.size == 0
    assert first.samples.tolist() == [0.0] * (engine.sample_rate // 2)
    assert second.tokens.size == 12


def test_a_pause_of_the_text_replaces_the_interval(engine, request_for):
    (chunk,) = engine.synth(request_for("今天天气真不错。[pause:0.8s]"))
    assert len(chunk.samples) - len(chunk.wave) == int(0.8 * engine.sample_rate)


def test_a_sentence_that_is_too_long_is_refused_before_the_first_chunk(engine, request_for):
    short, long = (
        Sentence(text, (Segment(text, "zh", text, (), (5,) * n, None),)) for text, n in (("a", 9), ("b", 5000))
    )
    request = request_for("")
    chunks = engine.speak([short] * 9 + [long], request)
    with pytest.raises(TextError, match=r"'b' has 50\d\d phones.*4096.*--split"):
        next(chunks)


def test_a_voice_of_another_checkpoint_is_refused_before_the_first_chunk(engine, request_for):
    request = request_for("你好。")
    chunks = engine.synth(replace(request, voice=replace(request.voice, made_for="another")))
    with pytest.raises(RequestError, match="another SoVITS checkpoint"):
        next(chunks)


def test_upstreams_own_limit_holds(speaker, case):
    """max_sec 54 of the golden decoder would be 2700 tokens; upstream's loop stops at 1499."""
    assert Models(speaker.paths(case), torch.device("cpu")).max_tokens == 1499


def test_the_seed_decides(engine, request_for):
    sampled = {"sampling": Sampling(), "noise_scale": 0.5}
    same, again, other = (
        next(engine.synth(request_for("今天天气真不错。", seed=seed, **sampled))) for seed in (1, 1, 2)
    )
    assert same.tokens.tolist() == again.tokens.tolist() != other.tokens.tolist()
    np.testing.assert_array_equal(same.wave, again.wave)


def test_latent_noise_alone_changes_only_the_wave(engine, request_for):
    plain, noisy = (next(engine.synth(request_for("今天天气真不错。", noise_scale=scale))) for scale in (0.0, 0.5))
    assert plain.tokens.tolist() == noisy.tokens.tolist()
    assert np.abs(plain.wave - noisy.wave).max() > 1e-3


def test_without_end_of_speech_all_tokens_are_spoken(speaker):
    case = speaker.pack.case("v2_eos_batch1")
    engine = speaker.engine(case)
    request = speaker.request(case, speaker.voice(case), max_tokens=45, end_of_speech=False)
    sentences = engine.sentences(request)[:3]
    decoded = dict(engine.decode(sentences, [RecordedNoise()] * 3, request))
    assert [len(decoded[index]) for index in range(3)] == [45, 45, 45]


def test_chunks_come_in_order_whatever_ends_first(speaker):
    case = speaker.pack.case("v2_eos_batch1")
    engine = speaker.engine(case)
    chunks = list(engine.synth(speaker.request(case, speaker.voice(case))))
    assert [chunk.index for chunk in chunks] == list(range(7))
    assert len({len(chunk.tokens) for chunk in chunks}) > 3


def test_bert_is_not_loaded_for_english(speaker, tmp_path):
    case = speaker.pack.case("v2_en_greedy")
    from sovits_rt.engine import Engine

    engine = Engine.load(replace(speaker.paths(case), bert=tmp_path / "nowhere"))
    request = speaker.request(case, speaker.voice(case))
    (chunk,) = engine.synth(request)
    assert chunk.tokens.tolist() == case["seg0_tokens"].tolist()
