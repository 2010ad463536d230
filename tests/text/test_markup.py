"""Pauses and pronunciations in a text: what is read, what is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovits_rt.errors import TextError
from sovits_rt.text.markup import Mark, Passage, follow, passages, share


def read(text):
    return list(passages(text))


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("0.8s", 0.8), ("500ms", 0.5), ("2s", 2.0), (" 1.25 s ", 1.25), ("0s", 0.0), ("60s", 60.0), ("60000ms", 60.0)],
)
def test_pause(written, seconds):
    assert read(f"Stop.[pause:{written}]Go.") == [Passage("Stop.", (), seconds), Passage("Go.", (), None)]


@pytest.mark.parametrize("written", ["", "long", "1", "-1s", "1 h", "1,5s", ".5s", "1e3ms", "s"])
def test_pause_that_is_none(written):
    with pytest.raises(TextError, match=re.escape(f"'[pause:{written}]' is not a pause; write it like [pause:0.8s]")):
        read(f"Stop.[pause:{written}]Go.")


@pytest.mark.parametrize("written", ["60.1s", "60001ms", "9" * 400 + "s"])
def test_pause_too_long(written):
    with pytest.raises(TextError, match=r"is longer than 60 s; use a shorter pause\.$"):
        read(f"[pause:{written}]")


@pytest.mark.parametrize(
    ("written", "mark"),
    [
        ("他[长](/zhang3/)大了", Mark(1, 2, ("zhang3",))),
        ("去[重庆](/chong2  qing4 /)吧", Mark(1, 3, ("chong2", "qing4"))),
        ("A [word](/W ER1 D/).", Mark(2, 6, ("W ER1 D",))),
        ("A [well-read](/W EH1 L R EH1 D/) man", Mark(2, 11, ("W EH1 L R EH1 D",))),
        ("用[5G](/F AY1 V JH IY1/)吗", Mark(1, 3, ("F AY1 V JH IY1",))),
    ],
)
def test_pronunciation(written, mark):
    (passage,) = read(written)
    assert passage.marks == (mark,)
    assert passage.text == re.sub(r"\[(.*?)\]\(.*?\)", r"\1", written)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (
            "[重庆](/chong2/)",
            "'重庆' has 2 characters but 'chong2' has 1 syllables; write one per character, like zhang3.",
        ),
        ("[字](//)", "The pronunciation of '字' is empty; write it like"),
        (
            "[two words](/T UW1/)",
            "'two words' can't carry a pronunciation; mark Chinese characters or one English word.",
        ),
        ("[字a](/zi4 EY1/)", "'字a' can't carry a pronunciation"),
        ("[](/zi4/)", "'' can't carry a pronunciation"),
        ("[。](/zi4/)", "'。' can't carry a pronunciation"),
        ("[read](/R EH1 D/)ing", "'read' is marked inside a longer word; mark the whole word."),
        ("John[s](/Z/)", "'s' is marked inside a longer word"),
        ("[John](/JH AA1 N/)'s", "'John' is marked inside a longer word"),
        ("[字](/zi4", "The markup near '[字](/zi4' is not complete; write"),
        ("字](/zi4/)", "The markup near '字](/zi4/)' is not complete"),
        ("Stop [pause:1s and go", "The markup near 'Stop [pause:1s and go' is not complete"),
    ],
)
def test_malformed(written, sentence):
    with pytest.raises(TextError, match=re.escape(sentence)):
        read(written)


@pytest.mark.parametrize("text", ["a[0] = b", "[note] (see /x/)", "f(/tmp/)", "[]", "[[a]]", "[pause]", "[链接](http)"])
def test_other_brackets_are_text(text):
    assert read(text) == [Passage(text, (), None)]


@given(st.text())
def test_text_without_brackets_passes_through(text):
    text = text.replace("[", "").replace("]", "")
    assert read(text) == [Passage(text, (), None)]


def test_marks_follow_their_words_through_cutting():
    source = "one, 长 two 长"
    marks = [Mark(5, 6, ("zhang3",)), Mark(11, 12, ("chang2",))]
    pieces = ["。one,", "长 tw", "o长."]
    followed = follow(marks, source, "".join(pieces))
    assert share(followed, pieces) == [[], [Mark(0, 1, ("zhang3",))], [Mark(1, 2, ("chang2",))]]


def test_marks_follow_over_letters_that_were_dropped():
    assert follow([Mark(6, 7, ("zhang3",))], "éé长 é 长", "长长") != []
    assert follow([Mark(2, 3, ("zhang3",))], "éé长 é", "长") == [Mark(0, 1, ("zhang3",))]


def test_lost_word():
    with pytest.raises(TextError, match="The pronunciation of '重庆' has lost its place"):
        follow([Mark(0, 2, ("chong2", "qing4"))], "重庆吗", "重 庆吗")
    with pytest.raises(TextError, match="is cut apart at the end of '重'"):
        share([Mark(0, 2, ("chong2", "qing4"))], ["重", "庆"])
