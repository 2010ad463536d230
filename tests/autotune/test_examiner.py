"""Examinations: who is examined, how often, and what a failed one does to a duel and to a session."""

import pytest
import toy_subject
from lossy_subject import Lossy, compared
from test_arena import RULES
from toy_subject import Speed

from autotune import tuner, verification
from autotune.duel import Control, Duel
from autotune.examiner import ChildExaminer, ExaminedJudge, inexact_part
from autotune.measure import Budget, BudgetSpentError, Gate, Measurement, Outcome
from autotune.stats import Estimate
from autotune.subject import SubjectName

MACHINE = toy_subject.toy_machine()
BUDGET = Budget.of(600.0)


@pytest.fixture
def opened(tmp_path):
    path = tmp_path / "opened"
    path.touch()
    return path


def examiner(opened, **arguments):
    name = SubjectName("lossy_subject:LossySubject", {"opened": str(opened), **arguments})
    return ChildExaminer(name, MACHINE, compared, print)


def test_a_cheap_loss_passes_and_a_dear_one_fails(opened, capsys):
    found = examiner(opened)
    assert [gate.passed for gate in found.examine(Lossy(bits=16), BUDGET)] == [True]
    (gate,) = found.examine(Lossy(bits=4), BUDGET)
    assert (gate.passed, gate.value, gate.limit) == (False, 8.0, 2.0)
    said = capsys.readouterr().out.splitlines()
    assert said == [f"examining {what}: lossy" for what in ("the default settings", "bits: 32 -> 16", "bits: 32 -> 4")]
    assert found.unavailable == ""


def test_each_question_is_asked_once_and_exact_settings_never(opened):
    found = examiner(opened)
    assert found.examine(Lossy(slots=2), BUDGET) == ()
    assert opened.read_text() == ""
    first = found.examine(Lossy(bits=16, slots=2), BUDGET)
    assert found.examine(Lossy(bits=16), BUDGET) == first
    lines = opened.read_text().splitlines()
    assert lines == [
        "{'bits': 32, 'fault': 'none', 'slots': 1}",
        "{'bits': 16, 'fault': 'none', 'slots': 1}",
    ]


@pytest.mark.parametrize("fault", ["exception", "killed"])
def test_settings_that_do_not_get_through_have_failed(opened, fault):
    (gate,) = examiner(opened).examine(Lossy(fault=fault), BUDGET)
    print(gate.sentence)
    assert not gate.passed
    assert "failed" in gate.detail


def test_if_the_defaults_can_not_be_examined_nothing_is_and_it_says_why(opened):
    found = examiner(opened, broken=True)
    assert found.examine(Lossy(bits=4), BUDGET) == ()
    assert "there is no voice" in found.unavailable
    assert found.examine(Lossy(bits=16), BUDGET) == ()
    assert len(opened.read_text().splitlines()) == 1


def test_a_spent_budget_ends_an_examination(opened):
    with pytest.raises(BudgetSpentError):
        examiner(opened).examine(Lossy(bits=4), Budget.of(-1.0))


def test_the_inexact_part_of_settings():
    assert inexact_part(Lossy(bits=4, slots=2), Lossy(), MACHINE) == Lossy(bits=4)
    assert inexact_part(Lossy(slots=2), Lossy(), MACHINE) == Lossy()


class Refusing:
    """Fails everything, and counts."""

    def __init__(self, *, passed=False):
        self.asked = []
        self._gate = Gate("words", passed, 5.0, 2.0, "points")

    def examine(self, settings, budget):
        self.asked.append(settings)
        return [self._gate]


class Fixed:
    """A judge whose duels all end the same."""

    def __init__(self, mean, outcome=Outcome.OK):
        seen = Measurement(outcome, "", (), (Gate("tokens", True, 0.0, 0.0, ""),), 1.0, 1)
        self._duel = Duel(seen, (), (mean,) * 6, Estimate(mean, mean - 0.1, mean + 0.1, 6))

    def duel(self, settings, effort, budget, on_pair):
        return self._duel


def fight(mean, examiner, outcome=Outcome.OK):
    return ExaminedJudge(Fixed(mean, outcome), examiner).duel(Lossy(bits=4), RULES.explore, BUDGET, lambda _: None)


def test_a_failed_examination_is_wrong_output():
    refusing = Refusing()
    result = fight(-0.5, refusing)
    assert result.candidate.outcome is Outcome.WRONG_OUTPUT
    assert "gate words failed: 5 against a limit of 2" in result.candidate.reason
    assert [gate.name for gate in result.candidate.gates] == ["tokens", "words"]
    assert refusing.asked == [Lossy(bits=4)]


def test_a_passed_one_is_kept_as_evidence():
    result = fight(-0.5, Refusing(passed=True))
    assert result.candidate.outcome is Outcome.OK
    assert [gate.name for gate in result.candidate.gates] == ["tokens", "words"]


@pytest.mark.parametrize(("mean", "outcome"), [(0.1, Outcome.OK), (-0.5, Outcome.WRONG_OUTPUT), (0.3, Outcome.PRUNED)])
def test_only_what_is_right_and_faster_is_examined(mean, outcome):
    refusing = Refusing()
    assert fight(mean, refusing, outcome).candidate.outcome is outcome
    assert refusing.asked == []


class Table(Fixed):
    """A judge without processes, in the place of the arena: all settings take half of the time."""

    def __init__(self, *_):
        super().__init__(-0.7)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def start(self, budget):
        return Control(1.0, (1.0,), (1,), 1)

    def null(self, budget):
        return Estimate(0.0, -0.001, 0.001, 12)

    def renew(self, budget):
        pass


@pytest.mark.parametrize("passed", [True, False])
def test_a_session_ships_only_what_passes(monkeypatch, passed):
    monkeypatch.setattr(tuner, "Arena", Table)
    asked = Refusing(passed=passed)
    name = SubjectName("toy_subject:Toy", {"kind": "speed"})
    decision = tuner.tune(
        name, MACHINE, budget_seconds=60, max_trials=1, seeds=[Speed(block=2048)], rules=RULES, examiner=asked
    )
    assert set(asked.asked) == {Speed(block=2048)}
    assert decision.status == ("verified" if passed else "default-confirmed")
    assert decision.settings == (Speed(block=2048) if passed else Speed())
    (record,) = decision.history
    assert [gate.name for gate in record.gates] == ["tokens", "words"]


@pytest.mark.parametrize("passed", [True, False])
def test_a_verification_examines_too(monkeypatch, passed):
    monkeypatch.setattr(verification, "Arena", Table)
    name = SubjectName("toy_subject:Toy", {"kind": "speed"})
    asked = Refusing(passed=passed)
    decision = verification.verify(name, MACHINE, Speed(block=2048), budget_seconds=60, examiner=asked)
    assert asked.asked == [Speed(block=2048)]
    assert decision.status == ("verified" if passed else "rejected")
