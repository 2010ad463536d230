"""Word errors: of one sentence, of a list with its confidence interval, and of two systems on the same list.

Intervals are percentile bootstraps over sentences (Bisani and Ney 2004, "Bootstrap estimates for confidence intervals
in ASR performance evaluation"): errors in one sentence are not independent of each other, sentences are.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from autotune.stats import RESAMPLES
from sovits_rt.evaluation.recogniser import require_extra

LEVEL = 0.95
_SEED = 20
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")


@dataclass(frozen=True, slots=True)
class Errors:
    """Of one sentence with `words` words."""

    words: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def count(self) -> int:
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True, slots=True)
class Rate:
    """A share, or a difference of shares, with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def percent(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


def words_of(text: str) -> list[str]:
    """What counts as the words of a text: letters and inner apostrophes, lower case; a hyphen parts words.

    Numbers must be written out: what is not a letter is dropped.
    """
    return _WORD.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def errors(said: Sequence[str], heard: Sequence[str]) -> Errors:
    """The fewest substitutions, deletions and insertions that turn the words said, at least one, into those heard.

    Raises MissingExtraError without jiwer.
    """
    require_extra()
    import jiwer

    found = jiwer.process_words(" ".join(said), " ".join(heard))
    return Errors(len(said), found.substitutions, found.deletions, found.insertions)


def word_error_rate(each: Sequence[Errors]) -> Rate:
    """All errors over all words of a list of sentences; above 1 if more was heard than said."""
    return share([one.count for one in each], [one.words for one in each])


def difference(each: Sequence[Errors], other: Sequence[Errors]) -> Rate:
    """Word error rate minus that of another system on the same sentences, in the same order."""
    assert [one.words for one in each] == [one.words for one in other], "paired means the same sentences"
    counts = [mine.count - its.count for mine, its in zip(each, other, strict=True)]
    return share(counts, [one.words for one in each])


def share(counts: ArrayLike, totals: ArrayLike) -> Rate:
    """sum(counts) / sum(totals) of [sentences] each, with its interval: always the same for the same numbers."""
    tops, bottoms = np.asarray(counts, np.float64), np.asarray(totals, np.float64)
    drawn = np.random.default_rng(_SEED).integers(0, len(tops), (RESAMPLES, len(tops)))
    shares = tops[drawn].sum(axis=1) / bottoms[drawn].sum(axis=1)
    low, high = np.quantile(shares, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return Rate(float(tops.sum() / bottoms.sum()), float(low), float(high))
