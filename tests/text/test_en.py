"""English against upstream's `english.py`: spoken form and phones."""

import importlib.util
import time

import pytest

from sovits_rt.errors import TextError
from sovits_rt.text.en import lexicon, spelling
from sovits_rt.text.en.normalize import normalize
from sovits_rt.text.en.words import look_up, phones_of
from sovits_rt.text.g2p import en

if any(importlib.util.find_spec(package) is None for package in ("nltk", "inflect", "wordsegment")):
    pytest.skip("needs the extra en", allow_module_level=True)


@pytest.fixture(autouse=True)
def no_tagger(monkeypatch):
    """The expected phones were recorded without nltk's tagger data, which a developer's machine may have."""
    monkeypatch.setattr(en, "_has_tagger", lambda: False)


def speak(text, overrides=None):
    return " ".join(en.phones(text, "v2", overrides or {})[0])


def test_generated_texts(golden):
    """Numbers, money, times, units, names, abbreviations, possessives, unknown words, all kinds of signs."""
    cases = golden.text("en_more")["english"]
    different = []
    for case in cases:
        norm_text = en.normalize(case["text"], "v2")
        if (norm_text, speak(norm_text)) != (case["norm_text"], case["phones"]):
            different.append(case["text"])
    assert not different, f"{len(different)} of {len(cases)} differ: {different[:5]}"


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("At 13:05 I paid $3.50.", "At one five p.m. I paid three dollars and fifty cents."),
        ("1. first 2nd 3/4", "first, first second three fourths"),
        ("In 1999, 2005 and 2024", "In nineteen ninety-nine, two thousand five and twenty twenty-four"),
        ("-5°C e.g. 1.5km", "negative five degrees celsius for example one point five kilometers"),
        ("café 50% JSONData", "cafe fifty percent J S O N Data"),
        ("2 + 3 = 5", "two plus three Equals five"),
        ("wait; really: yes。！", "wait really yes."),
        ("a (5$) tip", "a five dollars tip"),  # upstream: ValueError
        ("a £,5 note", "a five pounds note"),  # upstream: ValueError
    ],
)
def test_spoken_form(text, spoken):
    assert normalize(text) == spoken


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("hello", "HH AH0 L OW1"),
        ("A", "EY1"),
        ("a", "AH0"),
        ("xqz", "EH1 K S K Y UW1 Z IY1"),  # up to three unknown letters are spelled
        ("tensorflow's", "T EH1 N S ER0 F L OW1 Z"),
        ("?", "?"),
    ],
)
def test_words(word, phones):
    assert " ".join(phones_of(word, "NN")) == phones


@pytest.mark.parametrize(
    ("tag", "phones"), [("VBP", "R IY1 D"), ("VB", "R IY1 D"), ("VBD", "R EH1 D"), ("NN", "R EH1 D")]
)
def test_homograph(tag, phones):
    assert " ".join(phones_of("Read", tag)) == phones


def test_tags_are_asked_for_only_with_a_homograph(monkeypatch):
    import nltk

    asked = []

    def pos_tag(words):
        asked.append(words)
        return [(word, "VBP") for word in words]

    monkeypatch.setattr(en, "_has_tagger", lambda: True)
    monkeypatch.setattr(nltk, "pos_tag", pos_tag)
    assert speak("We look at books.")
    assert not asked
    assert "R IY1 D" in speak("We read books.")
    assert asked == [["We", "read", "books", "."]]


def test_short_text_gets_a_comma_in_front():
    assert speak("go") == ", G OW1"
    assert speak("") == ","


def test_network_gives_at_most_twenty_phones():
    assert " ".join(spelling.predict("blorp")) == "B L AO1 R P"
    assert len(spelling.predict("b" * 100)) <= 20


@pytest.mark.parametrize(
    ("text", "word", "phones"),
    [
        ("a word here", "word", "AH0 X HH IY1 R"),
        ("see foo.com here", "foo", "S IY1 X . K AA1 M HH IY1 R"),  # the tokenizer alone reads "foo.com" as one word
        ("the COVID-19 virus", "COVID-19", "DH AH0 X V AY1 R AH0 S"),
        ("a ''''' word ''''' b", "word", "AH0 - - - X - - - B IY1"),
    ],
)
def test_override(text, word, phones):
    assert speak(text, {text.index(word): "P L EY1 S"}) == phones.replace("X", "P L EY1 S")


@pytest.mark.parametrize("pronunciation", ["QQ", "hello", "W ER9", "b a1", "UNK", "SP", "."])
def test_override_that_is_not_arpabet(pronunciation):
    with pytest.raises(
        TextError, match=r"^The pronunciation '.*' of 'word' holds '.*', which is no phone; write ARPAbet"
    ):
        speak("word", {0: pronunciation})


@pytest.mark.parametrize("overrides", [{4: "W ER1 D"}, {0: "W ER1 D", 2: "D"}])
def test_override_without_a_word(overrides):
    with pytest.raises(TextError, match="There is no word at position"):
        speak("word ,", overrides)


@pytest.mark.parametrize("number", ["9" * 400, "9" * 400 + ".", "1/" + "9" * 400, "9" * 400 + "th", "$" + "9" * 400])
def test_number_without_a_name(number):
    with pytest.raises(TextError, match=r"^A number of \d+ digits has no name; write it in words\.$"):
        normalize(f"{number} and")


def test_endless_number_is_refused_at_once():
    start = time.perf_counter()
    with pytest.raises(TextError, match="A number of more than 2000 characters is too long"):
        normalize("1" * 200_000)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("letters", [1001, 900])
def test_endless_word(letters):
    word = ("blorptasticzq" * 100)[:letters]
    with pytest.raises(TextError, match=f"'blorptasticzqblorpta'… of {letters} letters is too long to be read"):
        look_up(word)


def test_lists_are_complete():
    lists = lexicon.load()
    assert (len(lists.words), len(lists.names), len(lists.homographs)) == (143199, 19929, 371)
    assert all(lists.word(letter) for letter in "abcdefghijklmnopqrstuvwxyz")
    assert lists.word("ai") is None  # spelled, although CMUdict has it as a word
