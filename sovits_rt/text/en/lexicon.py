"""The English pronunciation lists: words, personal names, homographs.

data/en_words.xz, made by `tools/pack_en_data.py`, is text of these lines: all phones, blank between them; the words;
per word its phones, each one character (`!` is the first phone); the names and their phones likewise; then one
homograph a line, `word|phones|phones otherwise|part of speech of the former`. Sources: CMUdict 0.7b (BSD-2-Clause)
with the additions of GPT-SoVITS (MIT), homographs of g2p_en (Apache-2.0).
"""

import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FIRST_CODE = 0x21


@dataclass(frozen=True, slots=True)
class Homograph:
    """A spelling with two pronunciations; `tag` is the part of speech (Penn tag or its beginning) of the first."""

    tagged: tuple[str, ...]
    otherwise: tuple[str, ...]
    tag: str

    def phones(self, tag: str) -> tuple[str, ...]:
        """For a word tagged `tag`; a tag that is only the beginning of ours counts too ("VB" for "VBP")."""
        return self.tagged if tag.startswith(self.tag) or self.tag.startswith(tag) else self.otherwise


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Lower-case words and names with their packed phones."""

    phone_of: Mapping[str, str]
    words: Mapping[str, str]
    names: Mapping[str, str]
    homographs: Mapping[str, Homograph]

    def word(self, word: str) -> list[str] | None:
        return self._unpack(self.words.get(word))

    def name(self, name: str) -> list[str] | None:
        return self._unpack(self.names.get(name))

    def _unpack(self, packed: str | None) -> list[str] | None:
        return None if packed is None else [self.phone_of[code] for code in packed]


@cache
def load() -> Lexicon:
    """Read the lists (about 0.2 s, 30 MB), once."""
    packed = files("sovits_rt.text").joinpath("data/en_words.xz").read_bytes()
    phones, words, word_phones, names, name_phones, *homographs = lzma.decompress(packed).decode("utf-8").split("\n")
    return Lexicon(
        {chr(FIRST_CODE + index): phone for index, phone in enumerate(phones.split(" "))},
        dict(zip(words.split(" "), word_phones.split(" "), strict=True)),
        dict(zip(names.split(" "), name_phones.split(" "), strict=True)),
        {
            word: Homograph(tuple(first.split()), tuple(second.split()), tag)
            for word, first, second, tag in (line.split("|") for line in homographs)
        },
    )
