"""Word errors: counted as known examples say, with intervals that behave as intervals must."""

import numpy as np
import pytest

from sovits_rt.evaluation.words import Errors, Rate, difference, errors, share, word_error_rate, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The gray pony, at noon.", ["the", "gray", "pony", "at", "noon"]),
        ("It's a well-known 'fact'!", ["it's", "a", "well", "known", "fact"]),
        ("don\N{RIGHT SINGLE QUOTATION MARK}t", ["don't"]),
        ("...", []),
    ],
)
def test_words_of_a_text(text, words):
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("said", "heard", "counts"),
    [
        ("the old bridge", "the old bridge", (0, 0, 0)),
        ("the old bridge", "the cold bridge", (1, 0, 0)),
        ("the old bridge", "the bridge", (0, 1, 0)),
        ("the old bridge", "the very old bridge", (0, 0, 1)),
        ("the old bridge", "", (0, 3, 0)),
        ("one two three four", "two three five", (1, 1, 0)),
    ],
)
def test_errors_of_a_sentence(said, heard, counts):
    found = errors(said.split(), heard.split())
    assert (found.substitutions, found.deletions, found.insertions) == counts
    assert found.words == len(said.split())
    assert found.count == sum(counts)


def counted(*pairs):
    return [Errors(words, wrong, 0, 0) for words, wrong in pairs]


def test_the_rate_is_of_all_words_not_the_mean_of_sentences():
    assert word_error_rate(counted((2, 2), (18, 0))).value == pytest.approx(0.1)


def test_the_interval_is_that_of_a_known_case():
    """400 sentences of one word, a tenth of them wrong: the binomial interval is 0.0726 to 0.1311 (Wilson)."""
    found = word_error_rate(counted(*[(1, 1)] * 40, *[(1, 0)] * 360))
    print(found.percent)
    assert found.value == pytest.approx(0.1)
    assert found.low == pytest.approx(0.0726, abs=0.006)
    assert found.high == pytest.approx(0.1311, abs=0.006)
    assert word_error_rate(counted(*[(1, 1)] * 40, *[(1, 0)] * 360)) == found


def test_intervals_hold_as_often_as_they_say():
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(100):
        wrong = generator.binomial(8, 0.2, 60)
        found = share(wrong, np.full(60, 8))
        hits += found.low <= 0.2 <= found.high
    print(f"{hits} of 100")
    assert 88 <= hits <= 99


def test_a_difference_is_paired():
    """One error more in every sentence is certain, however much the sentences differ among themselves."""
    mine, its = counted(*[(10, n % 5 + 1) for n in range(40)]), counted(*[(10, n % 5) for n in range(40)])
    found = difference(mine, its)
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    assert difference(mine, mine) == Rate(0.0, 0.0, 0.0)
    assert word_error_rate(its).high - word_error_rate(its).low > 0.05


def test_a_difference_of_other_sentences_is_a_mistake():
    with pytest.raises(AssertionError):
        difference(counted((3, 0)), counted((4, 0)))
