"""Faults planted into a real subject, each in a duel of live processes: is every one called what it is?

The faulty toy is the tests' (tests/autotune/toy_subject.py), which says what each fault must be called.
"""

import contextlib
import importlib
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from autotune.arena import Arena
from autotune.duel import Effort
from autotune.measure import Budget, Outcome
from autotune.subject import SubjectName
from benchmarks.kills import RULES

TOYS = Path(__file__).resolve().parent.parent / "tests" / "autotune"
PATIENT = replace(RULES, warm_floor_seconds=10.0, run_floor_seconds=10.0)  # what a hang costs
FEW = Effort(2, drop=False, settle=0.0)
ENDLESS = Budget.of(math.inf)


@dataclass(frozen=True, slots=True)
class Called:
    fault: str
    expected: Outcome
    found: Outcome
    reason: str

    @property
    def right(self) -> bool:
        return self.expected is self.found


def injected() -> Iterator[Called]:
    """Every fault of the toy, one after the other against one control."""
    toys = _toys()
    with _arena(toys) as arena:
        for fault, expected in toys.EXPECTED.items():
            duel = arena.duel(toys.Faulty(fault=fault), FEW, ENDLESS, lambda _: None)
            yield Called(fault, expected, duel.candidate.outcome, duel.candidate.reason)


def false_alarms(runs: int) -> int:
    """How many of so many runs of right settings were called anything but OK."""
    toys = _toys()
    with _arena(toys) as arena:
        duels = (arena.duel(toys.Faulty(block=(64, 2048)[n % 2]), FEW, ENDLESS, lambda _: None) for n in range(runs))
        return sum(duel.candidate.outcome is not Outcome.OK for duel in duels)


@contextlib.contextmanager
def _arena(toys: ModuleType) -> Iterator[Arena]:
    """With a control that runs."""
    name = SubjectName("toy_subject:Toy", {"kind": "faulty"})
    with Arena(name, name.create(), toys.toy_machine(), PATIENT, seed=0) as arena:
        arena.start(ENDLESS)
        yield arena


def _toys() -> ModuleType:
    if str(TOYS) not in sys.path:
        sys.path.append(str(TOYS))
    return importlib.import_module("toy_subject")
