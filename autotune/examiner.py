"""A slow judgement of settings that may change the output: another subject, run once beside the search, never timed.

Where the gates of a duel compare numbers, an examination may do what takes long: speak, and let somebody listen. Each
set of values of the inexact knobs is examined once a session, with all other knobs at their defaults, in a process of
its own; so are the defaults, which it is compared with.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from autotune import knobs
from autotune.child import Child, ChildFailedError
from autotune.duel import Control, Duel, Effort, Judge, OnPair
from autotune.machine import Machine
from autotune.measure import Budget, Gate, Outcome
from autotune.stats import Estimate
from autotune.subject import Outputs, SubjectName, checked_environment

FIRST_SECONDS = 600.0  # for the defaults; others get a multiple of what these took
FACTOR, FLOOR_SECONDS = 4.0, 120.0
OOM_ADJUSTMENT = 800


class Examiner(Protocol):
    """Who is asked about candidates for which numbers of the search say yes."""

    def examine(self, settings: Any, budget: Budget) -> Sequence[Gate]:
        """Gates that the settings passed or failed; none if there is nothing to examine, or no way to.

        Raises BudgetSpentError or StoppedError.
        """
        ...


class ExaminedJudge:
    """A duel.Judge whose duels end with an examination, of candidates that are right and seem faster so far.

    slower: examine those that seem slower, too; they may be chosen where the defaults can't be used.
    """

    def __init__(self, judge: Judge, examiner: Examiner, *, slower: bool = False) -> None:
        self._judge, self._examiner, self._slower = judge, examiner, slower

    def start(self, budget: Budget) -> Control:
        return self._judge.start(budget)

    def null(self, budget: Budget) -> Estimate:
        return self._judge.null(budget)

    def renew(self, budget: Budget) -> None:
        self._judge.renew(budget)

    def duel(self, settings: Any, effort: Effort, budget: Budget, on_pair: OnPair) -> Duel:
        result = self._judge.duel(settings, effort, budget, on_pair)
        if result.candidate.outcome is not Outcome.OK or result.estimate is None:
            return result
        if result.estimate.mean >= 0 and not self._slower:
            return result
        gates = tuple(self._examiner.examine(settings, budget))
        seen = replace(result.candidate, gates=(*result.candidate.gates, *gates))
        failed = [gate.sentence for gate in gates if not gate.passed]
        if failed:
            seen = replace(seen, outcome=Outcome.WRONG_OUTPUT, reason=failed[0])
        return replace(result, candidate=seen)


class ChildExaminer:
    """name: of a subject with one unit of work, whose outputs `compare(reference, output)` turns into gates.

    tell: gets a sentence before each run, which may be long. unavailable: why nothing could be examined, once that is
    known; else "".
    """

    def __init__(
        self,
        name: SubjectName,
        machine: Machine,
        compare: Callable[[Outputs, Outputs], Sequence[Gate]],
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.unavailable = ""
        self._tell = tell
        self._name, self._machine, self._compare = name, machine, compare
        self._subject = name.create()
        self._default = self._subject.default(machine)
        self._known: dict[str, tuple[Gate, ...]] = {}
        self._reference: Outputs | None = None
        self._seconds = FIRST_SECONDS / FACTOR

    def examine(self, settings: Any, budget: Budget) -> Sequence[Gate]:
        audible = inexact_part(settings, self._default, self._machine)
        if audible == self._default or self.unavailable:
            return ()
        key = knobs.key(audible)
        if key not in self._known:
            if self._reference is None and not self._examine_default(budget):
                return ()
            self._known[key] = self._judged(audible, budget)
        return self._known[key]

    def _examine_default(self, budget: Budget) -> bool:
        start = time.monotonic()
        self._tell(f"examining the default settings: {self._subject.name}")
        try:
            self._reference = self._run(self._default, budget)
        except ChildFailedError as error:
            self.unavailable = error.failure.reason
            self._tell(f"nothing can be examined: {self.unavailable}")
            return False
        self._seconds = time.monotonic() - start
        return True

    def _judged(self, settings: Any, budget: Budget) -> tuple[Gate, ...]:
        assert self._reference is not None, "the defaults are examined first"
        self._tell(f"examining {', '.join(knobs.changes(self._default, settings))}: {self._subject.name}")
        try:
            return tuple(self._compare(self._reference, self._run(settings, budget)))
        except ChildFailedError as error:
            return (Gate("examination", False, 1.0, 0.0, f"examinations that failed: {error.failure.reason}"),)

    def _run(self, settings: Any, budget: Budget) -> Outputs:
        """What the subject gives, run once in a fresh process. Raises ChildFailedError and what `budget.check` does."""
        limit = max(FLOOR_SECONDS, FACTOR * self._seconds)
        environment = checked_environment(self._subject.environment(settings, self._machine))
        with tempfile.TemporaryDirectory(prefix="autotune-") as name:
            folder = Path(name)
            with Child("examined", folder, environment, OOM_ADJUSTMENT) as child:
                child.ask(
                    "open",
                    limit,
                    budget,
                    path=sys.path,
                    subject={"target": self._name.target, "arguments": dict(self._name.arguments)},
                    settings=knobs.dump(settings),
                    machine=self._machine.to_dict(),
                )
                child.ask("run", limit, budget, unit=0, passes=1)
                child.ask("outputs", limit, budget, unit=0, path=str(folder / "outputs.npz"))
            with np.load(folder / "outputs.npz", allow_pickle=False) as file:
                return {each: file[each] for each in file.files}


def inexact_part(settings: Any, default: Any, machine: Machine) -> Any:
    """The defaults, but with the knobs that may change the output as in the settings."""
    chosen, plain = knobs.flatten(settings), knobs.flatten(default)
    inexact = [each.path for each in knobs.walk(type(settings)) if not each.exact]
    audible = {path: chosen[path] for path in inexact if path in chosen}
    return knobs.unflatten(type(settings), {**plain, **audible}, machine)
