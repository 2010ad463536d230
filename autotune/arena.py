"""The live judge: a control with the default settings and one candidate, both resident, take turns on the same work.

Numbers taken at different times can't be compared on a machine that does other things too; ratios of neighbours can.
Knows processes, clocks and outputs; does not know where candidates come from or who wins in the end.
"""

import math
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from autotune import knobs, stats
from autotune.child import Child, ChildFailedError
from autotune.duel import Control, Duel, Effort, OnPair, Rules, against_itself, take_pairs
from autotune.errors import TrialError
from autotune.machine import Machine
from autotune.measure import (
    Budget,
    Failure,
    Gate,
    Measurement,
    Outcome,
    Sample,
    available_memory_bytes,
    used_processor_seconds,
)
from autotune.stats import Estimate
from autotune.subject import Subject, SubjectName, checked_environment

ROOM_FOR_CANDIDATE = 1.2  # in sizes of the control, free after the control is resident
CONTROL_OPEN_SECONDS = 900.0
CONTROL_ATTEMPTS = 2  # a candidate that takes the control down twice is to blame itself
CONTROL_OOM_ADJUSTMENT, CANDIDATE_OOM_ADJUSTMENT = 300, 800  # out of 1000: the candidate goes first
GIGABYTE = 1 << 30


class Seat:
    """One opened child and all that was seen of it."""

    def __init__(self, child: Child, *, limited: bool = False) -> None:
        self.child = child
        self.limited = limited  # by Rules.memory_limit_bytes
        self.units = 0
        self.open_seconds = 0.0
        self.samples: list[Sample] = []
        self.gates: list[Gate] = []
        self.peak_memory_bytes = 0

    def run(self, unit: int, passes: int, limit_seconds: float, budget: Budget) -> float:
        """Seconds of one block; the child rests afterwards."""
        reply = self.child.ask("run", limit_seconds, budget, unit=unit, passes=passes)
        self.child.rest()
        return float(sum(reply["seconds"]))

    def warm(self, unit: int, limit_seconds: float, budget: Budget) -> float:
        seconds = self.run(unit, 1, limit_seconds, budget)
        self.samples.append(Sample(unit, seconds, 1, used=False, note="warm-up"))
        return seconds

    def read_memory(self, budget: Budget, limit_seconds: float) -> None:
        self.peak_memory_bytes = int(self.child.ask("memory", limit_seconds, budget)["peak_bytes"])

    def measured(self, outcome: Outcome, reason: str) -> Measurement:
        return Measurement(
            outcome,
            reason,
            tuple(self.samples),
            tuple(self.gates),
            self.open_seconds,
            self.peak_memory_bytes,
            self.child.stderr_tail(),
        )


class TooMuchMemoryError(Exception):
    """Inside a duel only: more memory than is allowed; the text says how much."""


class WrongOutputError(Exception):
    """Inside a duel only: a gate failed; the text is its sentence."""


class Arena:
    """Implements `duel.Judge` with worker processes. Use as a context manager: leaving it ends every child.

    settings of the control are the defaults. seed: of the resampling in the intervals, not of the subject.
    """

    def __init__(self, name: SubjectName, subject: Subject, machine: Machine, rules: Rules, seed: int) -> None:
        self._name, self._subject, self._machine, self._rules = name, subject, machine, rules
        self._default = subject.default(machine)
        self._generator = np.random.default_rng(seed)
        self._scratch = tempfile.TemporaryDirectory(prefix="autotune-")
        self._folder = Path(self._scratch.name)
        self._control: Seat | None = None
        self._facts: Control | None = None

    def __enter__(self) -> "Arena":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._dismiss_control()
        self._scratch.cleanup()

    def start(self, budget: Budget) -> Control:
        self._facts = self._open_control(budget)
        left, needed = available_memory_bytes(), ROOM_FOR_CANDIDATE * self._facts.peak_memory_bytes
        if left < needed:
            raise TrialError(
                f"The default settings hold {self._facts.peak_memory_bytes / GIGABYTE:.2f} GiB and "
                f"{left / GIGABYTE:.2f} GiB are left, too little for a second process beside them "
                f"({needed / GIGABYTE:.2f} GiB); end other programs, or keep the default settings."
            )
        return self._facts

    def null(self, budget: Budget) -> Estimate:
        return against_itself(self, self._default, self._rules, budget, self._generator)

    def renew(self, budget: Budget) -> None:
        self._dismiss_control()
        self._facts = self._open_control(budget)

    def duel(self, settings: Any, effort: Effort, budget: Budget, on_pair: OnPair) -> Duel:
        failure = Failure(Outcome.CRASHED, "")
        for _ in range(CONTROL_ATTEMPTS):
            control = self._ready_control(budget)
            with Child("candidate", self._folder, self._environment(settings), CANDIDATE_OOM_ADJUSTMENT) as child:
                seat = Seat(child, limited=settings != self._default)
                try:
                    return self._fight(control, seat, settings, effort, budget, on_pair)
                except WrongOutputError as error:
                    return Duel(seat.measured(Outcome.WRONG_OUTPUT, str(error)), (), (), None)
                except TooMuchMemoryError as error:
                    return Duel(seat.measured(Outcome.OUT_OF_MEMORY, str(error)), (), (), None)
                except ChildFailedError as error:
                    failure = error.failure
                    if error.child is child:
                        return Duel(seat.measured(failure.outcome, self._explained(failure)), (), (), None)
        reason = f"the control beside it failed {CONTROL_ATTEMPTS} times: {failure.reason}"
        return Duel(seat.measured(failure.outcome, reason), (), (), None)

    def _fight(self, control: Seat, seat: Seat, settings: Any, effort: Effort, budget: Budget, on_pair: OnPair) -> Duel:
        rules, facts = self._rules, self._known()
        self._open(seat, settings, max(rules.open_floor_seconds, rules.open_factor * facts.open_seconds), budget)
        self._warm_and_judge(control, seat, budget)
        control_samples: list[Sample] = []

        def keep(theirs: Sample, ours: Sample) -> None:
            control_samples.append(theirs)
            seat.samples.append(ours)

        def take(number: int) -> tuple[Sample, Sample]:
            return self._pair(control, seat, number, budget)

        pairs = take_pairs(take, keep, effort, rules, self._generator, on_pair)
        self._check_memory(seat, rules.run_floor_seconds, Budget.of(rules.run_floor_seconds, budget.stop))
        estimate = stats.estimate(pairs.log_ratios, self._generator)
        return Duel(seat.measured(pairs.outcome, pairs.reason), tuple(control_samples), pairs.log_ratios, estimate)

    def _pair(self, control: Seat, seat: Seat, number: int, budget: Budget) -> tuple[Sample, Sample]:
        """One block of each side on the same unit: (control, candidate). Who begins alternates: ABBA cancels drift."""
        rules, facts = self._rules, self._known()
        unit = number // 2 % facts.units
        passes = facts.passes[unit]
        limit = max(rules.run_floor_seconds, rules.run_factor * facts.unit_seconds[unit] * passes)
        seconds: dict[Seat, float] = {}
        before, own = rules.guard.read(), self._own_seconds(control, seat)
        for side in (control, seat) if number % 2 == 0 else (seat, control):
            seconds[side] = side.run(unit, passes, limit, budget)
        note = rules.guard.disturbance(before, rules.guard.read(), self._own_seconds(control, seat) - own)
        return (
            Sample(unit, seconds[control], passes, used=True, note=note),
            Sample(unit, seconds[seat], passes, used=True, note=note),
        )

    def _warm_and_judge(self, control: Seat, seat: Seat, budget: Budget) -> None:
        """One pass of each unit, each judged at once (cheap checks come first), then unit 0 until it is steady."""
        rules, facts = self._rules, self._known()
        limit = max(rules.warm_floor_seconds, rules.run_factor * max(facts.unit_seconds))
        path = str(self._folder / "candidate.npz")
        for unit in range(facts.units):
            seat.warm(unit, limit, budget)
            if unit == 0:
                self._check_memory(seat, limit, budget)
            seat.child.ask("outputs", limit, budget, unit=unit, path=path)
            reply = control.child.ask("compare", limit, budget, unit=unit, path=path)
            control.child.rest()
            gates = [Gate(*fields) for fields in reply["gates"]]
            seat.gates.extend(gates)
            failed = [gate.sentence for gate in gates if not gate.passed]
            if failed:
                raise WrongOutputError(f"unit {unit}: {failed[0]}")
        self._until_steady(seat, limit, budget)
        self._check_memory(seat, limit, budget)

    def _check_memory(self, seat: Seat, limit: float, budget: Budget) -> None:
        """Raises TooMuchMemoryError if the largest size so far is more than is allowed."""
        seat.read_memory(budget, limit)
        if seat.limited and (reason := self._rules.too_much_memory(seat.peak_memory_bytes)):
            raise TooMuchMemoryError(reason)

    def _until_steady(self, seat: Seat, limit: float, budget: Budget) -> None:
        last = seat.warm(0, limit, budget)
        for _ in range(self._rules.warm_passes):
            now = seat.warm(0, limit, budget)
            if abs(math.log(now / last)) < self._rules.steady:
                return
            last = now

    def _open(self, seat: Seat, settings: Any, limit: float, budget: Budget) -> None:
        start = time.monotonic()
        reply = seat.child.ask(
            "open",
            limit,
            budget,
            path=sys.path,
            subject={"target": self._name.target, "arguments": dict(self._name.arguments)},
            settings=knobs.dump(settings),
            machine=self._machine.to_dict(),
        )
        seat.units, seat.open_seconds = int(reply["units"]), time.monotonic() - start

    def _open_control(self, budget: Budget) -> Control:
        rules, limit = self._rules, CONTROL_OPEN_SECONDS
        child = Child("control", self._folder, self._environment(self._default), CONTROL_OOM_ADJUSTMENT)
        seat = self._control = Seat(child)
        try:
            self._open(seat, self._default, limit, budget)
            for unit in range(seat.units):
                seat.warm(unit, limit, budget)
            self._until_steady(seat, limit, budget)
            seconds = [seat.warm(unit, limit, budget) for unit in range(seat.units)]
            seat.read_memory(budget, limit)
        except ChildFailedError as error:
            raise TrialError(
                f"The default settings do not run here ({error.failure.outcome.value}): {error.failure.reason}"
            ) from error
        passes = [min(1000, math.ceil(rules.block_seconds / each)) for each in seconds]
        return Control(seat.open_seconds, tuple(seconds), tuple(passes), seat.peak_memory_bytes)

    def _ready_control(self, budget: Budget) -> Seat:
        if self._control is None or not self._control.child.ready:
            self.renew(budget)
        assert self._control is not None
        return self._control

    def _dismiss_control(self) -> None:
        if self._control is not None:
            self._control.child.close()
            self._control = None

    def _known(self) -> Control:
        assert self._facts is not None, "a duel needs a control: call start first"
        return self._facts

    def _environment(self, settings: Any) -> dict[str, str]:
        return checked_environment(self._subject.environment(settings, self._machine))

    def _explained(self, failure: Failure) -> str:
        if failure.outcome is not Outcome.TIMED_OUT:
            return failure.reason
        facts = self._known()
        slowest = max(facts.unit_seconds)
        return f"{failure.reason}; the default settings open in {facts.open_seconds:.1f} s and run in {slowest:.3g} s"

    @staticmethod
    def _own_seconds(control: Seat, seat: Seat) -> float:
        return used_processor_seconds(control.child.process_id) + used_processor_seconds(seat.child.process_id)
