"""Duels of live processes: what they measure, how they end, and that each fault stays the candidate's."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import toy_subject
from toy_subject import Faulty, Speed, Toy

from autotune import arena as arena_module
from autotune.arena import Arena
from autotune.duel import Duel, Effort, Rules, resolution, settled, surely_slower
from autotune.errors import TrialError
from autotune.measure import Budget, BudgetSpentError, Guard, Outcome
from autotune.stats import Estimate
from autotune.subject import SubjectName

# Blocks of a few milliseconds and deadlines of a second: the toy takes about a millisecond. No guard: the machine that
# runs tests is busy with other tests.
QUIET = Guard(steal_share=2.0, throttled_share=2.0, foreign_cores=1000.0)
RULES = Rules(
    explore=Effort(8, drop=True, settle=0.02),
    null=Effort(8, drop=False, settle=0.0),
    final=Effort(8, drop=False, settle=0.0),
    final_rounds=2,
    null_rounds=1,
    block_seconds=0.003,
    warm_floor_seconds=4.0,
    run_floor_seconds=4.0,
    guard=QUIET,
)
BUDGET = Budget.of(600.0)


def enter(kind: str, rules: Rules = RULES) -> Arena:
    name = SubjectName("toy_subject:Toy", {"kind": kind})
    return Arena(name, Toy(kind), toy_subject.toy_machine(), rules, seed=1)


@pytest.fixture(scope="module")
def faulty_arena() -> Iterator[Arena]:
    with enter("faulty") as arena:
        arena.start(BUDGET)
        yield arena


def fight(arena: Arena, settings: Any, budget: Budget = BUDGET) -> Duel:
    return arena.duel(settings, RULES.explore, budget, lambda _: None)


def test_a_duel_sees_what_is_faster_and_drops_what_is_slower():
    with enter("speed") as arena:
        control = arena.start(BUDGET)
        pairs: list[int] = []
        fast = arena.duel(Speed(block=2048), RULES.explore, BUDGET, lambda ratios: pairs.append(len(ratios)))
        slow = arena.duel(Speed(block=32), replace(RULES.explore, pairs=30), BUDGET, lambda _: None)
        same = arena.null(BUDGET)
    assert control.units == 2
    assert all(seconds > 0 for seconds in control.unit_seconds)
    assert fast.estimate is not None
    assert slow.estimate is not None
    print(f"fast {fast.estimate.ratio:.3f}, slow {slow.estimate.ratio:.3f}, same {same.ratio:.3f}")
    assert fast.candidate.outcome is Outcome.OK
    assert fast.estimate.ratio < 0.5
    assert pairs == list(range(1, len(fast.log_ratios) + 1))
    assert slow.candidate.outcome is Outcome.PRUNED
    assert len(slow.log_ratios) < 30
    assert fast.estimate.mean < same.mean < slow.estimate.mean


def test_a_duel_keeps_every_sample_and_alternates(faulty_arena: Arena):
    duel = fight(faulty_arena, Faulty(block=2048))
    assert len(duel.candidate.used) == len(duel.control_samples) == len(duel.log_ratios)
    assert [sample.unit for sample in duel.control_samples][:6] == [0, 0, 1, 1, 0, 0]
    warmups = [sample for sample in duel.candidate.samples if not sample.used]
    assert len(warmups) >= 4  # each unit once, then unit 0 at least twice more
    for ratio, ours, theirs in zip(duel.log_ratios, duel.candidate.used, duel.control_samples, strict=True):
        assert ratio == pytest.approx(np.log(ours.seconds / theirs.seconds))
    assert all(gate.passed for gate in duel.candidate.gates)
    assert duel.candidate.peak_memory_bytes > 1 << 20


@pytest.mark.parametrize(
    ("fault", "outcome", "words"),
    [
        ("nan", Outcome.WRONG_OUTPUT, "unit 0: gate finite failed: 1 against a limit of 0"),
        ("shifted", Outcome.WRONG_OUTPUT, "gate close failed: 0.001 against a limit of 1e-09"),
        (
            "short",
            Outcome.WRONG_OUTPUT,
            "gate compare failed: 1 against a limit of 0 (comparisons that raised ValueError",
        ),
        ("segfault", Outcome.CRASHED, "SIGSEGV"),
        (
            "hang",
            Outcome.TIMED_OUT,
            f"no answer to 'run' within {RULES.warm_floor_seconds} s; the default settings open in",
        ),
    ],
)
def test_faults_are_the_candidates_and_the_arena_goes_on(faulty_arena: Arena, fault: str, outcome: Outcome, words: str):
    duel = fight(faulty_arena, Faulty(fault=fault))
    assert duel.candidate.outcome is outcome
    assert words in duel.candidate.reason
    assert (duel.estimate, duel.log_ratios) == (None, ())


def test_the_arena_is_sound_after_all_faults(faulty_arena: Arena):
    assert fight(faulty_arena, Faulty(block=2048)).candidate.outcome is Outcome.OK


def test_a_dead_control_is_replaced(faulty_arena: Arena):
    assert faulty_arena._control is not None
    dead = faulty_arena._control.child
    dead.close()
    assert fight(faulty_arena, Faulty(block=2048)).candidate.outcome is Outcome.OK
    assert faulty_arena._control.child is not dead


def test_a_spent_budget_leaves_the_arena_usable(faulty_arena: Arena):
    with pytest.raises(BudgetSpentError):
        fight(faulty_arena, Faulty(fault="hang"), Budget.of(0.7))
    assert fight(faulty_arena, Faulty(block=2048)).candidate.outcome is Outcome.OK


def test_disturbed_blocks_are_repeated_but_not_forever():
    always = Guard(foreign_cores=-1000.0)
    with enter("flat", replace(RULES, guard=always, disturbed_repeats=2)) as arena:
        arena.start(BUDGET)
        duel = fight(arena, toy_subject.Flat(spare=1))
    noted = [sample for sample in duel.control_samples if sample.note]
    assert len(noted) == len(duel.control_samples) == len(duel.log_ratios) + 2
    assert sum(not sample.used for sample in duel.control_samples) == 2


def test_defaults_that_do_not_run_are_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("autotune.knobs.default", lambda _: Faulty(fault="exception"))
    with enter("faulty") as arena, pytest.raises(TrialError, match=r"do not run here \(crashed\).*the toy broke"):
        arena.start(BUDGET)


def test_too_little_memory_for_two_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(arena_module, "available_memory_bytes", lambda: 1 << 20)
    with enter("flat") as arena, pytest.raises(TrialError, match="too little for a second process"):
        arena.start(BUDGET)


def test_when_a_duel_is_over():
    rules = Rules()
    assert surely_slower([0.5, 0.5], rules) == ""
    assert "each of 3 pairs" in surely_slower([0.5, 0.5, 0.5], rules)
    assert surely_slower([0.05] * 6, rules) == ""  # 1/64 is not below 0.01 yet
    assert "p = 0.0078 after 7 pairs" in surely_slower([0.05] * 7, rules)
    assert surely_slower([-0.05] * 20, rules) == ""
    generator = np.random.default_rng(1)
    assert not settled([0.0] * 5, rules.explore, rules, generator)
    assert settled([0.0] * 6, rules.explore, rules, generator)
    assert not settled([0.0] * 20, rules.null, rules, generator)


def test_early_drop_in_simulation():
    """A tenth slower is nearly always dropped, 3 % faster never; log-ratios spread by 3 %."""
    generator = np.random.default_rng(4)

    def dropped_at(shift: float) -> int:
        ratios: list[float] = []
        for value in generator.normal(shift, 0.03, 12):
            ratios.append(float(value))
            if surely_slower(ratios, Rules()):
                return len(ratios)
        return 0

    slower = [dropped_at(0.1) for _ in range(200)]
    faster = [dropped_at(-0.03) for _ in range(200)]
    print(f"a tenth slower: dropped {np.mean(np.array(slower) > 0):.0%}, after {np.mean(slower):.1f} pairs")
    assert sum(count > 0 for count in slower) >= 190
    assert sum(faster) == 0


def test_resolution_is_the_far_end_of_the_null():
    assert resolution(Estimate(0.0, -0.03, 0.01, 12)) == pytest.approx(np.expm1(0.03))
