"""Cutting: upstream's pieces, and no letter or digit is lost."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovits_rt.errors import TextError
from sovits_rt.text import split

texts = st.text(
    st.one_of(st.sampled_from("ab 1.,!?…-~:;。，！？：—、\n的了"), st.characters(codec="utf-8")), max_size=120
)


def letters(text):
    return "".join(re.findall(r"\w", text))


def test_golden_texts(golden):
    cases = golden.text("segmentation")["cases"]
    compared = 0
    for case in cases:
        for method, want in case["methods"].items():
            assert split.CUTS[method](case["text"]) == want["raw"], (method, case["text"])
            if want.get("segments"):
                assert split.sentences(case["text"], case["lang"], method) == want["segments"]
            else:  # upstream raises or has nothing to speak
                with pytest.raises(TextError, match="no letter or digit"):
                    split.sentences(case["text"], case["lang"], method)
            compared += 1
    print(f"{compared} segmentations equal")
    assert compared == 126


def test_generated_texts(golden):
    cases = golden.text("en_more")["sentences"]
    different = [
        case for case in cases if split.sentences(case["text"], case["language"], case["split"]) != case["sentences"]
    ]
    assert not different, f"{len(different)} of {len(cases)} differ: {different[:3]}"


@settings(deadline=None)
@given(text=texts, method=st.sampled_from(split.SPLITS), language=st.sampled_from(["zh", "en"]))
def test_letters_and_digits_keep_their_order(text, method, language):
    try:
        pieces = split.sentences(text, language, method)
    except TextError:
        assert letters(text) == ""
    else:
        assert letters("".join(pieces)) == letters(text)
        assert all(letters(piece) and "\n" not in piece for piece in pieces)


@pytest.mark.parametrize(("language", "stop"), [("zh", "。"), ("en", ".")])
def test_short_first_clause_gets_a_stop_in_front(language, stop):
    assert split.sentences("ok, then", language, "cut0") == [f"{stop}ok, then{stop}"]
    assert split.sentences("okay, then", language, "cut0") == [f"okay, then{stop}"]


def test_overlong_clause_comes_whole_and_alone():
    """Upstream puts an empty piece in front of it."""
    pieces = split.sentences("x" * 700 + ", ok", "en", "cut0")
    assert [len(piece) for piece in pieces] == [700, 5]


def test_long_text_is_cut_at_the_last_mark_that_fits():
    pieces = split.sentences("一二三四五六七八九，" * 100, "zh", "cut0")
    assert [len(piece) for piece in pieces] == [510, 490]
    assert all(piece.endswith("，") for piece in pieces)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("你好。", ["你好。"]),
        ("我们走吧", ["我们走吧。"]),
        (
            "你好吗？好，好，好。我很好！",
            ["你好吗？好，", "好，好。我很好！"],
        ),  # pieces of less than five characters join
        ("圆周率是3.14吗", ["圆周率是3.14吗。"]),
        ("真的吗？！！！好吧好吧", ["真的吗？好吧好吧。"]),
        ("好的...知道了!!!", ["好的.知道了!"]),
    ],
)
def test_cut5(text, pieces):
    assert split.sentences(text, "zh", "cut5") == pieces


@pytest.mark.parametrize("text", ["", "\n", "\n\n"])
def test_empty_text(text):
    with pytest.raises(TextError, match="empty"):
        split.sentences(text, "zh", "cut5")


@pytest.mark.parametrize("text", ["。。。", "   ", "…", "😀", "（）"])
def test_text_of_marks_only_is_named_as_written(text):
    with pytest.raises(TextError, match=re.escape(f"The text {text!r} has no letter or digit")):
        split.sentences(text, "zh", "cut5")


def test_unknown_method():
    with pytest.raises(TextError, match=r"^The split method 'cut9' is not known; use one of: cut0, cut1,"):
        split.sentences("Hello.", "en", "cut9")
