"""Mandarin phone ids against upstream's (GPT-SoVITS 48b1a01, g2pW off); recorded as described in tests/golden/text."""

import importlib.util
import json
import lzma
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sovits_rt.errors import MissingExtraError, TextError
from sovits_rt.text import symbols
from sovits_rt.text.g2p import zh
from sovits_rt.text.zh.extras import load_optional
from sovits_rt.text.zh.tables import polyphone_words, tables

if importlib.util.find_spec("jieba") is None:
    pytest.skip("needs the extra zh", allow_module_level=True)

GOLDEN = Path(__file__).parents[1] / "golden" / "text"
VERSIONS = ("v1", "v2")


def read_golden(name: str) -> Any:
    return json.loads(lzma.decompress((GOLDEN / name).read_bytes()))


def ids(norm_text: str, version: str) -> tuple[int, ...]:
    phones, _ = zh.phones(norm_text, version, {})
    return symbols.to_ids(symbols.known(phones, version), version)


@pytest.mark.parametrize("version", VERSIONS)
def test_segments_of_golden_texts(version: str) -> None:
    cases = read_golden("frontend.json.xz")["cases"]
    segments = [s for case in cases for s in case.get(version, {}).get("segments", []) if s["lang"] == "zh"]
    assert len(segments) > 80
    different = []
    for segment in segments:
        pause = "SP2" if "￥" in segment["text"] else "SP3" if "^" in segment["text"] else ","
        text = segment["text"].replace("￥", ",") if pause == "SP2" else segment["text"].replace("^", ",")
        norm_text = zh.normalize(text, version)
        phones, word2ph = zh.phones(norm_text, version, {})
        phones = [pause if phone == "," else phone for phone in phones]
        if (norm_text, phones, word2ph) != (segment["norm_text"], segment["phones"], segment["word2ph"]):
            different.append(segment["text"])
    assert not different, f"{len(different)} of {len(segments)} segments differ"


@pytest.mark.parametrize("version", VERSIONS)
def test_generated_texts(version: str) -> None:
    """Numbers, dates, units, symbols, traditional characters, sandhi, erhua, idioms, names."""
    cases = read_golden("zh_more.json.xz")
    different = [
        case["text"]
        for case in cases
        if (norm_text := zh.normalize(case["text"], version)) != case["norm_text"]
        or list(ids(norm_text, version)) != case.get(version, case["v1"])
    ]
    assert not different, f"{len(different)} of {len(cases)} texts differ, the first is {different[0]!r}"


def test_versions_differ_in_erhua_only_where_recorded() -> None:
    cases = read_golden("zh_more.json.xz")
    assert sum("v2" in case for case in cases) > 20


def test_override_is_final_and_leaves_neighbours_alone() -> None:
    plain, counts = zh.phones("你好.", "v2", {})
    changed, same_counts = zh.phones("你好.", "v2", {1: "hao4"})
    assert plain == ["n", "i2", "h", "ao3", "."]
    assert changed == ["n", "i2", "h", "ao4", "."]
    assert counts == same_counts == [2, 2, 1]


@pytest.mark.parametrize("written", ["lü4", "lv4", "lu:4", " LV4 "])
def test_override_spellings(written: str) -> None:
    assert zh.phones("绿", "v2", {0: written}) == (["l", "v4"], [2])


@pytest.mark.parametrize("tone", ["0", "5"])
def test_override_neutral_tone(tone: str) -> None:
    assert zh.phones("了", "v1", {0: f"le{tone}"}) == (["l", "e5"], [2])


@pytest.mark.parametrize("pinyin", ["zhang", "zhang6", "zhang33", "qqq1", "", "4", "张"])
def test_unknown_override_is_refused(pinyin: str) -> None:
    with pytest.raises(TextError, match="no Mandarin syllable"):
        zh.phones("长", "v2", {0: pinyin})


@pytest.mark.parametrize("index", [-1, 1, 2])
def test_override_without_character_is_refused(index: int) -> None:
    with pytest.raises(TextError, match="no character is"):
        zh.phones("长.", "v2", {index: "zhang3"})


def test_character_without_syllable_is_refused_unless_given() -> None:
    with pytest.raises(TextError, match="'兙' has no Mandarin syllable"):
        zh.phones("十兙", "v2", {})
    assert zh.phones("十兙", "v2", {1: "ke4"})[0] == ["sh", "ir2", "k", "e4"]


def test_text_that_is_not_normalised_is_refused() -> None:
    with pytest.raises(TextError, match="'A' is not read in Mandarin"):
        zh.phones("你A好", "v2", {})


def test_nothing_to_say() -> None:
    assert zh.normalize("hello 😀", "v2") == ""
    assert zh.phones("", "v2", {}) == ([], [])


def test_digits_of_other_scripts_are_read() -> None:
    assert zh.normalize("共٣٤个", "v2") == "共三十四个"


def test_every_reading_has_a_symbol() -> None:
    for initial, final in tables().syllables.values():
        names = [initial, *(final + tone for tone in "12345")]
        assert "UNK" not in symbols.known(names, "v1"), names


def test_polyphone_words() -> None:
    words = polyphone_words()
    assert len(words.ranks) == 45047
    assert words.get("湖泊") == ["hu2", "po1"]
    assert words.get("泊") is None


def test_missing_package_names_the_extra() -> None:
    with pytest.raises(MissingExtraError, match=r'pip install "sovits-rt\[zh\]"'):
        load_optional("no_such_package_of_ours", extra="zh")


def test_importing_loads_neither_jieba_nor_pypinyin() -> None:
    program = (
        "import sys, sovits_rt.text.g2p.zh, sovits_rt.text.zh.g2pw;"
        "print(sorted({'jieba', 'pypinyin', 'opencc', 'onnxruntime', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_sentence_costs_little() -> None:
    norm_text = zh.normalize("据报道，2024年5月6日，银行行长和老朋友们一起去看了一场不错的音乐会。", "v2")
    zh.phones(norm_text, "v2", {})
    samples = []
    for _ in range(5):
        start = time.perf_counter()
        zh.phones(norm_text, "v2", {})
        samples.append(time.perf_counter() - start)
    print(f"{len(norm_text)} characters: best {min(samples) * 1e3:.2f} ms, worst {max(samples) * 1e3:.2f} ms")
    assert min(samples) < 0.05
