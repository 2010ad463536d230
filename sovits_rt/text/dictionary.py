"""The user's own pronunciations: a YAML file of `word: pronunciation`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from sovits_rt.errors import TextError
from sovits_rt.text.markup import WORD_END, WORD_START, Mark, is_english, sounds


@dataclass(frozen=True, slots=True)
class Dictionary:
    """Words whose every occurrence is spoken as given: longer words first, English words whole and in any case.

    words: word -> pinyin syllables with tones, one per character, or the ARPAbet phones of an English word.
    """

    words: Mapping[str, str]
    _sounds: Mapping[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises TextError for a word or a pronunciation that can't be used."""
        prepared = {word.lower(): sounds(word, pronunciation) for word, pronunciation in self.words.items()}
        longest_first = sorted(prepared, key=len, reverse=True)
        pattern = "|".join(_as_pattern(word) for word in longest_first) or r"(?!)"
        object.__setattr__(self, "words", MappingProxyType(dict(self.words)))
        object.__setattr__(self, "_sounds", MappingProxyType(prepared))
        object.__setattr__(self, "_pattern", re.compile(pattern, re.IGNORECASE | re.ASCII))

    @classmethod
    def load(cls, path: str | Path) -> "Dictionary":
        """Read a YAML file. Raises TextError if it can't be read or an entry can't be used, naming the file."""
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise TextError(f"the dictionary {str(path)!r} can't be read: {error}") from error
        except yaml.YAMLError as error:
            raise TextError(f"the dictionary {str(path)!r} is not YAML: {' '.join(str(error).split())}") from error
        try:
            return cls(_entries(content))
        except TextError as error:
            raise TextError(f"dictionary {str(path)!r}: {error}") from error

    def find(self, text: str, taken: Sequence[Mark] = ()) -> tuple[Mark, ...]:
        """Where the words stand in the text, without those that touch a mark that is there already."""
        found: list[Mark] = []
        position = 0
        while match := self._pattern.search(text, position):
            mark = Mark(match.start(), match.end(), self._sounds[match.group().lower()])
            free = all(mark.end <= other.start or other.end <= mark.start for other in taken)
            if free:
                found.append(mark)
            position = mark.end if free else mark.start + 1
        return tuple(found)


def _as_pattern(word: str) -> str:
    return f"{WORD_START}{re.escape(word)}{WORD_END}" if is_english(word) else re.escape(word)


def _entries(content: Any) -> dict[str, str]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise TextError("it must hold lines of `word: pronunciation`")
    for word, pronunciation in content.items():
        if not isinstance(word, str):
            raise TextError(f"the word {word!r} is read as {type(word).__name__} by YAML, put it in quotes")
        if not isinstance(pronunciation, str):
            raise TextError(f"the pronunciation {pronunciation!r} of {word!r} is not text, put it in quotes")
    return dict(content)
