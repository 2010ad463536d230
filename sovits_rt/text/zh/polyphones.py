"""What a model of polyphonic characters offers, and the corrections that its readings go through."""

from collections.abc import Sequence
from typing import Protocol

from sovits_rt.text.zh.tables import polyphone_words


class PolyphoneModel(Protocol):
    """Chooses how each character is read from the sentence around it."""

    def pinyin(self, parts: Sequence[str]) -> list[list[str]]:
        """Pinyin with tone digit (5: neutral) per character of each part; a punctuation mark stands for itself."""
        ...


def correct_pinyin(word: str, pinyin: Sequence[str]) -> list[str]:
    """Replace the readings of known words, and of the few characters that are listed alone, by their known readings.

    Follows correct_pronunciation of GPT_SoVITS/text/g2pw/g2pw.py.
    """
    known = polyphone_words()
    if (readings := known.get(word)) is not None:
        return readings
    return [name if (alone := known.get(char)) is None else alone[0] for char, name in zip(word, pinyin, strict=True)]
