"""The recogniser on real recordings: what it hears, and what must not matter to it."""

import numpy as np
import pytest

from sovits_rt.audio.resample import soxr_hq
from sovits_rt.errors import AudioError, MissingExtraError
from sovits_rt.evaluation import recogniser as module
from sovits_rt.evaluation.recogniser import Recogniser, recogniser_name
from sovits_rt.evaluation.sentences import digit_strings
from sovits_rt.evaluation.words import errors, words_of


def test_sentences_are_understood(recogniser, rms, texts):
    found = [errors(words_of(text), recogniser.words(*each)) for text, each in zip(texts, rms.sentences, strict=True)]
    print(found)
    assert sum(each.words for each in found) == 26
    assert sum(each.count for each in found) <= 1


def test_digits_are_understood_with_their_grammar(rms):
    recogniser = Recogniser(digits=True)
    for text, each in zip(digit_strings(2), rms.digits, strict=True):
        assert list(recogniser.words(*each)) == words_of(text)


def test_with_the_grammar_nothing_but_digits_is_heard(rms):
    heard = Recogniser(digits=True).words(*rms.sentences[0])
    print(heard)
    assert heard
    assert set(heard) <= set(module.DIGITS)


def test_neither_level_nor_rate_nor_silence_matters(recogniser, rms):
    samples, rate = rms.sentences[1]
    heard = recogniser.words(samples, rate)
    assert recogniser.words(samples * 0.02, rate) == heard
    assert recogniser.words(soxr_hq(samples, rate, 44_100), 44_100) == heard
    silence = np.zeros(rate // 2, np.float32)
    assert recogniser.words(np.concatenate([silence, samples, silence]), rate) == heard


def test_what_was_heard_before_does_not_matter(recogniser, rms, slt):
    first = recogniser.words(*slt.sentences[1])
    recogniser.words(rms.sentences[0][0] * 0.1, 16_000)
    assert recogniser.words(*slt.sentences[1]) == first
    assert Recogniser().words(*slt.sentences[1]) == first


def test_nothing_is_heard_in_silence(recogniser):
    assert recogniser.words(np.zeros(16_000, np.float32), 16_000) == ()
    assert recogniser.words(np.zeros(0, np.float32), 16_000) == ()


def test_samples_that_are_no_numbers_are_refused_and_do_no_harm(recogniser, rms):
    with pytest.raises(AudioError, match="NaN"):
        recogniser.words(np.full(16_000, np.nan, np.float32), 16_000)
    assert len(recogniser.words(*rms.sentences[2])) == 8


def test_a_missing_package_is_named(monkeypatch):
    real = module.importlib.util.find_spec
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None if name == "jiwer" else real(name))
    with pytest.raises(MissingExtraError, match=r"jiwer is needed.*sovits-rt\[quality\]"):
        Recogniser()
    with pytest.raises(MissingExtraError):
        errors(["a"], [])


def test_no_environment_variable_leads_to_another_model(monkeypatch, rms, recogniser):
    monkeypatch.setenv("POCKETSPHINX_PATH", "/nowhere")
    assert Recogniser().words(*rms.sentences[0]) == recogniser.words(*rms.sentences[0])


def test_the_name_says_the_version():
    assert recogniser_name().startswith("pocketsphinx 5.")
