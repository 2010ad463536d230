"""The sentences of the demonstration voice: those it is judged on are apart from those it learns from."""

import importlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from sovits_rt.text.en import lexicon

ROOT = Path(__file__).resolve().parents[2]
MODULE = "tools.demo_voice.generate_text"
WORD_COUNTS = {
    "adjectives": 250,
    "nouns_singular": 500,
    "nouns_plural": 250,
    "verbs_past_transitive": 200,
    "verbs_past_intransitive": 100,
    "adverbs": 120,
    "prepositions": 30,
    "places": 80,
    "times": 40,
    "names": 80,
    "verbs_base": 150,
}


@pytest.fixture(scope="module")
def tool():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        return importlib.import_module(MODULE)


@pytest.fixture(scope="module")
def sources(tool):
    return {
        "held out": tool.load(tool.HELD_OUT),
        "written": tool.load(tool.HERE / "sentences.txt"),
        "generated": tool.generate(4000, 1),
        "word strings": tool.word_strings(3000, 1),
    }


def words_of(sentence):
    return re.findall(r"[a-z']+", sentence.lower())


def phones_of(word):
    english = lexicon.load()
    return [re.sub(r"\d", "", phone) for phone in english.word(word) or english.name(word) or ()]


@pytest.mark.parametrize(
    ("name", "count"), [("held out", 200), ("written", 900), ("generated", 4000), ("word strings", 3000)]
)
def test_sentences_are_different_and_well_formed(sources, name, count):
    sentences = sources[name]
    assert len(sentences) == count
    assert len(set(sentences)) == count
    assert [each for each in sentences if not re.fullmatch(r"[A-Z0-9][ -~]*[.?!]", each) or "  " in each] == []


def test_held_out_sentences_are_short_and_of_words_spoken_in_one_way(sources):
    english = lexicon.load()
    for sentence in sources["held out"]:
        assert re.fullmatch(r"[A-Z][a-z, ]*\.", sentence), sentence
        assert 7 <= len(words_of(sentence)) <= 10, sentence
        assert [w for w in words_of(sentence) if english.word(w) is None or w in english.homographs] == [], sentence


@pytest.mark.parametrize("name", ["written", "generated", "word strings"])
def test_nothing_learned_shares_five_words_with_what_is_held_out(tool, sources, name):
    held_out = {run: each for each in sources["held out"] for run in tool.runs(each)}
    shared = [(each, held_out[run]) for each in sources[name] for run in tool.runs(each) if run in held_out]
    assert shared == []


def test_runs_are_found_whatever_case_and_punctuation(tool):
    assert tool.runs("The cat, it sat down there.") & tool.runs("Was it THE CAT? It sat down!")
    assert not tool.runs("The cat sat on mats.") & tool.runs("The cat sat on a mat.")
    assert tool.runs("Good morning.") == {("good", "morning")}


def test_a_held_out_sentence_is_not_generated(tool, sources, monkeypatch, tmp_path):
    once = tool.generate(50, 1)
    (tmp_path / "held_out.txt").write_text(f"Well, {once[0]}\n{once[7]}\n", encoding="ascii")
    monkeypatch.setattr(tool, "HELD_OUT", tmp_path / "held_out.txt")
    again = tool.generate(50, 1)
    assert once[0] not in again
    assert once[7] not in again
    assert again[:48] == [each for each in once if each not in (once[0], once[7])][:48]


@pytest.mark.parametrize(("name", "least"), [("held out", 5), ("written", 30), ("generated", 100)])
def test_every_phone_occurs(sources, name, least):
    counts = Counter(phone for each in sources[name] for word in words_of(each) for phone in phones_of(word))
    print(counts)
    known = {re.sub(r"\d", "", phone) for phone in lexicon.load().phone_of.values()}
    arpabet = {phone for phone in known if re.fullmatch("[A-Z]{1,2}", phone)}
    assert len(arpabet) == 39
    assert {phone: counts[phone] for phone in arpabet if counts[phone] < least} == {}


def test_word_lists_have_their_sizes_and_known_words(tool):
    words = yaml.safe_load(tool.WORDS.read_text(encoding="ascii"))
    assert {name: len(entries) for name, entries in words.items()} == WORD_COUNTS
    for name, entries in words.items():
        assert all(isinstance(each, str) for each in entries), name  # an unquoted "on" would be True
        assert len(set(entries)) == len(entries), name
        assert [each for each in entries for word in words_of(each) if not phones_of(word)] == []


def test_every_list_of_words_is_drawn_from(tool):
    slots = {slot for template in tool.TEMPLATES for slot in re.findall(r"\{(\w+)\}", template)}
    assert slots >= set(WORD_COUNTS)


def test_the_seed_decides(tool, sources):
    assert tool.generate(4000, 1) == sources["generated"]
    assert tool.generate(100, 1) == sources["generated"][:100]
    assert not set(tool.generate(100, 2)) & set(sources["generated"][:100])


def test_some_sentences_are_strings_of_digits(tool, sources):
    digits = {*tool.DIGITS, "oh"}
    strings = [words_of(each) for each in sources["generated"] if digits.issuperset(words_of(each))]
    assert 0.06 < len(strings) / 4000 < 0.10
    assert {len(each) for each in strings} == {3, 4, 5, 6, 7, 8}
    heard = Counter(word for each in strings for word in each)
    assert 0 < heard["oh"] < heard["zero"]


@pytest.mark.parametrize(
    ("word", "vowel"),
    [
        ("hour", True),
        ("honest", True),
        ("house", False),
        ("uncle", True),
        ("unusual", True),
        ("uniform", False),
        ("university", False),
        ("useful", False),
        ("one", False),
        ("onion", True),
        ("yacht", False),
    ],
)
def test_the_article_follows_the_sound(tool, word, vowel):
    assert bool(tool.HEARD_VOWEL.match(word)) is vowel


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (99, "ninety nine"),
        (100, "one hundred"),
        (342, "three hundred forty two"),
        (705, "seven hundred five"),
    ],
)
def test_numbers_in_words(tool, number, words):
    assert tool.spoken(number) == words


def command(*options):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", MODULE, *options], capture_output=True, text=True, cwd=ROOT
    )


def test_the_command_prints_them(tool):
    done = command("--count", "20", "--seed", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == tool.generate(20, 3)


def test_a_negative_count_is_refused(tool):
    done = command("--count", "-1")
    assert done.returncode == 2
    assert "--count must be 0 or more, but got -1." in done.stderr
    with pytest.raises(ValueError, match="0 or more, but got -1"):
        tool.generate(-1, 1)
