"""Are settings from elsewhere, or from other software, faster here, and still right? One duel instead of a search."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from autotune import knobs
from autotune.arena import Arena
from autotune.decision import Decision, Listener, Silent
from autotune.duel import Effort, Judge, Rules
from autotune.errors import SearchError
from autotune.examiner import ExaminedJudge, Examiner
from autotune.machine import Machine
from autotune.measure import Budget, BudgetSpentError, StoppedError
from autotune.subject import Subject, SubjectName
from autotune.tuner import Session

EFFORT = Effort(pairs=16, drop=True, settle=0.01)
LEAST_PAIRS = 12


def verify(
    subject_name: SubjectName,
    machine: Machine,
    settings: Any,
    *,
    budget_seconds: float,
    rules: Rules | None = None,
    listener: Listener | None = None,
    seed: int = 0,
    examiner: Examiner | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Decision:
    """Compare settings with the defaults in 12 to 16 interleaved pairs, after every quality gate was passed.

    rules: `explore` and `least_pairs` are those of a verification whatever they are here. The decision's status is
    "verified" (surely faster by margin and resolution), "rejected" (wrong output, does not run, or surely slower) or
    "candidate" (neither is sure). Ctrl-C comes through: nothing is known then.
    Raises SearchError (these are the defaults, or can't be tried here, or the budget is too short), TrialError (the
    defaults do not run here), ImportError (the subject's module).
    """
    subject = subject_name.create()
    chosen = replace(rules or Rules(), explore=EFFORT, least_pairs=LEAST_PAIRS)
    check(subject, settings, machine)
    with Arena(subject_name, subject, machine, chosen, seed) as arena:
        budget = Budget.of(budget_seconds, stop)
        judge = arena if examiner is None else ExaminedJudge(arena, examiner)
        return verify_with(judge, subject, machine, settings, budget, listener or Silent(), seed, chosen)


def check(subject: Subject, settings: Any, machine: Machine) -> None:
    """Raises SearchError if there is nothing to compare, or if it is known without trying that these can't work."""
    if knobs.key(settings) == knobs.key(subject.default(machine)):
        raise SearchError(
            "On this machine these are the default settings, so there is nothing to verify; tune instead."
        )
    if (reason := subject.reject(settings, machine)) is not None:
        raise SearchError(f"These settings can't be verified like this: {reason}; give more time or other settings.")


def verify_with(
    judge: Judge,
    subject: Subject,
    machine: Machine,
    settings: Any,
    budget: Budget,
    listener: Listener,
    seed: int,
    rules: Rules,
) -> Decision:
    """`verify` with any judge: live processes, or measurements recorded elsewhere."""
    given = budget.left()
    session = Session(judge, subject, machine, budget, listener, seed, rules)
    session.measure_default()
    try:
        return session.verify(settings)
    except BudgetSpentError:
        raise SearchError(
            f"The budget of {given:.0f} s was over before {rules.least_pairs} pairs were measured; give more time."
        ) from None
    except StoppedError:
        raise SearchError("Stopped before the settings were compared: nothing is known yet.") from None
