"""Pauses and pronunciations written into a text.

    [pause:0.8s]  [pause:500ms]      the sentence ends here, followed by that much silence
    [重庆](/chong2 qing4/)           one pinyin syllable with tone per character
    [word](/W ER1 D/)                ARPAbet phones of one English word

Brackets that are neither are text like any other.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sovits_rt.errors import TextError

MAX_PAUSE_SECONDS = 60.0

_PAUSE = re.compile(r"\[pause:([^\[\]]*)\]")
_DURATION = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s)\s*")
_PRONUNCIATION = re.compile(r"\[([^\[\]]*)\]\(/([^()/]*)/\)")
_UNFINISHED = re.compile(r"\[pause:|\]\(/")
_CHINESE = re.compile(r"[\u4e00-\u9fff]+")
ENGLISH_WORD = re.compile(r"[A-Za-z0-9]+(?:['-][A-Za-z0-9]+)*")

WORD_START = r"(?<![A-Za-z0-9])(?<![A-Za-z0-9]['-])"
WORD_END = r"(?!['-]?[A-Za-z0-9])"
"""Patterns for the ends of an English word: "John's" and "read-only" are one word each."""

_WHOLE = re.compile(WORD_START + ENGLISH_WORD.pattern + WORD_END)


@dataclass(frozen=True, slots=True)
class Mark:
    """text[start:end] is to be spoken as `sounds`: one per Chinese character, or a single one for an English word."""

    start: int
    end: int
    sounds: tuple[str, ...]

    def moved(self, by: int) -> "Mark":
        return Mark(self.start + by, self.end + by, self.sounds)


@dataclass(frozen=True, slots=True)
class Passage:
    """Text up to a pause or the end, markup taken out. `pause_seconds` is None at the end of the whole text."""

    text: str
    marks: tuple[Mark, ...]
    pause_seconds: float | None


def passages(text: str) -> Iterator[Passage]:
    """The text cut at its pauses. Raises TextError for markup that is not well-formed."""
    start = 0
    for pause in _PAUSE.finditer(text):
        yield _passage(text[start : pause.start()], _seconds(pause))
        start = pause.end()
    yield _passage(text[start:], None)


def sounds(word: str, pronunciation: str) -> tuple[str, ...]:
    """The pronunciation in the form of `Mark.sounds`. Raises TextError if it does not fit the word."""
    syllables = pronunciation.split()
    if not syllables:
        raise TextError(f"The pronunciation of {word!r} is empty; write it like [字](/zi4/) or [word](/W ER1 D/).")
    if ENGLISH_WORD.fullmatch(word):
        return (" ".join(syllables),)
    if not _CHINESE.fullmatch(word):
        raise TextError(f"{word!r} can't carry a pronunciation; mark Chinese characters or one English word.")
    if len(syllables) != len(word):
        raise TextError(
            f"{word!r} has {len(word)} characters but {pronunciation!r} has {len(syllables)} syllables; "
            "write one per character, like zhang3."
        )
    return tuple(syllables)


def is_english(word: str) -> bool:
    """Whether a word that passed `sounds` is an English one."""
    return word.isascii()


def follow(marks: Sequence[Mark], source: str, target: str) -> list[Mark]:
    """The marks of `source`, moved to where their words are in `target`, after cutting and cleaning.

    Cutting and cleaning drop characters and add marks; letters and digits keep their order. Raises TextError for a mark
    whose word was taken apart.
    """
    remaining = _word_characters(source)
    moved_to: dict[int, int] = {}
    for index in _word_characters(target):
        origin = next((origin for origin in remaining if source[origin] == target[index]), None)
        if origin is not None:
            moved_to[origin] = index
    followed: list[Mark] = []
    for mark in marks:
        word = source[mark.start : mark.end]
        start = moved_to.get(mark.start, len(target))
        if target[start : start + len(word)] != word:
            raise TextError(f"The pronunciation of {word!r} has lost its place in {source[:40]!r}; leave it out there.")
        followed.append(mark.moved(start - mark.start))
    return followed


def share(marks: Sequence[Mark], texts: Sequence[str]) -> list[list[Mark]]:
    """Per text its own marks, counted from its start; `marks` count in the joined texts.

    Raises TextError for a mark that reaches over the end of a text.
    """
    shared: list[list[Mark]] = []
    start = 0
    for text in texts:
        end = start + len(text)
        own = [mark.moved(-start) for mark in marks if start <= mark.start < end]
        if own and own[-1].end > len(text):
            raise TextError(
                f"A word with a pronunciation is cut apart at the end of {text[-40:]!r}; leave it out there."
            )
        shared.append(own)
        start = end
    return shared


def _word_characters(text: str) -> Iterator[int]:
    return (match.start() for match in re.finditer(r"\w", text))


def _passage(text: str, pause_seconds: float | None) -> Passage:
    plain: list[str] = []
    marks: list[Mark] = []
    end = length = 0
    for match in _PRONUNCIATION.finditer(text):
        word = match.group(1)
        before = _checked(text[end : match.start()])
        end = match.end()
        length += len(before)
        marks.append(Mark(length, length + len(word), sounds(word, match.group(2))))
        plain += [before, word]
        length += len(word)
    passage = Passage("".join([*plain, _checked(text[end:])]), tuple(marks), pause_seconds)
    _check_whole(passage.text, marks)
    return passage


def _checked(text: str) -> str:
    if unfinished := _UNFINISHED.search(text):
        piece = text[max(unfinished.start() - 10, 0) : unfinished.end() + 10]
        raise TextError(
            f"The markup near {piece!r} is not complete; write [pause:0.8s] or [字](/zi4/) or [word](/W ER1 D/)."
        )
    return text


def _check_whole(text: str, marks: Sequence[Mark]) -> None:
    for mark in marks:
        word = text[mark.start : mark.end]
        whole = _WHOLE.match(text, mark.start)
        if is_english(word) and (whole is None or whole.end() != mark.end):
            raise TextError(f"{word!r} is marked inside a longer word; mark the whole word.")


def _seconds(pause: re.Match[str]) -> float:
    duration = _DURATION.fullmatch(pause.group(1))
    if duration is None:
        raise TextError(f"{pause.group()!r} is not a pause; write it like [pause:0.8s] or [pause:500ms].")
    seconds = float(duration.group(1)) / (1000.0 if duration.group(2) == "ms" else 1.0)
    if seconds > MAX_PAUSE_SECONDS:
        raise TextError(f"{pause.group()!r} is longer than {MAX_PAUSE_SECONDS:g} s; use a shorter pause.")
    return seconds
