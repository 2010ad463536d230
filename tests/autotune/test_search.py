"""The explorer against a known table, and whole sessions with live processes."""

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import toy_subject
from test_arena import RULES
from toy_subject import Faulty, Flat, Speed, Toy

from autotune import knobs
from autotune.decision import Silent, TrialRecord
from autotune.errors import SearchError
from autotune.knobs import Choice, IntRange, knob
from autotune.measure import Outcome
from autotune.search import Explorer
from autotune.subject import SubjectName
from autotune.tuner import tune

STRICT = replace(RULES, promote_margin=0.3)  # the luck of a busy machine must not look like a gain
MACHINE = toy_subject.toy_machine()


@dataclass(frozen=True, slots=True)
class Wide:
    threads: int = knob(IntRange(1, 16, log=True), default=1, doc="Four are best.")
    kind: str = knob(Choice(("plain", "fused", "broken")), default="plain", doc="One is faster, one does not work.")
    window: int = knob(Choice((8, 16, 32, 64)), default=8, doc="32 is best.")


class WideSubject(Toy):
    name = "wide"

    def __init__(self) -> None:
        self.settings_type = Wide

    def reject(self, settings: Any, machine: Any) -> str | None:
        return "too many threads" if settings.threads == 16 else None


def log_ratio(settings: Wide) -> float | None:
    """The recorded table: None is a crash."""
    if settings.kind == "broken":
        return None
    return (
        0.3 * abs(math.log2(settings.threads) - 2)
        - 0.6
        - 0.2 * (settings.kind == "fused")
        + 0.1 * abs(math.log2(settings.window) - 5)
        - 0.2
    )


def explore(explorer: Explorer, trials: int) -> list[Wide]:
    tried: list[Wide] = []
    while len(tried) < trials:
        proposal = explorer.propose(len(tried) / trials)
        if proposal is None:
            break
        if proposal.rejected:
            explorer.learn(proposal, None, {})
            continue
        tried.append(proposal.settings)
        explorer.learn(proposal, log_ratio(proposal.settings), {})
    return tried


def explorer_of(
    subject: Any, *, seeds: Sequence[Any] = (), storage: Path | None = None, trials: int = 30, seed: int = 0
) -> Explorer:
    return Explorer(subject, MACHINE, seeds=seeds, storage=storage, seed=seed, trials=trials)


def test_the_explorer_finds_the_best_of_a_table():
    best = log_ratio(Wide(4, "fused", 32))
    assert best is not None
    for seed in range(3):
        tried = explore(explorer_of(WideSubject(), seed=seed), 30)
        found = min(value for value in map(log_ratio, tried) if value is not None)
        print(f"seed {seed}: {found - best:.3f} from the best of 192, {len(tried)} trials")
        assert found - best <= 0.1


def test_nothing_is_proposed_twice_nor_the_default_nor_what_is_rejected():
    tried = explore(explorer_of(WideSubject()), 30)
    assert len({knobs.key(each) for each in tried}) == len(tried) == 30
    assert Wide() not in tried
    assert all(each.threads != 16 for each in tried)


def test_seeds_come_first_and_are_fitted_to_the_machine():
    tried = explore(explorer_of(WideSubject(), seeds=[Wide(threads=99), Wide(kind="fused")]), 3)
    assert tried[0] == Wide(kind="fused")  # 99 threads became 16, which the subject rejects


def test_a_small_space_is_used_up():
    explorer = explorer_of(Toy("flat"))
    seen = []
    while (proposal := explorer.propose(0.0)) is not None:
        seen.append(proposal.settings)
        explorer.learn(proposal, None if proposal.rejected else 0.1, {})
    assert sorted(each.spare for each in seen) == [1, 2, 3, 4, 5]


def test_late_in_the_search_the_neighbours_of_the_best_are_tried():
    explorer = explorer_of(WideSubject(), seeds=[Wide(4, "fused", 16)])
    first = explorer.propose(0.0)
    assert first is not None
    explorer.learn(first, -1.0, {})
    late = explorer.propose(0.9)
    assert late is not None
    assert late.settings in set(knobs.neighbours(Wide(4, "fused", 16), MACHINE))


def test_a_stored_study_is_continued(tmp_path: Path):
    storage = tmp_path / "study.db"
    first = explorer_of(WideSubject(), storage=storage)
    tried = explore(first, 4)
    first.propose(0.0)  # left open, as by a killed session
    first.close()
    best = min((each for each in tried if log_ratio(each) is not None), key=lambda each: log_ratio(each) or 0.0)
    second = explorer_of(WideSubject(), storage=storage)
    proposal = second.propose(0.0)
    assert proposal is not None
    assert proposal.settings == best
    second.close()
    with sqlite3.connect(storage) as database:
        states = [state for (state,) in database.execute("select state from trials")]
    database.close()
    assert states.count("RUNNING") == 1  # the proposal of the second session alone
    assert states.count("FAIL") == 1


def test_a_storage_without_a_folder_is_refused(tmp_path: Path):
    with pytest.raises(SearchError, match="does not exist"):
        explorer_of(WideSubject(), storage=tmp_path / "nowhere" / "study.db")


class Watcher(Silent):
    """Remembers the trials, and may press Ctrl-C after some."""

    def __init__(self, interrupt_after: int = 1000) -> None:
        self.records: list[TrialRecord] = []
        self._interrupt_after = interrupt_after

    def on_trial_end(self, record: TrialRecord) -> None:
        self.records.append(record)
        if len(self.records) >= self._interrupt_after:
            raise KeyboardInterrupt


def name_of(kind: str) -> SubjectName:
    return SubjectName("toy_subject:Toy", {"kind": kind})


def test_a_faster_setting_is_found_and_verified():
    decision = tune(name_of("speed"), MACHINE, budget_seconds=60, max_trials=5, rules=RULES, seed=3)
    print(f"ratio {decision.ratio:.3f} ({decision.ci_low:.3f} to {decision.ci_high:.3f}), {decision.pairs} pairs")
    assert decision.status == "verified"
    assert decision.settings.block in (256, 2048)
    assert decision.ratio < decision.ci_high < 0.8
    assert len(decision.samples) == decision.pairs >= 8
    assert decision.trials == sum(each.outcome is not Outcome.REJECTED for each in decision.history)
    assert psutil.Process().children() == []


def test_when_nothing_is_faster_the_default_is_confirmed():
    decision = tune(name_of("flat"), MACHINE, budget_seconds=60, max_trials=2, rules=STRICT)
    assert (decision.status, decision.settings, decision.ratio) == ("default-confirmed", Flat(), 1.0)
    assert decision.reason


def test_the_search_goes_on_after_every_fault():
    watcher = Watcher()
    faults = ("abort", "nan", "memory text", "import")
    seeds = [Faulty(fault=fault) for fault in faults] + [Faulty(block=2048)]
    decision = tune(
        name_of("faulty"), MACHINE, budget_seconds=60, max_trials=5, seeds=seeds, rules=RULES, listener=watcher
    )
    assert [each.outcome for each in watcher.records] == [
        Outcome.CRASHED,
        Outcome.WRONG_OUTPUT,
        Outcome.OUT_OF_MEMORY,
        Outcome.IMPORT_FAILED,
        Outcome.OK,
    ]
    assert (decision.status, decision.settings) == ("verified", Faulty(block=2048))


def test_ctrl_c_gives_the_best_so_far_as_a_candidate():
    decision = tune(
        name_of("speed"),
        MACHINE,
        budget_seconds=60,
        max_trials=8,
        seeds=[Speed(block=2048)],
        rules=RULES,
        listener=Watcher(interrupt_after=1),
    )
    assert (decision.status, decision.settings, decision.trials) == ("candidate", Speed(block=2048), 1)
    assert decision.ci_high < 0.8
    assert psutil.Process().children() == []


def test_stop_before_anything_is_faster_keeps_the_default():
    watcher = Watcher()
    decision = tune(
        name_of("flat"),
        MACHINE,
        budget_seconds=60,
        max_trials=8,
        rules=STRICT,
        listener=watcher,
        stop=lambda: len(watcher.records) >= 1,
    )
    assert (decision.status, decision.settings, decision.pairs) == ("candidate", Flat(), 0)


def test_a_budget_that_is_too_short_is_refused():
    with pytest.raises(SearchError, match="give more time"):
        tune(name_of("flat"), MACHINE, budget_seconds=0.1, max_trials=8, rules=RULES)
    with pytest.raises(SearchError, match="must be above 0"):
        tune(name_of("flat"), MACHINE, budget_seconds=10, max_trials=0, rules=RULES)


def test_the_budget_ends_the_search_and_leaves_time_for_finals():
    decision = tune(
        name_of("speed"),
        MACHINE,
        budget_seconds=4,
        max_trials=1000,
        seeds=[Speed(block=2048)],
        rules=replace(RULES, explore=replace(RULES.explore, pairs=20)),
    )
    print(f"{decision.seconds:.1f} s of 4, {decision.trials} trials, {decision.status}: {decision.reason}")
    assert decision.trials < 1000
    assert decision.status in ("verified", "candidate")
