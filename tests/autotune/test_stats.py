import math

import numpy as np
import pytest

from autotune import stats
from autotune.stats import Estimate


def noise(generator: np.random.Generator, count: int) -> list[float]:
    """Log-ratios of equal settings on a shared machine: 1 % spread, every tenth pair hit by something else."""
    values = generator.normal(0.0, 0.01, count)
    hit = generator.random(count) < 0.1
    return list(values + hit * generator.normal(0.0, 0.2, count))


def test_student_quantiles_are_those_of_the_tables():
    table = {(0.975, 1): 12.7062, (0.975, 2): 4.30265, (0.975, 9): 2.26216, (0.95, 5): 2.01505, (0.995, 30): 2.74999}
    for (probability, degrees), expected in table.items():
        assert stats.student_quantile(probability, degrees) == pytest.approx(expected, abs=1e-5)
        assert stats.student_cdf(stats.student_quantile(probability, degrees), degrees) == pytest.approx(probability)


def test_trimmed_mean_ignores_a_fifth_at_each_end():
    assert stats.trimmed_mean([1.0, 2.0, 3.0, 4.0, 1000.0]) == 3.0
    assert stats.trimmed_mean([5.0]) == 5.0


def test_signed_rank_is_exact():
    assert stats.signed_rank_p([0.1] * 7) == 1 / 128  # all above zero: one of 2^7 sign patterns
    assert stats.signed_rank_p([1, -2, 3, 4, 5]) == 3 / 32  # negative rank sum 2: {}, {1}, {2}
    assert stats.signed_rank_p([-1, -2, -3]) == 1.0
    assert stats.signed_rank_p([]) == 1.0
    assert stats.signed_rank_p([0.0, 0.0]) == 1.0


def test_signed_rank_agrees_with_counting_all_sign_patterns():
    values = [0.3, -0.1, 0.2, 0.2, -0.5, 0.7, 0.2, -0.3]
    ranks = [4.5 + 1, 1, 3, 3, 7, 8, 3, 5.5]
    observed = sum(rank for rank, value in zip(ranks, values, strict=True) if value > 0)
    sums = [sum(rank for bit, rank in enumerate(ranks) if pattern >> bit & 1) for pattern in range(1 << 8)]
    assert stats.signed_rank_p(values) == sum(total >= observed for total in sums) / 256


def test_early_drop_rarely_hits_an_equal_setting():
    generator = np.random.default_rng(1)
    dropped = sum(stats.signed_rank_p(noise(generator, 8)) <= 0.01 for _ in range(2000))
    print(f"dropped {dropped} of 2000 equal settings at alpha 0.01")
    assert dropped <= 30


def test_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(2)
    for count in (7, 12, 24):
        found = [stats.estimate(noise(generator, count), generator) for _ in range(300)]
        covered = sum(each.low <= 0.0 <= each.high for each in found)
        width = float(np.median([each.half_width for each in found]))
        print(f"{count} pairs: truth inside {covered} of 300 intervals, half-width {width:.4f}")
        assert covered >= 0.93 * 300
        assert width < 0.02


def test_interval_of_one_value_says_nothing():
    interval = stats.t_interval([0.5])
    assert (interval.low, interval.high) == (-math.inf, math.inf)


def test_estimate_is_reproducible():
    values = noise(np.random.default_rng(3), 12)
    assert stats.estimate(values, np.random.default_rng(7)) == stats.estimate(values, np.random.default_rng(7))


def test_wilson_lower():
    assert stats.wilson_lower(8, 10) == pytest.approx(0.4902, abs=1e-4)
    assert stats.wilson_lower(0, 0) == 0.0
    assert 0.998 < stats.wilson_lower(2000, 2000) < 1.0


def test_tie_set_holds_what_overlaps_or_is_near():
    fastest = Estimate(-0.30, -0.31, -0.29, 12)
    near = Estimate(-0.285, -0.286, -0.284, 12)  # does not overlap, 1.5 % slower
    wide = Estimate(-0.265, -0.30, -0.23, 12)
    wild = Estimate(-0.20, -0.40, 0.0, 12)  # overlaps with everything, since it varies so much
    slow = Estimate(-0.10, -0.11, -0.09, 12)
    assert stats.tie_set([slow, near, fastest, wide, wild], [0.02] * 5) == (1, 2, 3)
    assert stats.tie_set([slow, near, fastest, wide, wild], [0.02, 0.01, 0.02, 0.02, 0.06]) == (2, 3, 4)
    assert stats.tie_set([], []) == ()


def test_luck_of_starts_is_that_of_most_settings():
    steady, wild = [-0.31, -0.29, -0.30], [-0.9, -0.2]
    assert stats.start_luck([steady, steady, wild]) == pytest.approx(0.01)
    assert stats.start_luck([[-0.3], []]) == 0.0
