"""One duel instead of a search: on a simulated machine, and with live processes that are faster, equal, or broken."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import toy_subject
from test_arena import RULES
from toy_subject import Faulty, Flat, Speed, Toy

from autotune.decision import Decision, Silent
from autotune.duel import Control, Duel, Effort, OnPair, Rules
from autotune.errors import SearchError, TrialError
from autotune.measure import Budget, BudgetSpentError, Measurement, Outcome, StoppedError
from autotune.record import profile_of
from autotune.stats import Estimate, estimate
from autotune.subject import SubjectName
from autotune.verification import EFFORT, LEAST_PAIRS, check, verify, verify_with

MACHINE = toy_subject.toy_machine()
QUICK = replace(Rules(), null=Effort(0, drop=False, settle=0.0), promote_margin=0.05, least_pairs=LEAST_PAIRS)


@dataclass
class Simulated:
    """A judge whose candidate takes exp(truth) of the default's time, with 1 % of noise from pair to pair."""

    truth: float = 0.0
    outcome: Outcome = Outcome.OK
    error: BaseException | None = None

    def start(self, budget: Budget) -> Control:
        return Control(1.0, (1.0,), (1,), 1 << 20)

    def null(self, budget: Budget) -> Estimate:
        return Estimate(0.0, -0.01, 0.01, 12)

    def renew(self, budget: Budget) -> None:
        raise AssertionError("a verification has one control")

    def duel(self, settings: Any, effort: Effort, budget: Budget, on_pair: OnPair) -> Duel:
        assert effort == EFFORT
        if self.error is not None:
            raise self.error
        seen = Measurement(self.outcome, "it broke" if self.outcome is not Outcome.OK else "", (), (), 1.0, 1)
        if self.outcome not in (Outcome.OK, Outcome.PRUNED):
            return Duel(seen, (), (), None)
        generator = np.random.default_rng(1)
        ratios = tuple(float(each) for each in generator.normal(self.truth, 0.01, effort.pairs))
        return Duel(seen, (), ratios, estimate(ratios, generator))


def judged(judge: Simulated, rules: Rules = QUICK) -> Decision:
    rules = replace(rules, explore=EFFORT)
    return verify_with(judge, Toy("speed"), MACHINE, Speed(block=2048), Budget.of(60.0), Silent(), 1, rules)


@pytest.mark.parametrize(
    ("truth", "status", "words"),
    [
        (-0.3, "verified", "surely below 0.950"),
        (-0.03, "candidate", "not surely below 0.950"),
        (0.0, "candidate", "not surely below 0.950"),
        (0.1, "rejected", "surely slower"),
    ],
)
def test_the_interval_decides(truth: float, status: str, words: str) -> None:
    decision = judged(Simulated(truth))
    print(decision.reason)
    assert decision.status == status
    assert words in decision.reason
    assert decision.pairs == EFFORT.pairs
    assert decision.ci_low < decision.ratio < decision.ci_high


def test_with_time_for_it_the_machine_says_what_it_can_show() -> None:
    long = replace(Rules(), least_pairs=LEAST_PAIRS)
    decision = judged(Simulated(-0.04), long)
    assert decision.resolution == pytest.approx(0.01, abs=1e-3)
    assert (decision.status, judged(Simulated(-0.04)).status) == ("verified", "candidate")
    assert judged(Simulated(-0.01), long).status == "candidate"


@pytest.mark.parametrize(
    "outcome",
    [Outcome.WRONG_OUTPUT, Outcome.OUT_OF_MEMORY, Outcome.CRASHED, Outcome.TIMED_OUT, Outcome.IMPORT_FAILED],
)
def test_what_does_not_work_is_rejected(outcome: Outcome) -> None:
    decision = judged(Simulated(outcome=outcome))
    assert (decision.status, decision.pairs) == ("rejected", 0)
    assert decision.reason == f"{outcome.value}: it broke"


def test_no_answer_is_an_error() -> None:
    with pytest.raises(SearchError, match=r"budget of 60 s was over before 12 pairs were measured; give more time"):
        judged(Simulated(error=BudgetSpentError()))
    with pytest.raises(SearchError, match="Stopped before"):
        judged(Simulated(error=StoppedError()))
    with pytest.raises(KeyboardInterrupt):
        judged(Simulated(error=KeyboardInterrupt()))


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(SearchError, match="these are the default settings"):
        check(Toy("speed"), Speed(), MACHINE)
    with pytest.raises(SearchError, match="can't be verified like this: this spare is never used; give more time"):
        check(Toy("speed"), Speed(block=2048, spare=2), MACHINE)


def live(kind: str, settings: Any, margin: float = 0.3) -> Decision:
    name = SubjectName("toy_subject:Toy", {"kind": kind})
    rules = replace(RULES, promote_margin=margin, null=QUICK.null)
    return verify(name, MACHINE, settings, budget_seconds=120.0, rules=rules)


def test_live_processes() -> None:
    fast = live("speed", Speed(block=2048))
    print(fast.reason)
    assert (fast.status, len(fast.history)) == ("verified", 1)
    assert LEAST_PAIRS <= fast.pairs <= EFFORT.pairs
    assert len(fast.samples) == fast.pairs
    same = live("flat", Flat(spare=1))
    print(same.reason)
    assert same.status != "verified"


@pytest.mark.parametrize(
    ("fault", "words"), [("nan", "wrong output"), ("shifted", "largest difference"), ("segfault", "SIGSEGV")]
)
def test_live_faults_are_rejected_with_their_evidence(fault: str, words: str) -> None:
    decision = live("faulty", Faulty(block=2048, fault=fault))
    print(decision.reason)
    assert decision.status == "rejected"
    assert words in decision.reason
    profile = profile_of(
        decision,
        Toy("faulty"),
        MACHINE,
        scenario="latency",
        objective="seconds",
        unit="seconds, smaller is better",
        tool="test",
        version="1",
        environment={},
    )
    assert profile.status == "rejected"
    assert profile.evidence is not None
    assert (profile.evidence.pairs, profile.evidence.samples["ratio"]) == (0, ())
    assert any(not gate.passed for gate in profile.quality) == (fault != "segfault")


def test_defaults_that_do_not_run_say_nothing_of_the_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Simulated, budget: Budget) -> Control:
        raise TrialError("The default settings do not run here.")

    monkeypatch.setattr(Simulated, "start", broken)
    with pytest.raises(TrialError, match="do not run here"):
        judged(Simulated(-0.3))
