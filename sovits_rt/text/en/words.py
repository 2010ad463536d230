"""Phones of one English word: where to look, in which order (upstream: `qryword` in `GPT_SoVITS/text/english.py`)."""

import re
from collections.abc import Callable
from functools import cache

from sovits_rt.errors import MissingExtraError, TextError
from sovits_rt.text.en import lexicon, spelling

MAX_SPELLED_LETTERS = 3
"""Unknown words up to this length are spelled letter by letter."""

MAX_WORD_LETTERS = 1000
"""Longer words can't be cut into parts: that goes deeper per letter and takes seconds."""

_POSSESSIVE = re.compile(r"[a-z]+'s$")
_VOICELESS = frozenset(("P", "T", "K", "F", "TH", "HH"))
_SIBILANTS = frozenset(("S", "Z", "SH", "ZH", "CH", "JH"))


def phones_of(word: str, tag: str) -> list[str]:
    """Phones of one token of a normalised text; `tag` is its part of speech (Penn tag). Marks are their own phone."""
    lower = word.lower()
    if re.search("[a-z]", lower) is None:
        return [lower]
    if len(lower) == 1:
        return ["EY1"] if word == "A" else _letter(lower)
    if homograph := lexicon.load().homographs.get(lower):
        return list(homograph.phones(tag))
    return look_up(word)


def is_homograph(word: str) -> bool:
    return word.lower() in lexicon.load().homographs


def look_up(word: str) -> list[str]:
    """Word list, name list (capitalised words), spelled out, possessive, compound parts, guessed from the letters."""
    lower = word.lower()
    lists = lexicon.load()
    if len(lower) > 1 and (found := lists.word(lower)) is not None:
        return found
    if word.istitle() and (found := lists.name(lower)) is not None:
        return found
    if len(lower) <= MAX_SPELLED_LETTERS:
        return [phone for letter in lower for phone in _spelled(letter)]
    if _POSSESSIVE.match(lower):
        return _possessive(look_up(lower[:-2]))
    if len(lower) > MAX_WORD_LETTERS:
        raise _too_long(word)
    parts = _word_segment()(lower)
    if len(parts) == 1:
        return spelling.predict(lower)
    return [phone for part in parts for phone in look_up(part)]


def _letter(letter: str) -> list[str]:
    found = lexicon.load().word(letter)
    assert found is not None
    return found


def _spelled(letter: str) -> list[str]:
    if letter == "a":
        return ["EY1"]
    return _letter(letter) if letter.isalpha() else [letter]


def _possessive(owner: list[str]) -> list[str]:
    last = owner[-1] if owner else ""
    if last in _VOICELESS:
        return [*owner, "S"]
    return [*owner, "AH0", "Z"] if last in _SIBILANTS else [*owner, "Z"]


def _too_long(word: str) -> TextError:
    return TextError(
        f"The word {word[:20]!r}… of {len(word)} letters is too long to be read; write it as several words."
    )


@cache
def _word_segment() -> Callable[[str], list[str]]:
    """Splits compounds by how frequent their parts are; its tables take 0.7 s and 90 MB, so only when a word needs
    it."""
    try:
        import wordsegment
    except ImportError as error:
        raise MissingExtraError(
            "Unknown English words need the package 'wordsegment', which is not installed: pip install 'sovits-rt[en]'."
        ) from error
    wordsegment.load()

    def segment(word: str) -> list[str]:
        try:
            return list(wordsegment.segment(word))
        except RecursionError as error:
            raise _too_long(word) from error

    return segment
