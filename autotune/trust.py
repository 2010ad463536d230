"""How far the tuner can be trusted: sessions replayed on a recorded table, where the truth is known.

Regret (how far from the exhaustive best), reproducibility (does a second tuning say the same), false promotion (is
something shipped although the defaults are best). Knows tables and decisions; live machines are tested elsewhere.
"""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autotune import knobs
from autotune.decision import Decision, Silent
from autotune.duel import Rules
from autotune.measure import Budget
from autotune.replay import RecordedSubject, Replay
from autotune.table import Table
from autotune.tuner import tune_with

ENDLESS_SECONDS = 1e9  # where only the number of trials is to count
SAME = 0.02  # times that differ by less are called equal


@dataclass(frozen=True, slots=True)
class Session:
    """One replayed tuning. regret: how much longer than the recorded best its settings take, 0.03 for 3 %; seconds: of
    the simulated clock."""

    seed: int
    key: str
    status: str
    regret: float
    trials: int
    seconds: float


def best(table: Table) -> Any:
    """The settings that take least time in the recording."""
    fastest = min(table.truth, key=lambda key: table.truth[key])
    return table.settings(table.by_key[fastest][0])


def replayed(
    table: Table,
    seed: int,
    *,
    max_trials: int = 40,
    budget_seconds: float = ENDLESS_SECONDS,
    rules: Rules | None = None,
    default: Any = None,
    sampler_seed: int = 0,
) -> Decision:
    """One tuning with today's search and rules on a recorded machine.

    seed: of what the machine does. sampler_seed: of the search; a user's is always the same. default: what is compared
    with, if not the recorded defaults.
    """
    chosen = rules or Rules()
    judge = Replay(table, chosen, seed, default)
    return tune_with(
        judge,
        RecordedSubject(table, default),
        table.machine,
        budget=Budget.of(budget_seconds, clock=judge.clock),
        max_trials=max_trials,
        seeds=(),
        listener=Silent(),
        seed=sampler_seed,
        rules=chosen,
    )


def session(table: Table, seed: int, **options: Any) -> Session:
    """`replayed`, and what the table knows of its decision."""
    decision = replayed(table, seed, **options)
    key = knobs.key(decision.settings)
    regret = math.expm1(table.truth[key] - min(table.truth.values()))
    return Session(seed, key, decision.status, regret, decision.trials, decision.seconds)


@dataclass(frozen=True, slots=True)
class Regret:
    """mean, p90, worst: of `count` sessions. tried: their largest number of trials; settings: how many there are."""

    mean: float
    p90: float
    worst: float
    count: int
    tried: int
    settings: int


def regret_of(table: Table, sessions: Sequence[Session]) -> Regret:
    values = np.array([each.regret for each in sessions])
    return Regret(
        mean=float(values.mean()),
        p90=float(np.quantile(values, 0.9)),
        worst=float(values.max()),
        count=len(sessions),
        tried=max(each.trials for each in sessions),
        settings=len(table.by_key),
    )


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of `count` tunings of one machine. identical: how many chose the most frequent settings; close: how many lie
    within 2 % of the median; widest: the largest difference between any two."""

    identical: int
    close: int
    widest: float
    count: int


def agreement_of(table: Table, sessions: Sequence[Session]) -> Agreement:
    times = np.array([table.truth[each.key] for each in sessions])
    (_, identical), *_ = Counter(each.key for each in sessions).most_common(1)
    pairs = itertools.combinations(times, 2)
    return Agreement(
        identical=identical,
        close=int(np.sum(np.abs(times - np.median(times)) <= math.log1p(SAME))),
        widest=math.expm1(max((abs(a - b) for a, b in pairs), default=0.0)),
        count=len(sessions),
    )


def false_promotions(table: Table, seeds: Sequence[int], **options: Any) -> list[Session]:
    """Sessions whose control is the recorded best, so that nothing can be faster, and that shipped something else."""
    control = best(table)
    runs = (session(table, seed, default=control, **options) for seed in seeds)
    return [each for each in runs if each.status == "verified" and each.key != knobs.key(control)]
