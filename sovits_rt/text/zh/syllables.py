"""A syllable as two phones: the initial and the final with its tone, as the symbol table names them."""

import functools

from sovits_rt.text.zh.tables import tables

_TONES = "12345"
_SHORT_FINALS = {"uei": "ui", "iou": "iu", "uen": "un"}
_WITHOUT_INITIAL = {"ing": "ying", "i": "yi", "in": "yin", "u": "wu"}
_LEADING_VOWELS = {"v": "yu", "i": "y", "u": "w"}


@functools.lru_cache(maxsize=4096)
def syllable_phones(initial: str, final: str) -> tuple[str, str] | None:
    """Phones for pypinyin's initial and final with tone digit; None where the symbol table has no such syllable."""
    return _table_phones(_spelling(initial, final[:-1]), final[-1:])


def pinyin_phones(pinyin: str) -> tuple[str, str] | None:
    """Phones for pinyin as a user writes it (zhang3, lv4, lü4; tone 0 or 5: neutral); None where there is no such
    syllable."""
    spelled = pinyin.strip().lower().replace("u:", "v").replace("ü", "v")
    return _table_phones(spelled[:-1], spelled[-1:].replace("0", "5"))


def _table_phones(pinyin: str, tone: str) -> tuple[str, str] | None:
    phones = tables().syllables.get(pinyin)
    if phones is None or not tone or tone not in _TONES:
        return None
    return phones[0], phones[1] + tone


def _spelling(initial: str, final: str) -> str:
    """Standard spelling of an initial and an unabridged final: uei -> wei, d + uei -> dui, v -> yu."""
    if initial:
        return initial + _SHORT_FINALS.get(final, final)
    if final in _WITHOUT_INITIAL:
        return _WITHOUT_INITIAL[final]
    return _LEADING_VOWELS.get(final[:1], final[:1]) + final[1:]
