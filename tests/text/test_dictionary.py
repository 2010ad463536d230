"""The user's dictionary: where its words are found, which files are refused."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovits_rt.errors import TextError
from sovits_rt.text import Dictionary
from sovits_rt.text.markup import Mark

WORDS = Dictionary({"重庆": "chong2 qing4", "重": "zhong4", "AI": "EY1 AY1", "read-only": "R EH1 D", "5G": "F AY1 V"})


def found(text, taken=()):
    return [text[mark.start : mark.end] for mark in WORDS.find(text, taken)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("重庆很重", ["重庆", "重"]),
        ("AI, ai and Ai", ["AI", "ai", "Ai"]),
        ("SAID AIR AI's", []),
        ("学AI吗，用5G", ["AI", "5G"]),
        ("a read-only file, read", ["read-only"]),
        ("nothing here", []),
    ],
)
def test_longer_words_first_and_english_words_whole(text, words):
    assert found(text) == words


def test_the_texts_own_marks_come_first():
    assert found("重庆重", [Mark(1, 2, ("x",))]) == ["重"]
    assert found("重庆重", [Mark(0, 2, ("x", "y"))]) == ["重"]


@given(st.text(st.sampled_from("重庆AI ai5Gread-only'é")))
def test_marks_never_overlap(text):
    marks = WORDS.find(text)
    assert all(before.end <= after.start for before, after in pairwise(marks))
    assert all(text[mark.start : mark.end].lower() in map(str.lower, WORDS.words) for mark in marks)


def test_empty_dictionary_finds_nothing():
    assert Dictionary({}).find("重庆") == ()


def test_load(tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text("重庆: chong2 qing4\nGIF: JH IH1 F\n", encoding="utf-8")
    assert dict(Dictionary.load(path).words) == {"重庆": "chong2 qing4", "GIF": "JH IH1 F"}
    path.write_text("# nothing yet\n", encoding="utf-8")
    assert dict(Dictionary.load(path).words) == {}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"- a\n- b\n", "it holds a list; write lines of `word: pronunciation`."),
        (b"just text", "it holds a str; write lines"),
        (b"a: 1\nb: [c", "is not YAML (line 2); write lines"),
        (b"1: W AH1 N\n", "YAML reads the word 1 as int; put it in quotes."),
        (b"no: N OW1\n", "YAML reads the word False as bool; put it in quotes."),
        (b"one: 1\n", "The pronunciation 1 of 'one' is not text; put it in quotes."),
        ("重庆: chong2\n".encode(), "'重庆' has 2 characters but 'chong2' has 1 syllables"),
        (b"AI: EY1 AY1\nai: AY1\n", "The word 'ai' stands there twice"),
        (b"\xff\xfe\xfa", "is not UTF-8 text; save it as UTF-8."),
    ],
)
def test_file_that_can_not_be_used(tmp_path, content, sentence):
    path = tmp_path / "words.yaml"
    path.write_bytes(content)
    with pytest.raises(TextError, match=re.escape(sentence)) as caught:
        Dictionary.load(path)
    assert str(path) in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(TextError, match=r"^The dictionary '.*none\.yaml' can't be read"):
        Dictionary.load(tmp_path / "none.yaml")
