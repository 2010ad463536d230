"""What a duel is, how its pairs are taken, when it is over, and who may judge one. Pure: no process is started here.

The judge is a protocol, so a table recorded on another machine can stand in for live processes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from autotune import stats
from autotune.errors import TrialError
from autotune.measure import Budget, BudgetSpentError, Guard, Measurement, Outcome, Sample
from autotune.stats import Estimate

OnPair = Callable[[Sequence[float]], None]
TakePair = Callable[[int], tuple[Sample, Sample]]
OnBlocks = Callable[[Sample, Sample], None]
NULL_SHARE = 0.1  # of the time left: the null is repeated only while it is cheap


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a duel goes on.

    pairs: at most so many. drop: stop as soon as the candidate is surely slower. settle: stop when the half-width of
    the interval is below this, in log units; 0 uses all pairs.
    """

    pairs: int
    drop: bool
    settle: float


@dataclass(frozen=True, slots=True)
class Rules:
    """Every number of the procedure, with the reason where it is not plain."""

    explore: Effort = Effort(pairs=12, drop=True, settle=0.02)
    # pairs=0: no time for it, `promote_margin` stands in for what it would have shown and must be the larger
    null: Effort = Effort(pairs=12, drop=False, settle=0.0)
    null_rounds: int = 3  # more starts while the machine can't show the margin
    final: Effort = Effort(pairs=12, drop=False, settle=0.0)
    # each with fresh processes: memory layout and page placement differ from start to start. 0: no time for finals, the
    # duels of the search decide, each of them with a fresh process and a live control too
    final_rounds: int = 6
    finalists: int = 5
    least_pairs: int = 6
    drop_alpha: float = 0.01
    hopeless_ratio: float = 1.5  # slower by this much in each of the first pairs: no test needed
    hopeless_pairs: int = 3
    promote_margin: float = 0.02  # a smaller gain is not worth leaving the defaults
    tie_margin: float = 0.02
    start_luck: float = 0.1  # log units that one start may be off by: memory lies elsewhere each time. Seen: 0.05, 0.1
    final_half_width: float = 0.01
    block_seconds: float = 0.05  # short units are run several times per block: the clock and the hand-over cost
    steady: float = 0.1  # two passes that differ by less (in log units) end the warm-up
    warm_passes: int = 6
    disturbed_repeats: int = 4  # per duel
    open_floor_seconds: float = 60.0
    open_factor: float = 8.0
    warm_floor_seconds: float = 120.0  # a first pass may compile
    run_floor_seconds: float = 20.0  # a busy machine may stop a millisecond of work for seconds
    run_factor: float = 10.0
    memory_limit_bytes: int = 0  # peak resident memory that settings may need; 0: what there is
    guard: Guard = field(default_factory=Guard)

    def too_much_memory(self, peak_bytes: int) -> str:
        """Why settings that held so much can't be used; empty if they can."""
        if not self.memory_limit_bytes or peak_bytes <= self.memory_limit_bytes:
            return ""
        return f"held {peak_bytes / 2**20:.0f} MiB at its peak, {self.memory_limit_bytes / 2**20:.0f} MiB are allowed"


@dataclass(frozen=True, slots=True)
class Control:
    """The default settings as measured now. unit_seconds: one warm pass of each unit. passes: runs per block."""

    open_seconds: float
    unit_seconds: tuple[float, ...]
    passes: tuple[int, ...]
    peak_memory_bytes: int

    @property
    def units(self) -> int:
        return len(self.unit_seconds)

    @property
    def pair_seconds(self) -> float:
        """What one pair takes if both sides are equally fast, over all units."""
        return 2 * sum(s * p for s, p in zip(self.unit_seconds, self.passes, strict=True)) / self.units


@dataclass(frozen=True, slots=True)
class Duel:
    """One candidate against the control. estimate: None if no pair was completed."""

    candidate: Measurement
    control_samples: tuple[Sample, ...]
    log_ratios: tuple[float, ...]
    estimate: Estimate | None


class Judge(Protocol):
    """Who can say how settings compare with the defaults."""

    def start(self, budget: Budget) -> Control:
        """Measure the defaults. Raises TrialError if they do not run or leave no room for a candidate."""
        ...

    def null(self, budget: Budget) -> Estimate:
        """The defaults against themselves. Raises TrialError if they fail their own gates."""
        ...

    def renew(self, budget: Budget) -> None:
        """Start a fresh control, so that the luck of one start does not count for all."""
        ...

    def duel(self, settings: Any, effort: Effort, budget: Budget, on_pair: OnPair) -> Duel:
        """Raises BudgetSpentError or StoppedError before the first few pairs are done."""
        ...


def resolution(null: Estimate) -> float:
    """The smallest relative difference that this machine can show now, from the defaults against themselves."""
    return math.expm1(max(abs(null.low), abs(null.high)))


def surely_slower(log_ratios: Sequence[float], rules: Rules) -> str:
    """Why a candidate is not worth another pair; empty if it is."""
    count = len(log_ratios)
    if count >= rules.hopeless_pairs and min(log_ratios) > math.log(rules.hopeless_ratio):
        return f"slower by more than {rules.hopeless_ratio - 1:.0%} in each of {count} pairs"
    if count < rules.least_pairs:
        return ""
    p = stats.signed_rank_p(log_ratios)
    return f"slower, signed-rank p = {p:.4f} after {count} pairs" if p <= rules.drop_alpha else ""


def settled(log_ratios: Sequence[float], effort: Effort, rules: Rules, generator: np.random.Generator) -> bool:
    if effort.settle <= 0 or len(log_ratios) < rules.least_pairs:
        return False
    return stats.estimate(log_ratios, generator).half_width < effort.settle


@dataclass(frozen=True, slots=True)
class Pairs:
    """What a row of pairs showed: OK, or PRUNED with the reason, and the log-ratios that count."""

    outcome: Outcome
    reason: str
    log_ratios: tuple[float, ...]


def take_pairs(
    take: TakePair, keep: OnBlocks, effort: Effort, rules: Rules, generator: np.random.Generator, on_pair: OnPair
) -> Pairs:
    """Pairs until the effort is used up, all is clear, or the time is over.

    take: one block of each side, (control, candidate); gets how many pairs count so far and may raise BudgetSpentError,
    which comes through before the least number of pairs is there. A disturbed pair is taken again a few times.
    keep: gets every block, with `used` as it was decided.
    """
    ratios: list[float] = []
    outcome, reason, repeats = Outcome.OK, "", 0
    while len(ratios) < effort.pairs and not settled(ratios, effort, rules, generator):
        try:
            control, candidate = take(len(ratios))
        except BudgetSpentError:
            if len(ratios) < rules.least_pairs:
                raise
            break
        disturbed = bool(control.note or candidate.note)
        accepted = not disturbed or repeats >= rules.disturbed_repeats
        repeats += disturbed
        keep(replace(control, used=accepted), replace(candidate, used=accepted))
        if not accepted:
            continue
        ratios.append(math.log(candidate.seconds / control.seconds))
        on_pair(ratios)
        if effort.drop and (reason := surely_slower(ratios, rules)):
            outcome = Outcome.PRUNED
            break
    return Pairs(outcome, reason, tuple(ratios))


def against_itself(
    judge: Judge, default: Any, rules: Rules, budget: Budget, generator: np.random.Generator
) -> Estimate:
    """Duels of the defaults with themselves, more of them while the machine can't show the margin and it is cheap.

    Raises TrialError if they fail their own gates, and what `Judge.duel` does.
    """
    ratios: list[float] = []
    for _ in range(rules.null_rounds):
        start = budget.clock()
        result = judge.duel(default, rules.null, budget, lambda _: None)
        if result.candidate.outcome is not Outcome.OK:
            raise TrialError(
                f"The default settings failed against themselves ({result.candidate.outcome.value}): "
                f"{result.candidate.reason}."
            )
        ratios.extend(result.log_ratios)
        found = stats.estimate(ratios, generator)
        affordable = budget.clock() - start < NULL_SHARE * budget.left()
        if resolution(found) < rules.promote_margin or not affordable:
            break
    return found
