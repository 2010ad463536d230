"""The finals on a simulated machine: who wins, and how often something equal is promoted."""

from dataclasses import dataclass, field

import numpy as np

from autotune.decision import Finalist
from autotune.duel import Control, Duel, Effort, OnPair, Rules, resolution
from autotune.finals import decide, race
from autotune.measure import Budget, BudgetSpentError, Measurement, Outcome
from autotune.stats import Estimate, estimate

RULES = Rules()
BUDGET = Budget.of(600.0)


@dataclass
class Simulated:
    """A machine with known log-ratios: each start has its own luck (0.5 %), each pair 2 % noise, some are hit hard."""

    truth: dict[str, float]
    generator: np.random.Generator
    budget_of_duels: int = 1000
    broken: str = ""
    started: list[str] = field(default_factory=list)
    control_luck: float = 0.0

    def start(self, budget: Budget) -> Control:
        self.renew(budget)
        return Control(1.0, (1.0,), (1,), 1)

    def null(self, budget: Budget) -> Estimate:
        return estimate(self._pairs(0.0, RULES.null.pairs), self.generator)

    def renew(self, budget: Budget) -> None:
        self.control_luck = float(self.generator.normal(0.0, 0.005))

    def duel(self, settings: str, effort: Effort, budget: Budget, on_pair: OnPair) -> Duel:
        if len(self.started) >= self.budget_of_duels:
            raise BudgetSpentError
        self.started.append(settings)
        outcome = Outcome.CRASHED if settings == self.broken else Outcome.OK
        seen = Measurement(outcome, "broke" if settings == self.broken else "", (), (), 1.0, 1)
        if outcome is not Outcome.OK:
            return Duel(seen, (), (), None)
        ratios = self._pairs(self.truth[settings], effort.pairs)
        return Duel(seen, (), tuple(ratios), estimate(ratios, self.generator))

    def _pairs(self, truth: float, count: int) -> list[float]:
        noise = self.generator.normal(0.0, 0.02, count)
        hit = (self.generator.random(count) < 0.1) * self.generator.normal(0.0, 0.2, count)
        start = truth + self.generator.normal(0.0, 0.005) - self.control_luck
        return [float(value) for value in start + noise + hit]


def cost(settings: str) -> tuple[float, ...]:
    return (float(len(settings)),)


def final(truth: dict[str, float], seed: int, **limits: int | str) -> tuple[str, tuple[Finalist, ...], Simulated]:
    machine = Simulated(truth, np.random.default_rng(seed), **limits)  # type: ignore[arg-type]
    machine.start(BUDGET)
    shown = resolution(machine.null(BUDGET))
    raced = race(machine, list(truth), RULES, BUDGET, machine.generator, lambda _: None)
    verdict = decide(raced, RULES, shown, cost)
    return ("" if verdict.winner is None else verdict.winner.settings), raced, machine


def test_equal_settings_are_promoted_at_most_once_in_a_hundred():
    runs = 100  # with five candidates each
    promoted = sum(
        bool(final({"a": 0.0, "bb": 0.0, "ccc": 0.0, "dddd": 0.0, "eeeee": 0.0}, seed)[0]) for seed in range(runs)
    )
    print(f"{promoted} of {runs} sessions promoted a setting that is equal to the default")
    assert promoted <= runs // 100


def test_a_clearly_faster_setting_wins():
    wins = [final({"slow": -0.05, "fastest": -0.30, "even": 0.0}, seed)[0] for seed in range(30)]
    print(f"{wins.count('fastest')} of 30 sessions chose the fastest")
    assert wins.count("fastest") == 30


def test_among_equally_fast_ones_the_cheaper_is_preferred():
    wins = [final({"expensive": -0.302, "cheap": -0.300}, seed)[0] for seed in range(30)]
    print(f"{wins.count('cheap')} of 30 sessions chose the cheaper one")
    assert wins.count("cheap") >= 28


def test_a_gain_below_the_margin_is_refused_with_the_numbers():
    raced = (Finalist("a", (), Estimate(-0.03, -0.06, -0.015, 24), 2),)
    verdict = decide(raced, RULES, 0.005, cost)
    assert verdict.winner is None
    assert (
        verdict.reason
        == "the best candidate takes 0.970 of the default's time (0.942 to 0.985), not surely below 0.980"
    )


def test_a_gain_below_the_resolution_is_refused():
    raced = (Finalist("a", (), Estimate(-0.10, -0.12, -0.08, 24), 2),)
    assert decide(raced, RULES, 0.10, cost).winner is None
    assert decide(raced, RULES, 0.05, cost).winner == raced[0]


def test_settled_finalists_cost_no_more_starts():
    _, raced, machine = final({"fast": -0.30, "even": 0.0}, 1)
    assert machine.started.count("fast") >= 2
    assert machine.started.count("even") == 1
    assert [each.rounds for each in raced] == [machine.started.count("fast"), 1]


def test_a_finalist_that_breaks_is_out():
    winner, raced, machine = final({"fast": -0.30, "good": -0.20}, 2, broken="fast")
    assert winner == "good"
    assert raced[0].failure == "crashed: broke"
    assert machine.started.count("fast") == 1


def test_a_spent_budget_decides_with_what_there_is():
    winner, raced, _ = final({"fast": -0.30, "good": -0.20}, 3, budget_of_duels=1)
    assert winner == "fast"
    assert [each.rounds for each in raced] == [1, 0]
    winner, raced, _ = final({"fast": -0.30}, 3, budget_of_duels=0)
    assert winner == ""
    assert decide(raced, RULES, 0.0, cost).reason.startswith("no candidate")
