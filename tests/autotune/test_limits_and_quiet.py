"""A memory budget is kept, also where the defaults break it; pairs that were all disturbed prove nothing.

On the recorded machine, with sizes and disturbances made up.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import toy_subject
from test_arena import RULES as LIVE
from toy_subject import Speed

from autotune import knobs, table, trust
from autotune.arena import Arena
from autotune.decision import Decision
from autotune.duel import Control, Rules
from autotune.measure import Budget, Outcome
from autotune.subject import SubjectName
from autotune.table import Row, Table

PATH = Path(__file__).parent / "tables" / "nearest_centre.jsonl.xz"
MIB = 1 << 20
SMALL, DEFAULT, LARGE = 50 * MIB, 100 * MIB, 200 * MIB


@pytest.fixture(scope="module")
def recording() -> Table:
    return table.read(PATH)


def changed(recording: Table, change: Callable[[Row], Row], peak: int = DEFAULT) -> Table:
    controls = tuple(replace(each, peak_memory_bytes=peak) for each in recording.controls)
    return Table(recording.header, controls, tuple(change(row) for row in recording.rows))


def sized(recording: Table) -> Table:
    """Blocks of 128 columns are large, those of 16 small."""

    def with_size(row: Row) -> Row:
        columns = row.settings.get("method.product.columns", 32)
        return replace(row, memory_bytes={16: SMALL, 128: LARGE}.get(columns, DEFAULT))

    return changed(recording, with_size)


def memory_of(made: Table, decision: Decision) -> int:
    return max(row.memory_bytes for row in made.by_key[knobs.key(decision.settings)])


def test_without_a_limit_the_fastest_is_large(recording: Table):
    made = sized(recording)
    decision = trust.replayed(made, 1)
    assert (decision.status, memory_of(made, decision)) == ("verified", LARGE)


def test_a_limit_keeps_out_what_needs_more(recording: Table):
    made = sized(recording)
    decision = trust.replayed(made, 1, rules=replace(Rules(), memory_limit_bytes=DEFAULT))
    print(decision.reason)
    assert (decision.status, memory_of(made, decision)) == ("verified", DEFAULT)
    refused = [each for each in decision.history if each.outcome is Outcome.OUT_OF_MEMORY]
    assert refused
    assert refused[0].reason == "held 200 MiB at its peak, 100 MiB are allowed"


def test_where_the_defaults_need_too_much_a_slower_one_is_chosen(recording: Table):
    """Only the small ones fit, and those were made slower than the defaults."""

    def slower(row: Row) -> Row:
        slowed = tuple(each + 2.0 for each in row.log_ratios)
        return replace(row, log_ratios=slowed) if row.memory_bytes == SMALL else row

    made = changed(sized(recording), slower)
    decision = trust.replayed(made, 1, rules=replace(Rules(), memory_limit_bytes=SMALL))
    print(decision.status, decision.ratio, decision.reason)
    assert (decision.status, memory_of(made, decision)) == ("verified", SMALL)
    assert decision.ratio > 1
    assert "the defaults need too much memory" in decision.reason


def test_where_nothing_fits_nothing_is_called_verified(recording: Table):
    decision = trust.replayed(sized(recording), 1, rules=replace(Rules(), memory_limit_bytes=SMALL - 1), max_trials=8)
    assert (decision.status, knobs.key(decision.settings)) == ("candidate", knobs.key(recording.default))
    assert "as little memory as is allowed" in decision.reason


def test_live_processes_are_held_to_the_limit():
    """The peak that the kernel counted, read in the worker."""
    name, machine = SubjectName("toy_subject:Toy", {"kind": "speed"}), toy_subject.toy_machine()
    budget = Budget.of(300.0)
    with Arena(name, name.create(), machine, replace(LIVE, memory_limit_bytes=MIB), seed=0) as arena:
        control: Control = arena.start(budget)
        duel = arena.duel(Speed(block=2048), LIVE.explore, budget, lambda _: None)
    assert control.peak_memory_bytes > MIB
    assert duel.candidate.outcome is Outcome.OUT_OF_MEMORY
    assert duel.candidate.reason.endswith("at its peak, 1 MiB are allowed")


def test_pairs_that_were_all_disturbed_verify_nothing(recording: Table):
    made = changed(recording, lambda row: replace(row, disturbed=tuple(range(len(row.log_ratios)))))
    decision = trust.replayed(made, 1)
    print(decision.reason)
    assert decision.status == "candidate"
    assert knobs.key(decision.settings) != knobs.key(recording.default)
    assert "something disturbed all" in decision.reason


def test_a_default_is_not_confirmed_by_disturbed_pairs(recording: Table):
    best = trust.best(recording)
    made = changed(recording, lambda row: replace(row, disturbed=tuple(range(len(row.log_ratios)))))
    decision = trust.replayed(made, 2, default=best)
    print(decision.status, decision.reason)
    raced = [each for each in decision.finals if each.control_samples]
    assert decision.status == ("candidate" if raced else "default-confirmed")


def test_some_disturbed_pairs_do_no_harm(recording: Table):
    made = changed(recording, lambda row: replace(row, disturbed=(0, 5) if len(row.log_ratios) > 8 else ()))
    assert trust.replayed(made, 1).status == "verified"
