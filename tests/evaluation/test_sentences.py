"""Lists of what is spoken."""

import pytest

from sovits_rt.errors import TextError
from sovits_rt.evaluation.recogniser import DIGITS
from sovits_rt.evaluation.sentences import (
    JUDGED,
    LONGEST,
    SHORTEST,
    digit_strings,
    held_out,
    own_sentences,
    sentences_in,
)
from sovits_rt.evaluation.words import words_of


def test_our_own_list_is_long_enough_and_its_end_is_kept_for_tuning():
    judged, kept = own_sentences(), held_out(30)
    assert len(judged) == JUDGED
    assert len(kept) == 30
    assert len({*judged, *kept}) == JUDGED + 30


def test_more_than_there_are_is_refused():
    with pytest.raises(TextError, match="but 100000 were asked for"):
        own_sentences(100_000)


def test_empty_lines_do_not_count():
    assert sentences_in("\n One.\r\n\n  Two. \n", "x") == ["One.", "Two."]
    assert sentences_in("One.\nTwo.", "x", 1) == ["One."]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" \n\n", "x has no sentences"),
        ("Fine.\nThere were 7 of them.", "Sentence 2 of x has digits"),
        ("你好。", "Sentence 1 of x has no English word"),
    ],
)
def test_lists_that_can_not_be_judged(text, message):
    with pytest.raises(TextError, match=message):
        sentences_in(text, "x")


def test_digits_are_the_same_every_time():
    many = digit_strings(200)
    assert digit_strings(5) == many[:5]
    lengths = {len(words_of(each)) for each in many}
    assert lengths == set(range(SHORTEST, LONGEST + 1))
    assert {word for each in many for word in words_of(each)} == set(DIGITS)
