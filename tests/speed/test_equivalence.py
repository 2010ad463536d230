"""What is called the same speech."""

import numpy as np
import pytest

from benchmarks.equivalence import IS_REFERENCE, NOTHING, compare, near_wave, same_tokens, together
from benchmarks.outcome import Check

TOKENS = np.arange(12).reshape(2, 6)


def test_all_tokens():
    assert same_tokens(TOKENS, TOKENS.copy()) == Check("all 12 tokens equal", exact=True)


def test_tokens_count_until_the_first_other_one_of_each_sentence():
    other = TOKENS.copy()
    other[0, 2] += 1
    assert same_tokens(TOKENS, other).text.startswith("8 of 12")


def test_one_token_more_is_not_the_same():
    longer = np.concatenate([TOKENS, TOKENS[:, :1]], axis=1)
    assert not same_tokens(TOKENS, longer).exact


def test_waves():
    wave = np.sin(np.arange(1000, dtype=np.float32))
    close = near_wave(wave, wave + np.float32(5e-5))
    assert close.exact
    assert close.snr_db == pytest.approx(10 * np.log10(0.5 / 25e-10), abs=0.1)
    assert not near_wave(wave, wave + np.float32(2e-4)).exact
    assert near_wave(wave, wave[:-1]).text == "999 samples instead of 1000"
    assert near_wave(wave, wave).exact


def test_numbers_of_another_shape():
    assert not compare("features", {"features": np.zeros((3, 2))}, {"features": np.zeros((2, 3))}).exact
    assert compare("features", {"features": np.zeros(3)}, {"features": np.full(3, 1e-5)}).exact


def test_nothing_to_compare():
    assert compare("wave", {}, {"wave": TOKENS}) == NOTHING


def test_together_it_is_as_good_as_the_worst():
    good, bad = Check("a", exact=True, snr_db=90.0), Check("b", exact=False, difference=0.5, snr_db=10.0)
    assert together([good, bad]) == Check("a; b", exact=False, difference=0.5, snr_db=10.0)
    assert together([IS_REFERENCE, IS_REFERENCE]) == IS_REFERENCE
    assert together([NOTHING]) == NOTHING
