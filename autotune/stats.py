"""Paired ratios: what can be concluded from a few noisy log-ratios.

A log-ratio is log(candidate seconds / control seconds) of one pair that ran side by side: 0 is equal, below is faster.
Everything is numpy and the standard library; randomness is an explicit generator. Knows nothing of processes or knobs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

TRIM = (
    0.2  # the share cut from each end of the sorted values: robust to a fifth of the pairs being hit by something else
)
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval in the unit of its values."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """A trimmed mean of `count` log-ratios with its confidence interval, all in log units."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    @property
    def ratio(self) -> float:
        """Candidate time over control time; 0.8 means that the candidate needs a fifth less time."""
        return math.exp(self.mean)

    @property
    def ratio_low(self) -> float:
        return math.exp(self.low)

    @property
    def ratio_high(self) -> float:
        return math.exp(self.high)


NO_DIFFERENCE = Estimate(mean=0.0, low=0.0, high=0.0, count=0)  # the control against itself, by definition


def trimmed_mean(values: Sequence[float] | NDArray[np.float64], trim: float = TRIM) -> float:
    """Mean of the values [n] without the lowest and highest floor(trim * n); n >= 1, 0 <= trim < 0.5."""
    ordered = _sorted(values)
    cut = int(trim * ordered.size)
    return float(ordered[cut : ordered.size - cut].mean())


def t_interval(values: Sequence[float] | NDArray[np.float64], level: float = 0.95, trim: float = TRIM) -> Interval:
    """Student's interval of a trimmed mean, with the Winsorized variance (Tukey and McLaughlin 1963).

    A single value says nothing about its spread: the interval is then infinite.
    """
    ordered = _sorted(values)
    count, cut = ordered.size, int(trim * ordered.size)
    kept = count - 2 * cut
    centre = trimmed_mean(ordered, trim)
    if kept < 2:
        return Interval(-math.inf, math.inf)
    winsorized = np.clip(ordered, ordered[cut], ordered[count - cut - 1])
    error = float(winsorized.std(ddof=1)) / ((kept / count) * math.sqrt(count))
    reach = student_quantile(0.5 + level / 2, kept - 1) * error
    return Interval(centre - reach, centre + reach)


def bootstrap_interval(
    values: Sequence[float] | NDArray[np.float64],
    generator: np.random.Generator,
    level: float = 0.95,
    trim: float = TRIM,
    resamples: int = RESAMPLES,
) -> Interval:
    """Percentile bootstrap of the trimmed mean (Efron 1979); too narrow below about ten values, see `estimate`."""
    ordered = _sorted(values)
    drawn = np.sort(generator.choice(ordered, size=(resamples, ordered.size)), axis=1)
    cut = int(trim * ordered.size)
    means = drawn[:, cut : ordered.size - cut].mean(axis=1)
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(low), float(high))


def estimate(values: Sequence[float], generator: np.random.Generator, level: float = 0.95) -> Estimate:
    """Trimmed mean of the log-ratios [n], n >= 1, with the hull of the bootstrap and the t interval.

    The hull, because each of the two is too narrow in some case: the bootstrap with few values, the t interval with
    skewed ones. Being too careful costs a few pairs; being too bold ships a slower setting.
    """
    student = t_interval(values, level)
    drawn = bootstrap_interval(values, generator, level)
    return Estimate(
        mean=trimmed_mean(values),
        low=min(student.low, drawn.low),
        high=max(student.high, drawn.high),
        count=len(values),
    )


def signed_rank_p(values: Sequence[float]) -> float:
    """Exact one-sided p-value of Wilcoxon's signed-rank test: how surprising these values are if none is above 0.

    Small means "the candidate is slower". Zeros are left out, ties share their mean rank; no value left gives 1.
    """
    data = np.asarray(values, dtype=np.float64)
    data = data[data != 0.0]
    if data.size == 0:
        return 1.0
    ranks = _doubled_ranks(np.abs(data))
    observed = int(ranks[data > 0].sum())
    probability = np.zeros(int(ranks.sum()) + 1)
    probability[0] = 1.0
    for rank in ranks:  # each sign is a fair coin: the distribution of the positive rank sum, one rank at a time
        shifted = np.zeros_like(probability)
        shifted[rank:] = probability[:-rank]
        probability = 0.5 * (probability + shifted)
    return float(min(1.0, probability[observed:].sum()))


def wilson_lower(successes: int, count: int, level: float = 0.95) -> float:
    """Lower end of Wilson's two-sided interval for a share in [0, 1]; 0 when nothing was counted."""
    if count == 0:
        return 0.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, (centre - spread) / (1 + z * z / count))


def tie_set(estimates: Sequence[Estimate], margins: Sequence[float]) -> tuple[int, ...]:
    """Indices that can't be told from the fastest: within their margin of it, or with overlapping intervals within
    twice that. Further away an overlap only says that one of them varies a lot, and that is no reason to prefer it.

    margins: for each, in log units.
    """
    best = min(estimates, key=lambda each: each.mean, default=NO_DIFFERENCE)
    return tuple(
        index
        for index, (each, margin) in enumerate(zip(estimates, margins, strict=True))
        if each.mean - best.mean <= (2 * margin if each.low <= best.high else margin)
    )


def start_luck(groups: Sequence[Sequence[float]]) -> float:
    """Standard deviation of means around the mean of their own group, the median over groups; 0 if no group has two.

    The median, since settings that vary wildly from start to start must not make all others look alike.
    """
    spreads = [float(np.std(group, ddof=1)) for group in groups if len(group) > 1]
    return float(np.median(spreads)) if spreads else 0.0


def student_cdf(t: float, degrees: int) -> float:
    """Student's distribution function for whole degrees of freedom >= 1 (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    angle = math.atan2(t, math.sqrt(degrees))
    cosine_squared = math.cos(angle) ** 2
    term, total = 1.0, 0.0
    for step in range((degrees - 1) // 2 if degrees % 2 else degrees // 2):
        total += term
        top = 2 * step + 2 if degrees % 2 else 2 * step + 1
        term *= top / (top + 1) * cosine_squared
    if degrees % 2:
        between = 2 / math.pi * (angle + math.sin(angle) * math.cos(angle) * total)
    else:
        between = math.sin(angle) * total
    return 0.5 + between / 2


def student_quantile(probability: float, degrees: int) -> float:
    """Inverse of `student_cdf` for 0.5 <= probability < 1, to about 1e-9."""
    low, high = 0.0, 1.0
    while student_cdf(high, degrees) < probability:
        high *= 2
    while high - low > 1e-9 * max(1.0, high):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def _sorted(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    assert ordered.size > 0, "a mean of nothing was asked for"
    return ordered


def _doubled_ranks(magnitudes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Twice the mean rank of each magnitude, so that shared ranks stay whole numbers."""
    _, inverse, counts = np.unique(magnitudes, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((2 * last - counts + 1)[inverse], dtype=np.int64)
