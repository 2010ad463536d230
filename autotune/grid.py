"""Recording a table: every setting of a space, or a given list, in duels against the live defaults on this machine.

The order is random, so that what the machine does meanwhile falls on no corner of the space; a fresh control comes
after every few duels, and the defaults are measured against it first. Goes on where an earlier recording ended.
"""

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autotune import knobs, table
from autotune.arena import Arena
from autotune.duel import Control, Duel, Effort, Rules
from autotune.errors import KnobError, RejectedSettings, SearchError
from autotune.fingerprint import fingerprint, is_exact, software_changes, software_stamp
from autotune.knobs import frozen
from autotune.machine import Machine
from autotune.measure import Budget, Gate, Outcome
from autotune.subject import Subject, SubjectName
from autotune.table import Header, Row, Table, Writer, rounded

DUELS_PER_CONTROL = 24
OnRow = Callable[[int, int, Row], None]


def record(
    name: SubjectName,
    machine: Machine,
    path: Path,
    *,
    pairs: int = 12,
    starts: int = 2,
    only: Mapping[str, Sequence[str]] | None = None,
    listed: Sequence[Any] | None = None,
    conditions: str = "",
    rules: Rules | None = None,
    seed: int = 0,
    stop: Callable[[], bool] = lambda: False,
    on_row: OnRow = lambda done, total, row: None,
) -> Table:
    """Measure and write a table; all of it is returned, what an earlier recording wrote included.

    starts: duels of each setting that works, each with a fresh process. only: values to keep a knob to, by path; the
    defaults must be among them. listed: settings to record; all if not given. conditions: what else the machine does,
    for those who read the table. on_row: (done, planned, row) after each.
    Raises SearchError if the file holds a recording of something else, TrialError if the defaults do not run.
    """
    subject, chosen = name.create(), rules or Rules()
    # Disturbed pairs are kept and marked: whether to take them again is decided in the replay.
    chosen = replace(chosen, disturbed_repeats=0)
    header = _header(name, subject, machine, only or {}, pairs, conditions, chosen)
    known = table.read(path) if path.exists() and path.stat().st_size else Table(header, (), ())
    _check_same(known.header, header, path)
    work = _Work(subject, machine, known, listed, starts, seed)
    with Writer(path, header) as writer:
        for row in work.rejected():
            writer.add(row)
        while (batch := work.batch(DUELS_PER_CONTROL)) and not stop():
            with Arena(name, subject, machine, chosen, seed) as arena:
                budget = Budget.of(float("inf"), stop)
                writer.add(_rounded_control(arena.start(budget)))
                for settings in [work.default, *batch]:
                    if stop():
                        break
                    start = budget.clock()
                    effort = Effort(pairs, drop=settings != work.default, settle=0.0)
                    duel = arena.duel(work.real(settings), effort, budget, lambda _: None)
                    row = _row(work, settings, duel, budget.clock() - start)
                    writer.add(row)
                    work.done(row)
                    on_row(work.count, work.planned, row)
    return table.read(path)


def every(settings_type: type[Any], machine: Machine) -> Iterator[Any]:
    """All settings of a space that no group refuses, in declaration order."""
    branches = _Branches()
    while branches.begin():
        try:
            yield knobs.suggest(branches, settings_type, machine)
        except RejectedSettings:
            continue


class _Branches:
    """Answers `knobs.suggest` so that every combination comes up once: an odometer with dependent wheels."""

    def __init__(self) -> None:
        self._wheels: list[list[int]] = []  # [value, count] of each question so far
        self._asked = 0
        self._begun = False

    def begin(self) -> bool:
        """On to the next combination; False after the last."""
        self._asked = 0
        if not self._begun:
            self._begun = True
            return True
        while self._wheels and self._wheels[-1][0] + 1 == self._wheels[-1][1]:
            self._wheels.pop()
        if not self._wheels:
            return False
        self._wheels[-1][0] += 1
        return True

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return choices[self._turn(len(choices))]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return low + step * self._turn((high - low) // step + 1)

    def _turn(self, count: int) -> int:
        if self._asked == len(self._wheels):
            self._wheels.append([0, count])
        self._asked += 1
        return self._wheels[self._asked - 1][0]


class _Work:
    """What is still to be measured. Settings are of the table's own type; `real` gives the subject's."""

    def __init__(
        self, subject: Subject, machine: Machine, known: Table, listed: Sequence[Any] | None, starts: int, seed: int
    ) -> None:
        self._subject, self._machine, self._starts = subject, machine, starts
        self._type, self.default = known.settings_type, known.default
        self._generator = np.random.default_rng([seed, len(known.rows)])
        wanted = every(self._type, machine) if listed is None else map(self._recorded, listed)
        self._all = {knobs.key(each): each for each in wanted if each != self.default}
        self._counts: dict[str, int] = {}
        self._closed: set[str] = set()  # measured often enough, or not worth another start
        for row in known.rows:
            self._count(knobs.key(known.settings(row)), row)

    @property
    def count(self) -> int:
        return sum(self._counts.get(key, 0) for key in self._all)

    @property
    def planned(self) -> int:
        return sum(self._counts.get(key, 0) if key in self._closed else self._starts for key in self._all)

    def real(self, settings: Any) -> Any:
        """Raises KnobError if the subject's groups refuse it."""
        return knobs.load(self._subject.settings_type, knobs.dump(settings), self._machine)

    def rejected(self) -> Iterator[Row]:
        """Rows of what the subject rules out, once."""
        for key, settings in self._all.items():
            try:
                reason = self._subject.reject(self.real(settings), self._machine)
            except KnobError as error:
                reason = str(error)
            if reason is not None and key not in self._closed:
                row = Row(table.differences(settings, self.default), 0, Outcome.REJECTED, reason)
                self._count(key, row)
                yield row

    def batch(self, size: int) -> list[Any]:
        """The next settings in random order; first starts of all come before second ones of any."""
        due = [key for key in self._all if key not in self._closed]
        if not due:
            return []
        least = min(self._counts.get(key, 0) for key in due)
        due = [key for key in due if self._counts.get(key, 0) == least]
        picked = self._generator.permutation(len(due))[:size]
        return [self._all[due[int(index)]] for index in picked]

    def start_of(self, settings: Any) -> int:
        return self._counts.get(knobs.key(settings), 0)

    def cost(self, settings: Any) -> tuple[float, ...]:
        return self._subject.cost(self.real(settings))

    def done(self, row: Row) -> None:
        self._count(knobs.key(knobs.unflatten(self._type, {**knobs.flatten(self.default), **row.settings})), row)

    def _recorded(self, settings: Any) -> Any:
        return knobs.load(self._type, knobs.dump(settings), self._machine)

    def _count(self, key: str, row: Row) -> None:
        self._counts[key] = self._counts.get(key, 0) + 1
        if self._counts[key] >= self._starts or row.outcome is not Outcome.OK:
            self._closed.add(key)


def _row(work: _Work, settings: Any, duel: Duel, seconds: float) -> Row:
    seen = duel.candidate
    worst: dict[str, Gate] = {}
    for gate in seen.gates:
        if gate.name not in worst or (not gate.passed, gate.value) > (
            not worst[gate.name].passed,
            worst[gate.name].value,
        ):
            worst[gate.name] = gate
    notes = [each.note for each in duel.control_samples]
    return Row(
        settings=table.differences(settings, work.default),
        start=work.start_of(settings),
        outcome=seen.outcome,
        reason=seen.reason,
        cost=tuple(float(each) for each in work.cost(settings)),
        log_ratios=tuple(round(each, 4) for each in duel.log_ratios),
        control_seconds=rounded([each.seconds for each in duel.control_samples], 4),
        disturbed=tuple(index for index, note in enumerate(notes) if note),
        open_seconds=round(seen.open_seconds, 3),
        warm_seconds=round(sum(each.seconds for each in seen.samples if each.note == "warm-up"), 4),
        seconds=round(seconds, 2),
        memory_bytes=seen.peak_memory_bytes,
        gates=tuple(worst.values()),
    )


def _header(
    name: SubjectName,
    subject: Subject,
    machine: Machine,
    only: Mapping[str, Sequence[str]],
    pairs: int,
    conditions: str,
    rules: Rules,
) -> Header:
    space = frozen.freeze(subject.default(machine), machine)
    for path, values in only.items():
        space = frozen.restrict(space, path, values)
    devices = tuple(replace(each, ids={}) for each in machine.devices)
    return Header(
        subject=subject.name,
        target=name.target,
        arguments=dict(name.arguments),
        date=datetime.date.today().isoformat(),
        machine=replace(machine, devices=devices, refused=()).to_dict(),
        conditions=conditions,
        space=space,
        pairs=pairs,
        block_seconds=rules.block_seconds,
    )


def _check_same(known: Header, wanted: Header, path: Path) -> None:
    """Raises SearchError naming what is different: other numbers can't be compared with those in the file."""
    here, there = Machine.from_dict(wanted.machine), Machine.from_dict(known.machine)
    changed = software_changes(software_stamp(there), software_stamp(here))
    if not is_exact(fingerprint(there), fingerprint(here)):
        changed.append("another machine")
    for name in ("subject", "target", "space", "pairs", "block_seconds"):
        if getattr(known, name) != getattr(wanted, name):
            changed.append(f"another {name}")
    if changed:
        raise SearchError(
            f"The table {path} was recorded with something else ({', '.join(changed)}); choose another file."
        )


def _rounded_control(control: Control) -> Control:
    return replace(control, open_seconds=round(control.open_seconds, 3), unit_seconds=rounded(control.unit_seconds, 4))
