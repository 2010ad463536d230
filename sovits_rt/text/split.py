"""Cutting a text into the pieces that are spoken one by one. Knows characters only, no phones.

What is computed is upstream's: `TTS_infer_pack/text_segmentation_method.py` for cut0 … cut5 and
`TextPreprocessor.pre_seg_text` for the rest.

What cutting drops: marks of `! ? … , . -` after the first of a run; line breaks; pieces without a letter or digit; with
cut3 every 。 and with cut4 every full stop that is not between digits (a 。 or . comes back at the end of a piece);
…… becomes 。 and —— becomes ， in cut1 and cut2. Letters and digits are never dropped and never change their order.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType

from sovits_rt.errors import TextError

ENDINGS = frozenset("，。？！,.?!~:：—…")
"""A piece that ends in one of these is complete; others get a full stop."""

MIN_PIECE_CHARACTERS = 5
MIN_FIRST_CLAUSE_CHARACTERS = 4
MAX_PIECE_CHARACTERS = 510
"""What the Chinese BERT network takes: 512 positions, two of them its own marks."""

_MARK_RUN = re.compile(r"([!?….,\-])[!?….,\-]+")
_ENDING = re.compile("[" + "".join(sorted(ENDINGS)) + "]")
_BLANK_MARKS = frozenset("!?…,.- ")
_CLAUSE_MARKS = frozenset(",.;?!、，。？！：…")


def collapse_marks(text: str) -> str:
    """Keep the first mark of every run of `! ? … , . -`."""
    return _MARK_RUN.sub(r"\1", text)


def full_stop(language: str) -> str:
    return "." if language == "en" else "。"


def close(text: str, language: str) -> str:
    """The text (not empty), with a full stop if it does not end in a mark."""
    return text if text[-1] in ENDINGS else text + full_stop(language)


def sentences(text: str, language: str, method: str) -> list[str]:
    """The pieces of `text` in order, each at most 510 characters unless it has no mark to cut at.

    Raises TextError for an unknown method and for a text that has nothing to speak.
    """
    if method not in CUTS:
        raise TextError(f"The split method {method!r} is not known; use one of: {', '.join(CUTS)}.")
    written = text
    text = collapse_marks(text).strip("\n")
    if not text:
        raise TextError("The text is empty; write something to speak.")
    if text[0] not in ENDINGS and len(_ENDING.split(text, maxsplit=1)[0].strip()) < MIN_FIRST_CLAUSE_CHARACTERS:
        text = full_stop(language) + text
    lines = [line for line in CUTS[method](text).split("\n") if line not in ("", " ")]
    pieces = [piece for line in _merge_short(lines) if _has_word(line) for piece in _limit(close(line, language))]
    if not pieces:
        raise TextError(f"The text {written[:40]!r} has no letter or digit; write something to speak.")
    return pieces


def _has_word(text: str) -> bool:
    return re.search(r"\w", text) is not None


def _merge_short(lines: list[str]) -> list[str]:
    """Join lines until each has at least five characters; a short rest joins the last one."""
    merged: list[str] = []
    pending = ""
    for line in lines:
        pending += line
        if len(pending) >= MIN_PIECE_CHARACTERS:
            merged.append(pending)
            pending = ""
    if pending and merged:
        merged[-1] += pending
    elif pending:
        merged.append(pending)
    return merged


def _limit(piece: str) -> list[str]:
    """Cut a piece of more than 510 characters at its marks, as late as possible.

    Upstream also yields an empty piece in front of an overlong clause; it has nothing to speak and is dropped.
    """
    if len(piece) <= MAX_PIECE_CHARACTERS:
        return [piece]
    parts: list[str] = []
    current = ""
    for part in re.split(f"({_ENDING.pattern})", piece):
        if len(current) + len(part) > MAX_PIECE_CHARACTERS:
            parts.append(current)
            current = part
        else:
            current += part
    return [part for part in (*parts, current) if part]


def _clauses(text: str) -> list[str]:
    """The text cut after every ending mark, …… and —— written as one mark."""
    text = close(text.replace("……", "。").replace("——", "，"), "zh")
    bounds = [0, *(match.end() for match in _ENDING.finditer(text))]
    return [text[start:end] for start, end in pairwise(bounds)]


def _lines(parts: Iterator[str] | list[str], marks: frozenset[str] = _BLANK_MARKS) -> str:
    return "\n".join(part for part in parts if not marks.issuperset(part))


def _cut_nothing(text: str) -> str:
    return "\n" if _BLANK_MARKS.issuperset(text) else text


def _cut_four_clauses(text: str) -> str:
    """Whole groups of four; what is left over (one to four clauses) joins no group of its own but the last one."""
    text = text.strip("\n")
    clauses = _clauses(text)
    starts = range(0, len(clauses), 4)
    if len(starts) < 2:
        return _lines([text])
    ends = (*starts[1:-1], len(clauses))
    return _lines(["".join(clauses[start:end]) for start, end in zip(starts, ends, strict=False)])


def _cut_fifty_characters(text: str) -> str:
    text = text.strip("\n")
    clauses = _clauses(text)
    if len(clauses) < 2:
        return text
    groups: list[str] = []
    current = ""
    for clause in clauses:
        current += clause
        if len(current) > 50:
            groups.append(current)
            current = ""
    if current:
        groups.append(current)
    if len(groups) > 1 and len(groups[-1]) < 50:
        groups[-2:] = [groups[-2] + groups[-1]]
    return _lines(groups)


def _cut_chinese_stops(text: str) -> str:
    return _lines(text.strip("\n").strip("。").split("。"))


def _cut_english_stops(text: str) -> str:
    return _lines(re.split(r"(?<!\d)\.(?!\d)", text.strip("\n").strip(".")))


def _cut_marks(text: str) -> str:
    text = text.strip("\n")
    parts: list[str] = []
    start = 0
    for index, character in enumerate(text):
        if character in _CLAUSE_MARKS and not _is_decimal_point(text, index):
            parts.append(text[start : index + 1])
            start = index + 1
    return _lines([*parts, text[start:]], _CLAUSE_MARKS)


def _is_decimal_point(text: str, index: int) -> bool:
    return text[index] == "." and text[max(index - 1, 0)].isdigit() and text[index + 1 : index + 2].isdigit()


CUTS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "cut0": _cut_nothing,
        "cut1": _cut_four_clauses,
        "cut2": _cut_fifty_characters,
        "cut3": _cut_chinese_stops,
        "cut4": _cut_english_stops,
        "cut5": _cut_marks,
    }
)
"""Method -> text to lines: not cut, every four clauses, about 50 characters, at 。, at full stops, at every mark."""

SPLITS: tuple[str, ...] = tuple(CUTS)
