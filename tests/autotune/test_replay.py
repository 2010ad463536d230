"""Tunings on a recorded machine: the judge is faithful, and the tuner keeps what it promises.

tables/nearest_centre.jsonl.xz: every setting of docs/tune_anything.py, measured on a real machine; its first line says
which and how. The long run, with more sessions, is `python -m benchmarks.tuner_trust`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autotune import knobs, stats, table, trust
from autotune.duel import Duel, Effort, Rules
from autotune.errors import SearchError
from autotune.measure import Budget, BudgetSpentError, Outcome, StoppedError
from autotune.replay import RecordedSubject, Replay
from autotune.table import Row, Table

PATH = Path(__file__).parent / "tables" / "nearest_centre.jsonl.xz"
ALL_PAIRS = Effort(12, drop=False, settle=0.0)
RULES = Rules()


@pytest.fixture(scope="module")
def recording() -> Table:
    return table.read(PATH)


def fight(judge: Replay, settings: Any, budget: Budget, effort: Effort = ALL_PAIRS) -> Duel:
    return judge.duel(settings, effort, budget, lambda _: None)


def started(recording: Table, seed: int, seconds: float = 1e6, rules: Rules = RULES) -> tuple[Replay, Budget]:
    judge = Replay(recording, rules, seed)
    budget = Budget.of(seconds, clock=judge.clock)
    judge.start(budget)
    return judge, budget


def test_the_table_is_a_whole_grid(recording: Table):
    size = knobs.size(recording.settings_type, recording.machine)
    outcomes = [rows[0].outcome.value for rows in recording.by_key.values()]
    print({each: outcomes.count(each) for each in sorted(set(outcomes))}, recording.header.conditions)
    assert size == len(recording.by_key) >= 600
    assert PATH.stat().st_size < 300_000


def test_duels_agree_with_what_was_recorded(recording: Table):
    """Over many draws the mean is the recorded one, and the spread is not less than the recorded one."""
    key = min(recording.truth, key=lambda each: recording.truth[each])
    settings = recording.settings(recording.by_key[key][0])
    means, spreads = [], []
    for seed in range(100):
        judge, budget = started(recording, seed)
        ratios = fight(judge, settings, budget).log_ratios
        means.append(stats.trimmed_mean(ratios))
        spreads.append(np.std(ratios))
    error = float(np.std(means)) / 10
    recorded_spread = float(np.mean([np.std(row.log_ratios) for row in recording.by_key[key]]))
    print(f"recorded {recording.truth[key]:.4f} ± {recorded_spread:.4f}, replayed {np.mean(means):.4f} ± {error:.4f}")
    assert abs(np.mean(means) - recording.truth[key]) < 4 * error + 0.2 * recorded_spread
    assert np.mean(spreads) > 0.5 * recorded_spread


def test_the_same_seed_gives_the_same_session(recording: Table):
    one, two = (trust.replayed(recording, 3, max_trials=8) for _ in range(2))
    assert one == two
    assert trust.replayed(recording, 4, max_trials=8).samples != one.samples


def test_time_passes_as_it_was_recorded(recording: Table):
    judge, budget = started(recording, 1)
    before = judge.clock()
    duel = fight(judge, recording.default, budget)
    pairs = sum(each.seconds for each in (*duel.control_samples, *duel.candidate.samples))
    assert judge.clock() - before == pytest.approx(duel.candidate.open_seconds + pairs, rel=0.5)
    assert judge.clock() - before > pairs


def test_a_budget_ends_a_replayed_duel_as_it_ends_a_live_one(recording: Table):
    judge, _ = started(recording, 1)
    short = Budget.of(1e-3, clock=judge.clock)
    with pytest.raises(BudgetSpentError):
        fight(judge, recording.default, short)
    assert short.left() == pytest.approx(0.0)
    with pytest.raises(StoppedError):
        fight(judge, recording.default, Budget.of(1e6, lambda: True, judge.clock))


def test_a_short_budget_means_fewer_trials(recording: Table):
    long = trust.replayed(recording, 1, max_trials=40)
    short = trust.replayed(recording, 1, max_trials=40, budget_seconds=long.seconds / 3)
    print(f"{long.trials} trials in {long.seconds:.0f} s, {short.trials} in {short.seconds:.0f} s of simulated time")
    assert short.trials < long.trials
    assert short.seconds <= long.seconds / 3 + 1e-6


def test_failures_come_with_outcome_and_reason(recording: Table):
    """A recorded failure is replayed as it was; the rest of a made-up table is the recorded one."""
    broken = next(row for row in recording.rows if row.settings)
    failed = replace(broken, outcome=Outcome.CRASHED, reason="it broke", log_ratios=(), control_seconds=())
    rejected = Row(broken.settings, 0, Outcome.REJECTED, "ruled out")
    key = knobs.key(recording.settings(broken))
    others = tuple(row for row in recording.rows if knobs.key(recording.settings(row)) != key)
    changed = Table(recording.header, recording.controls, (*others, failed))
    judge, budget = started(changed, 1)
    duel = fight(judge, changed.settings(failed), budget)
    assert (duel.candidate.outcome, duel.candidate.reason, duel.estimate) == (Outcome.CRASHED, "it broke", None)
    assert key not in changed.truth
    refused = RecordedSubject(Table(recording.header, recording.controls, (*others, rejected)))
    assert refused.reject(changed.settings(failed), recording.machine) == "ruled out"
    missing = RecordedSubject(Table(recording.header, recording.controls, others))
    assert "not among the recorded" in str(missing.reject(changed.settings(failed), recording.machine))


def test_disturbed_pairs_are_taken_again(recording: Table):
    row = next(row for row in recording.rows if row.outcome is Outcome.OK and row.settings)
    marked = replace(row, disturbed=tuple(range(len(row.log_ratios))))
    others = tuple(each for each in recording.rows if each.settings != row.settings)
    changed = Table(recording.header, recording.controls, (*others, marked))
    judge, budget = started(changed, 1)
    samples = fight(judge, changed.settings(row), budget).control_samples
    assert sum(not each.used for each in samples) == RULES.disturbed_repeats


def test_a_table_without_defaults_is_refused(recording: Table):
    without = Table(recording.header, recording.controls, tuple(row for row in recording.rows if row.settings))
    with pytest.raises(SearchError, match="says nothing of the default"):
        Replay(without, RULES, 0)


@pytest.mark.xfail(strict=True, reason="one search in eighteen ends 23 % behind: 3.5 % mean here, 2.4 % over 70 seeds")
def test_regret_is_small(recording: Table):
    sessions = [trust.session(recording, seed, sampler_seed=seed) for seed in range(20)]
    found = trust.regret_of(recording, sessions)
    print(found)
    assert found.tried <= 40
    assert found.mean <= 0.03
    assert found.p90 <= 0.05


def test_tuning_again_says_the_same(recording: Table):
    found = trust.agreement_of(recording, [trust.session(recording, seed) for seed in range(5)])
    print(found)
    assert found.close >= 4
    assert found.identical >= 3


def test_nothing_is_promoted_when_the_default_is_best(recording: Table):
    assert trust.false_promotions(recording, range(8)) == []


@pytest.mark.full
@pytest.mark.xfail(strict=True, reason="one search in eighteen ends 23 % behind: 3.5 % mean here, 2.4 % over 70 seeds")
def test_the_promises_hold_over_many_sessions(recording: Table):
    regret = trust.regret_of(recording, [trust.session(recording, seed, sampler_seed=seed) for seed in range(20)])
    again = trust.agreement_of(recording, [trust.session(recording, seed) for seed in range(1000, 1010)])
    false = trust.false_promotions(recording, range(100))
    print(regret, again, f"{len(false)} false promotions of 100")
    assert (regret.mean <= 0.03, regret.p90 <= 0.05) == (True, True)
    assert (again.close >= 9, again.identical >= 7) == (True, True)
    assert len(false) <= 1
