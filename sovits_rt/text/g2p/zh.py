"""Mandarin: text to phone names and how many of them each character has.

Follows GPT_SoVITS/text/chinese.py (symbol table v1) and chinese2.py (v2): both normalise alike; v2 also knows 儿 as a
suffix and may ask a polyphone model. Without such a model readings come from pypinyin.
"""

import re
from collections.abc import Iterator, Mapping

from sovits_rt.errors import TextError
from sovits_rt.text.zh import normalize as normalization
from sovits_rt.text.zh.erhua import apply_erhua
from sovits_rt.text.zh.merge import merge_words
from sovits_rt.text.zh.normalize import PUNCTUATION
from sovits_rt.text.zh.polyphones import PolyphoneModel, correct_pinyin
from sovits_rt.text.zh.readings import Reading, pinyin_reading, word_reading
from sovits_rt.text.zh.syllables import pinyin_phones, syllable_phones
from sovits_rt.text.zh.tone_sandhi import apply_sandhi
from sovits_rt.text.zh.words import tagged_words

_SYMBOLS_WITH_ERHUA = "v2"  # the symbol table that also takes the readings of a polyphone model
_PART = re.compile(f"[^{PUNCTUATION}]*[{PUNCTUATION}]|[^{PUNCTUATION}]+")
_NOT_NORMALISED = re.compile(f"[^一-龥{PUNCTUATION}]")


def normalize(text: str, symbols: str) -> str:
    """The text as it is read aloud: characters U+4E00 to U+9FA5 and the marks !?…,.- only.

    Args:
        text: any text; what can't be read aloud in Mandarin (letters, other scripts) is left out.
        symbols: "v1" or "v2"; both tables are normalised for alike.
    """
    return normalization.normalize(text)


def phones(
    norm_text: str, symbols: str, overrides: Mapping[int, str], polyphones: PolyphoneModel | None = None
) -> tuple[list[str], list[int]]:
    """Phone names of a normalised text and the number of phones of each of its characters.

    Args:
        norm_text: what `normalize` returned.
        symbols: "v1" or "v2", the symbol table of the checkpoint.
        overrides: index of a character -> its pinyin with tone digit ("zhang3"; 0 or 5: neutral tone). It is final:
            no tone changes are applied to it, and its neighbours change as if it were not there.
        polyphones: chooses readings in place of pypinyin; used with "v2" only, as upstream does.

    Raises:
        TextError: a character is not normalised or has no reading, or an override does not fit.
        MissingExtraError: jieba or pypinyin is not installed.
    """
    if stray := _NOT_NORMALISED.search(norm_text):
        raise TextError(f"the character {stray[0]!r} is not read in Mandarin, normalise the text first")
    chosen = {index: _override_phones(norm_text, index, pinyin) for index, pinyin in overrides.items()}
    names: list[str] = []
    phones_per_character: list[int] = []
    for index, (initial, final) in enumerate(_syllables(norm_text, symbols, polyphones)):
        own = chosen.get(index) or _phones(norm_text[index], initial, final)
        names += own
        phones_per_character.append(len(own))
    return names, phones_per_character


def _syllables(norm_text: str, symbols: str, polyphones: PolyphoneModel | None) -> Iterator[tuple[str, str]]:
    """(initial, final with tone digit) of each character; a punctuation mark stands for both."""
    parts: list[str] = _PART.findall(norm_text)
    use_model = polyphones is not None and symbols == _SYMBOLS_WITH_ERHUA
    pinyin = polyphones.pinyin(parts) if polyphones is not None and use_model else [None] * len(parts)
    for part, part_pinyin in zip(parts, pinyin, strict=True):
        position = 0
        for word in merge_words(tagged_words(part)):
            if part_pinyin is None:
                reading = word_reading(word.text)
            else:
                reading = _model_reading(word.text, part_pinyin[position : position + len(word.text)])
            position += len(word.text)
            finals = list(reading.finals)
            apply_sandhi(word, finals)
            if symbols == _SYMBOLS_WITH_ERHUA:
                apply_erhua(word, finals)
            yield from zip(reading.initials, finals, strict=True)


def _model_reading(word: str, pinyin: list[str]) -> Reading:
    return pinyin_reading(correct_pinyin(word, pinyin))


def _phones(char: str, initial: str, final: str) -> tuple[str, ...]:
    if char in PUNCTUATION:
        return (char,)
    found = syllable_phones(initial, final)
    if found is None:
        raise TextError(
            f"The character {char!r} has no Mandarin syllable; replace it or give its pinyin as in [字](/zi4/)."
        )
    return found


def _override_phones(norm_text: str, index: int, pinyin: str) -> tuple[str, str]:
    if not 0 <= index < len(norm_text) or norm_text[index] in PUNCTUATION:
        raise TextError(f"the pinyin {pinyin!r} is for position {index} of {norm_text!r}, where no character is")
    found = pinyin_phones(pinyin)
    if found is None:
        raise TextError(
            f"There is no Mandarin syllable {pinyin!r}; write pinyin with a tone digit from 1 to 5, as in zhang3."
        )
    return found
