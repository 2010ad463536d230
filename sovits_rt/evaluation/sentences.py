"""What is spoken to be judged: lists of English sentences, and strings of digits."""

from pathlib import Path

import numpy as np

from sovits_rt.errors import TextError
from sovits_rt.evaluation.recogniser import DIGITS
from sovits_rt.evaluation.words import words_of

JUDGED = 120  # of the list that comes with sovits-rt; the lines after them are kept for tuning
SHORTEST, LONGEST = 3, 8  # digits in a string
_LIST = Path(__file__).resolve().parent.parent / "data" / "evaluation" / "sentences.txt"
_DIGITS_SEED = 11


def own_sentences(count: int = JUDGED) -> list[str]:
    """The first of those that come with sovits-rt. Raises TextError for more than there are."""
    return sentences_in(_LIST.read_text(encoding="utf-8"), "sovits-rt's list", count)


def held_out(count: int) -> list[str]:
    """Sentences that come with sovits-rt and are not among the JUDGED ones."""
    return own_sentences(JUDGED + count)[JUDGED:]


def sentences_in(text: str, place: str, count: int | None = None) -> list[str]:
    """The lines of a text that are not empty; the first `count` of them. place: for messages.

    Raises TextError for a list that has none or too few, or a line that can't be compared with what is heard.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise TextError(f"{place} has no sentences; write one per line.")
    if count is not None and count > len(lines):
        raise TextError(f"{place} has {len(lines)} sentences, but {count} were asked for; ask for fewer.")
    lines = lines[:count]
    for number, line in enumerate(lines, start=1):
        if any(sign.isdigit() for sign in line):
            raise TextError(f"Sentence {number} of {place} has digits ({line[:40]!r}); write numbers as words.")
        if not words_of(line):
            raise TextError(
                f"Sentence {number} of {place} has no English word ({line[:40]!r}); only English is judged."
            )
    return lines


def digit_strings(count: int) -> list[str]:
    """Strings of spoken digits, SHORTEST to LONGEST of them, always the same; more of them begin with the same."""
    generator = np.random.default_rng(_DIGITS_SEED)
    drawn = (generator.choice(DIGITS, generator.integers(SHORTEST, LONGEST + 1)) for _ in range(count))
    return [f"{' '.join(words).capitalize()}." for words in drawn]
