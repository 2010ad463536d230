"""Tones that change inside a word: 不, 一, the neutral tone, and third tones in a row.

Follows modified_tone of GPT_SoVITS/text/tone_sandhi.py. All functions change a list of finals in place; a final ends in
its tone digit.
"""

from sovits_rt.text.zh.merge import is_third_tone
from sovits_rt.text.zh.tables import tables
from sovits_rt.text.zh.words import Word, two_parts

_PARTICLES = "吧呢哈啊呐噻嘛吖嗨呐哦哒额滴哩哟喽啰耶喔诶的地得"
_MEASURED_BY_GE = "几有两半多各整每做是"
_MARKS = "：，；。？！“”‘’':,;.?!"


def apply_sandhi(word: Word, finals: list[str]) -> None:
    """Give each syllable of a word the tone it is spoken with. finals: one per character of the word."""
    _bu(word.text, finals)
    _yi(word.text, finals)
    _neutral(word, finals)
    _third(word.text, finals)


def _set_tone(finals: list[str], index: int, tone: str) -> None:
    finals[index] = finals[index][:-1] + tone


def _bu(word: str, finals: list[str]) -> None:
    if len(word) == 3 and word[1] == "不":  # 看不懂
        _set_tone(finals, 1, "5")
        return
    for i in range(len(word) - 1):
        if word[i] == "不" and finals[i + 1].endswith("4"):  # 不怕
            _set_tone(finals, i, "2")


def _yi(word: str, finals: list[str]) -> None:
    if "一" not in word or all(char.isnumeric() for char in word):  # 二一零
        return
    if len(word) == 3 and word[1] == "一" and word[0] == word[2]:  # 看一看
        _set_tone(finals, 1, "5")
    elif word.startswith("第一"):
        _set_tone(finals, 1, "1")
    else:
        for i in range(len(word) - 1):
            if word[i] != "一":
                continue
            if finals[i + 1].endswith("4"):  # 一段
                _set_tone(finals, i, "2")
            elif word[i + 1] not in _MARKS:  # 一天
                _set_tone(finals, i, "4")


def _neutral(word: Word, finals: list[str]) -> None:
    text = word.text
    if word.tag[0] in "nva" and text not in tables().not_neutral:  # 奶奶, 试试
        for i in range(1, len(text)):
            if text[i] == text[i - 1]:
                _set_tone(finals, i, "5")
    measure = text.find("个")
    if _ends_in_suffix(word):
        _set_tone(finals, -1, "5")
    elif text == "个" or (measure >= 1 and _counts(text[measure - 1])):
        _set_tone(finals, measure, "5")
    elif _is_neutral_word(text):
        _set_tone(finals, -1, "5")
    parts = two_parts(text)
    if _is_neutral_word(parts[0]):
        _set_tone(finals, len(parts[0]) - 1, "5")
    if _is_neutral_word(parts[1]):
        _set_tone(finals, -1, "5")


def _ends_in_suffix(word: Word) -> bool:
    """Does the word end in a particle, an aspect marker, a plural, a place or a direction, which are unstressed?"""
    text, tag = word
    last = text[-1]
    if last in _PARTICLES:
        return True
    if len(text) == 1:
        return last in "了着过" and tag in ("ul", "uz", "ug")
    return (
        (last in "们子" and tag in ("r", "n") and text not in tables().not_neutral)
        or (last in "上下里" and tag in ("s", "l", "f"))
        or (last in "来去" and text[-2] in "上下进出回过起开")
    )


def _counts(char: str) -> bool:
    return char.isnumeric() or char in _MEASURED_BY_GE


def _is_neutral_word(word: str) -> bool:
    return word in tables().neutral or word[-2:] in tables().neutral


def _third(word: str, finals: list[str]) -> None:
    if len(word) == 2:
        _raise_pair(finals, 0)
    elif len(word) == 3:
        _third_of_three(word, finals)
    elif len(word) == 4:
        _raise_pair(finals, 0)
        _raise_pair(finals, 2)


def _third_of_three(word: str, finals: list[str]) -> None:
    first_length = len(two_parts(word)[0])
    if all(map(is_third_tone, finals)):
        if first_length == 2:  # 蒙古/包
            _set_tone(finals, 0, "2")
        if first_length <= 2:  # 纸/老虎
            _set_tone(finals, 1, "2")
    elif first_length == 2:  # 所有/人
        _raise_pair(finals, 0)
    elif first_length == 1 and not _raise_pair(finals, 1):
        _raise_pair(finals, 0)  # 好/喜欢


def _raise_pair(finals: list[str], start: int) -> bool:
    """Two third tones in a row: the first is spoken as a second tone."""
    raised = is_third_tone(finals[start]) and is_third_tone(finals[start + 1])
    if raised:
        _set_tone(finals, start, "2")
    return raised
