"""A machine that was recorded: answers duels from a table instead of live processes, with a clock of its own.

A duel draws one of the recorded starts and runs of neighbouring pairs from it (the stationary bootstrap: Politis and
Romano 1994), so that drift and disturbances last as long as they did. Rules, budgets and failures mean what they mean
live; a session of minutes takes seconds. Everything drawn comes from one seeded generator.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from autotune import knobs, stats
from autotune.duel import Control, Duel, Effort, OnPair, Rules, against_itself, take_pairs
from autotune.errors import SearchError, TrialError
from autotune.machine import Machine
from autotune.measure import Budget, BudgetSpentError, Measurement, Outcome, Sample
from autotune.stats import Estimate
from autotune.subject import Runner
from autotune.table import Row, Table

RUN_PAIRS = 6  # mean length of a run of neighbouring pairs, at least one turn of ABBA
NOT_RECORDED = "not among the recorded settings"


class SimulatedClock:
    """Seconds that pass only when something is said to have taken them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float, budget: Budget) -> None:
        """Let time pass. Raises BudgetSpentError at the budget's end, StoppedError."""
        budget.check()
        left = budget.left()
        self.now += min(seconds, left)
        if seconds >= left:
            raise BudgetSpentError


class RecordedSubject:
    """The subject of a table, as far as a search needs it. default: other settings to compare with, for experiments."""

    def __init__(self, table: Table, default: Any = None) -> None:
        self.name = table.header.subject
        self.settings_type = table.settings_type
        self._table = table
        self._default = table.default if default is None else default
        self._known = table.by_key

    def reject(self, settings: Any, machine: Machine) -> str | None:
        rows = self._known.get(knobs.key(settings), ())
        if not rows:
            return NOT_RECORDED
        return rows[0].reason if rows[0].outcome is Outcome.REJECTED else None

    def default(self, machine: Machine) -> Any:
        return self._default

    def environment(self, settings: Any, machine: Machine) -> Mapping[str, str]:
        return {}

    def cost(self, settings: Any) -> tuple[float, ...]:
        rows = self._known.get(knobs.key(settings), ())
        return rows[0].cost if rows else ()

    def open(self, settings: Any, machine: Machine) -> Runner:
        raise TrialError(f"The subject {self.name!r} is a recording: it can be replayed, not run.")


class Replay:
    """Implements `duel.Judge` with a table.

    seed: of everything that is drawn. default: the settings of the control, if not the recorded ones: then all times
    are taken relative to these, with the noise that was recorded. Raises SearchError if nothing works in the table, or
    `default` does not.
    """

    def __init__(self, table: Table, rules: Rules, seed: int, default: Any = None) -> None:
        self.clock = SimulatedClock()
        self._table, self._rules = table, rules
        self._default = table.default if default is None else default
        self._generator = np.random.default_rng(seed)
        if knobs.key(self._default) not in table.truth or not table.controls:
            raise SearchError("The table says nothing of the default settings; record more of it.")
        self._shift = table.truth[knobs.key(self._default)]
        self._base = _base(table)
        self._lucks = _lucks(table)
        self._luck = 0.0
        self._control = table.controls[0]

    def start(self, budget: Budget) -> Control:
        self.renew(budget)
        return self._control

    def null(self, budget: Budget) -> Estimate:
        return against_itself(self, self._default, self._rules, budget, self._generator)

    def renew(self, budget: Budget) -> None:
        recorded = self._table.controls[int(self._generator.integers(len(self._table.controls)))]
        factor = math.exp(self._shift)
        self._control = Control(
            recorded.open_seconds,
            tuple(each * factor for each in recorded.unit_seconds),
            recorded.passes,
            recorded.peak_memory_bytes,
        )
        self._luck = float(self._generator.choice(self._lucks))
        self.clock.spend(recorded.open_seconds + 4 * sum(self._control.unit_seconds), budget)

    def duel(self, settings: Any, effort: Effort, budget: Budget, on_pair: OnPair) -> Duel:
        rows = self._table.by_key.get(knobs.key(settings), ())
        if not rows:
            raise SearchError(f"The table does not know {knobs.dump(settings)}; search in the recorded space.")
        row = rows[int(self._generator.integers(len(rows)))]
        if not row.comparable:
            self.clock.spend(row.seconds, budget)
            return Duel(_seen(row, row.outcome, row.reason, ()), (), (), None)
        self.clock.spend(row.open_seconds + row.warm_seconds, budget)
        if settings != self._default and (reason := self._rules.too_much_memory(row.memory_bytes)):
            return Duel(_seen(row, Outcome.OUT_OF_MEMORY, reason, ()), (), (), None)
        drawn = _Draw(row, self._control, self._generator)
        shift = self._base + self._shift + self._luck
        samples: list[tuple[Sample, Sample]] = []

        def take(number: int) -> tuple[Sample, Sample]:
            control, candidate = drawn.pair(number, shift, math.exp(self._shift))
            self.clock.spend(control.seconds + candidate.seconds, budget)
            return control, candidate

        def keep(control: Sample, candidate: Sample) -> None:
            samples.append((control, candidate))

        pairs = take_pairs(take, keep, effort, self._rules, self._generator, on_pair)
        seen = _seen(row, pairs.outcome, pairs.reason, tuple(candidate for _, candidate in samples))
        estimate = stats.estimate(pairs.log_ratios, self._generator)
        return Duel(seen, tuple(control for control, _ in samples), pairs.log_ratios, estimate)


class _Draw:
    """Pairs of one recorded start, in runs."""

    def __init__(self, row: Row, control: Control, generator: np.random.Generator) -> None:
        self._row, self._control, self._generator = row, control, generator
        self._index = -1

    def pair(self, number: int, shift: float, factor: float) -> tuple[Sample, Sample]:
        """The next pair after `number` that count. shift: taken from its log-ratio; factor: on the control's time."""
        unit = number // 2 % self._control.units
        self._index = self._next(unit)
        row = self._row
        seconds = factor * row.control_seconds[self._index]
        note = "disturbed when it was recorded" if self._index in row.disturbed else ""
        ratio = math.exp(row.log_ratios[self._index] - shift)
        passes = self._control.passes[unit]
        return Sample(unit, seconds, passes, True, note), Sample(unit, seconds * ratio, passes, True, note)

    def _next(self, unit: int) -> int:
        """The recorded pair after the last one, if it is of this unit and the run goes on; else a new run begins."""
        count, units = len(self._row.log_ratios), self._control.units
        following = self._index + 1
        same = following < count and following // 2 % units == unit
        if self._index >= 0 and same and self._generator.random() > 1 / RUN_PAIRS:
            return following
        fitting = [index for index in range(count) if index // 2 % units == unit] or list(range(count))
        return fitting[int(self._generator.integers(len(fitting)))]


def _seen(row: Row, outcome: Outcome, reason: str, samples: tuple[Sample, ...]) -> Measurement:
    return Measurement(outcome, reason, samples, row.gates, row.open_seconds, row.memory_bytes)


def _defaults(table: Table) -> tuple[Row, ...]:
    return tuple(row for row in table.by_key[knobs.key(table.default)] if row.comparable)


def _base(table: Table) -> float:
    """What the defaults' log-ratio to themselves came out as: 0, but for noise; `Table.truth` is free of it."""
    return float(np.mean([stats.trimmed_mean(row.quiet) for row in _defaults(table)]))


def _lucks(table: Table) -> list[float]:
    """How far starts of the control lie from each other, as log-ratios to draw from.

    Seen in the defaults against themselves, where control and candidate have half of the variance each. A recorded row
    holds its own control's luck already, so a replay is a little noisier than the machine was. Both signs, so that the
    mean is 0.
    """
    base = _base(table)
    lucks = [(stats.trimmed_mean(row.quiet) - base) / math.sqrt(2) for row in _defaults(table)]
    return [sign * each for each in lucks for sign in (1, -1)]
