"""The packed facts about Mandarin in sovits_rt/text/data; see tools/pack_zh_data.py for what they are made of."""

import functools
import json
import lzma
from dataclasses import dataclass
from importlib.resources import files

_RANK_BASE = 36


@dataclass(frozen=True, slots=True)
class Tables:
    syllables: dict[str, tuple[str, str]]  # pinyin without tone -> (initial, final) of the symbol table
    simplify: dict[int, str]  # for str.translate: traditional -> simplified character
    neutral: frozenset[str]  # words whose last syllable is in the neutral tone
    not_neutral: frozenset[str]  # words that look like a neutral-tone pattern and are not
    erhua: frozenset[str]
    not_erhua: frozenset[str]


@dataclass(frozen=True, slots=True)
class PolyphoneWords:
    """Known readings of words; the reading of a character is picked by a rank among that character's readings."""

    readings: dict[str, list[str]]  # character -> readings with tone digit
    ranks: dict[str, str]  # word -> one base-36 digit per character

    def get(self, word: str) -> list[str] | None:
        """Pinyin with tone digit for each character, or None where the word is not listed."""
        ranks = self.ranks.get(word)
        if ranks is None:
            return None
        return [self.readings[char][int(rank, _RANK_BASE)] for char, rank in zip(word, ranks, strict=True)]


@functools.cache
def tables() -> Tables:
    raw: dict[str, str] = json.loads(_data("zh_tables.json"))
    syllables: dict[str, str] = raw["syllables"]  # type: ignore[assignment]  # the only entry that is not a string
    pairs = raw["simplify"]
    return Tables(
        syllables={pinyin: _two(phones) for pinyin, phones in syllables.items()},
        simplify={ord(old): new for old, new in zip(pairs[::2], pairs[1::2], strict=True)},
        neutral=frozenset(raw["neutral"].split()),
        not_neutral=frozenset(raw["not_neutral"].split()),
        erhua=frozenset(raw["erhua"].split()),
        not_erhua=frozenset(raw["not_erhua"].split()),
    )


@functools.cache
def polyphone_words() -> PolyphoneWords:
    characters, readings, words, ranks = lzma.decompress(_data("zh_polyphones.xz")).decode("utf-8").split("\n")
    return PolyphoneWords(
        readings={char: names.split("/") for char, names in zip(characters, readings.split(" "), strict=True)},
        ranks=dict(zip(words.split(" "), ranks.split(" "), strict=True)),
    )


def _two(phones: str) -> tuple[str, str]:
    initial, final = phones.split(" ")
    return initial, final


def _data(name: str) -> bytes:
    return files("sovits_rt.text").joinpath("data", name).read_bytes()
