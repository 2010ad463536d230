"""How words are read, by pypinyin: an initial and a final for each character.

A final ends in its tone digit, 5 for the neutral tone; a punctuation mark has itself as initial and final.
"""

import functools
from typing import Any, NamedTuple

from sovits_rt.text.zh.extras import load_optional


class Reading(NamedTuple):
    initials: tuple[str, ...]
    finals: tuple[str, ...]


@functools.lru_cache(maxsize=16384)
def word_reading(word: str) -> Reading:
    """The reading of a word in pypinyin's dictionary of phrases, or of its characters one by one."""
    pypinyin = _pypinyin()
    read = functools.partial(pypinyin.lazy_pinyin, word, neutral_tone_with_five=True)
    return Reading(tuple(read(style=pypinyin.Style.INITIALS)), tuple(read(style=pypinyin.Style.FINALS_TONE3)))


def pinyin_reading(pinyin: list[str]) -> Reading:
    """Split pinyin with tone digits, as a polyphone model gives it; punctuation marks stay as they are."""
    convert = load_optional("pypinyin.contrib.tone_convert", extra="zh")
    initials, finals = [], []
    for name in pinyin:
        spoken = name[0].isalpha()
        initials.append(convert.to_initials(name) if spoken else name)
        finals.append(convert.to_finals_tone3(name, neutral_tone_with_five=True) if spoken else name)
    return Reading(tuple(initials), tuple(finals))


def phrase_pinyin(text: str) -> list[str]:
    """Pinyin with tone digit (5: neutral) for each character of a text, from pypinyin alone."""
    pypinyin = _pypinyin()
    names: list[str] = pypinyin.lazy_pinyin(text, neutral_tone_with_five=True, style=pypinyin.Style.TONE3)
    return names


@functools.cache
def _pypinyin() -> Any:  # the module
    return load_optional("pypinyin", extra="zh")
