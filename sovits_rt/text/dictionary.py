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

_EXPECTED = "write lines of `word: pronunciation`."


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
        prepared: dict[str, tuple[str, ...]] = {}
        for word, pronunciation in self.words.items():
            if word.lower() in prepared:
                raise TextError(f"The word {word!r} stands there twice, in upper or lower case; keep one of them.")
            prepared[word.lower()] = sounds(word, pronunciation)
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
        except OSError as error:
            reason = f"can't be read ({error.strerror})"
            raise TextError(f"The dictionary {str(path)!r} {reason}; check the path.") from error
        except UnicodeDecodeError as error:
            raise TextError(f"The dictionary {str(path)!r} is not UTF-8 text; save it as UTF-8.") from error
        except yaml.YAMLError as error:
            mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
            place = f" (line {mark.line + 1})" if mark else ""
            raise TextError(f"The dictionary {str(path)!r} is not YAML{place}; {_EXPECTED}") from error
        try:
            return cls(_entries(content))
        except TextError as error:
            raise TextError(f"The dictionary {str(path)!r} can't be used: {error}") from error

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
        raise TextError(f"it holds a {type(content).__name__}; {_EXPECTED}")
    for word, pronunciation in content.items():
        if not isinstance(word, str):
            raise TextError(f"YAML reads the word {word!r} as {type(word).__name__}; put it in quotes.")
        if not isinstance(pronunciation, str):
            raise TextError(f"The pronunciation {pronunciation!r} of {word!r} is not text; put it in quotes.")
    return dict(content)
