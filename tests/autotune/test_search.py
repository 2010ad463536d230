"""The explorer against a known table, and whole sessions with live processes."""

import json
import math
import signal
import sqlite3
import subprocess
import sys
import time
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
from autotune.folder import SessionFolder, recorded
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


def states(storage: Path) -> list[str]:
    database = sqlite3.connect(storage)
    try:
        return [state for (state,) in database.execute("select state from trials")]
    finally:
        database.close()


def test_a_stored_study_is_continued(tmp_path: Path):
    storage = tmp_path / "study.sqlite"
    first = explorer_of(WideSubject(), seeds=[Wide(kind="fused"), Wide(threads=2)], storage=storage)
    tried = explore(first, 1)
    first.close()
    second = explorer_of(WideSubject(), seeds=[Wide(window=64)], storage=storage)
    assert [settings for settings, _ in second.answered()] == [Wide(), *tried]
    tried += explore(second, 8)
    assert tried[:2] == [Wide(kind="fused"), Wide(threads=2)]  # the seeds of the first are still in the queue
    assert len({knobs.key(each) for each in tried}) == len(tried)
    second.close()


def test_what_killed_the_session_twice_is_not_tried_again(tmp_path: Path):
    storage = tmp_path / "study.sqlite"
    deadly = Wide(threads=8, kind="fused")
    for _ in range(2):
        explorer = explorer_of(WideSubject(), seeds=[deadly], storage=storage)
        proposal = explorer.propose(0.0)
        assert proposal is not None
        assert (proposal.settings, proposal.rejected) == (deadly, "")
        explorer.close()  # without an answer, as by a kill
    explorer = explorer_of(WideSubject(), storage=storage)
    proposal = explorer.propose(0.0)
    assert proposal is not None
    assert proposal.settings == deadly
    assert "killed 2 times" in proposal.rejected
    explorer.learn(proposal, None, {"outcome": "rejected"})
    assert deadly not in explore(explorer, 8)
    explorer.close()
    assert "RUNNING" not in states(storage)


def test_what_was_cut_off_in_order_is_tried_again(tmp_path: Path):
    storage = tmp_path / "study.sqlite"
    for _ in range(4):
        explorer = explorer_of(WideSubject(), seeds=[Wide(threads=8)], storage=storage)
        proposal = explorer.propose(0.0)
        assert proposal is not None
        assert (proposal.settings, proposal.rejected) == (Wide(threads=8), "")
        explorer.forget(proposal)
        explorer.close()
    assert states(storage).count("FAIL") == 4


def test_an_answer_counts_although_its_last_step_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    storage = tmp_path / "study.sqlite"
    first = explorer_of(WideSubject(), seeds=[Wide(threads=8)], storage=storage)
    proposal = first.propose(0.0)
    assert proposal is not None
    monkeypatch.setattr(first, "_tell", lambda number, log_ratio: None)
    first.learn(proposal, -0.5, {"outcome": "ok"})
    first.close()
    assert states(storage).count("RUNNING") == 1
    second = explorer_of(WideSubject(), storage=storage)
    assert second.answered()[-1] == (Wide(threads=8), {"outcome": "ok", "log_ratio": -0.5})
    second.close()
    assert "RUNNING" not in states(storage)


def test_the_knob_that_matters_is_the_most_important():
    explorer = explorer_of(WideSubject())
    assert explorer.importances() == {}
    explore(explorer, 60)
    found = explorer.importances()
    print(found)
    assert next(iter(found)) == "threads"  # it moves the log-ratio by up to 0.6, the others by 0.2 and 0.3
    assert sum(found.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("content", [b"this is no database " * 100, None])
def test_what_is_no_study_is_refused(tmp_path: Path, content: bytes | None):
    path = tmp_path / "study.sqlite" if content else tmp_path / "nowhere" / "study.sqlite"
    if content:
        path.write_bytes(content)
    with pytest.raises(SearchError, match="can't be used as a study"):
        explorer_of(WideSubject(), storage=path)


def test_a_database_of_something_else_is_refused(tmp_path: Path):
    database = sqlite3.connect(tmp_path / "other.sqlite")
    database.execute("create table songs (title text)")
    database.commit()
    database.close()
    with pytest.raises(SearchError, match="something else"):
        explorer_of(WideSubject(), storage=tmp_path / "other.sqlite")


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


def test_a_session_is_resumed_where_it_was_stopped(tmp_path: Path):
    session = tmp_path / "session"
    seeds = [Speed(block=32), Speed(block=2048), Speed(block=256)]
    watcher = Watcher(interrupt_after=2)
    first = tune(
        name_of("speed"), MACHINE, budget_seconds=600, max_trials=4, seeds=seeds, rules=RULES, session=session,
        listener=watcher,
    )  # fmt: skip
    assert (first.status, first.trials) == ("candidate", 2)
    with pytest.raises(SearchError, match="holds a session already"):
        tune(name_of("speed"), MACHINE, budget_seconds=600, max_trials=4, rules=RULES, session=session)
    with pytest.raises(SearchError, match="kind: speed -> flat"):
        tune(name_of("flat"), MACHINE, budget_seconds=600, max_trials=4, rules=RULES, session=session, resume=True)
    after = Watcher()
    second = tune(
        name_of("speed"), MACHINE, budget_seconds=600, max_trials=4, rules=RULES, session=session, resume=True,
        listener=after,
    )  # fmt: skip
    assert next(each.number for each in after.records if each.outcome is not Outcome.REJECTED) == 3
    assert list(second.history[:2]) == [replace(each, stderr="") for each in watcher.records]
    assert second.trials == 4
    assert second.seconds > first.seconds
    assert second.status in ("verified", "default-confirmed")  # it came to an end; which one is a matter of load
    assert psutil.Process().children() == []
    folders = sorted(each.name for each in (session / "trials").iterdir())
    assert folders == [f"{each.number:03d}" for each in second.history]
    samples = json.loads((session / "trials" / "001" / "samples.json").read_text())
    assert len(samples["control_samples"]) == len(second.history[0].control_samples) > 0
    assert (session / "trials" / "001" / "settings.yaml").read_text() == "block: 32\nspare: 0\n"
    assert "a library that prints" in (session / "trials" / "001" / "stderr.txt").read_text()
    read = recorded(session)
    assert [each.settings for each in read.history] == [knobs.dump(each.settings) for each in second.history]
    assert read.to_dict() == second.to_dict()
    assert replace(read.history[0], settings=None) == replace(second.history[0], settings=None, stderr="")


def test_resuming_needs_a_session(tmp_path: Path):
    for session, words in ((tmp_path, "no session to resume"), (None, "name the folder")):
        with pytest.raises(SearchError, match=words):
            tune(name_of("flat"), MACHINE, budget_seconds=600, max_trials=1, session=session, resume=True)
    with pytest.raises(SearchError, match="no session"):
        recorded(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SearchError, match="can't be a session's folder"):
        tune(name_of("flat"), MACHINE, budget_seconds=600, max_trials=1, session=tmp_path / "file")


def test_a_session_has_one_owner(tmp_path: Path):
    with SessionFolder(tmp_path, resume=False, identity={}), pytest.raises(SearchError, match="another process"):
        SessionFolder(tmp_path, resume=False, identity={})
    with SessionFolder(tmp_path, resume=False, identity={}):
        pass


TUNES_FOREVER = """
import sys, test_search as here
here.tune(here.name_of("speed"), here.MACHINE, budget_seconds=600, max_trials=5, rules=here.RULES,
          session=here.Path(sys.argv[1]), resume=sys.argv[2] == "resume")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker notices the end of its session only later")
def test_a_killed_session_loses_nothing_and_leaves_nobody(tmp_path: Path):
    """SIGKILL at two moments; each time what was answered is there, and the next one goes on."""
    session = tmp_path / "session"
    study, trials = session / "study.sqlite", session / "trials"
    answered = 0
    for moment in (0, 2):  # how many trials are written down when it is killed
        words = [sys.executable, "-c", TUNES_FOREVER, str(session), "resume" if study.exists() else ""]
        running = subprocess.Popen(words, cwd=Path(__file__).parent)
        deadline = time.monotonic() + 600
        while not study.exists() or len(list(trials.iterdir())) < moment:
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        children = psutil.Process(running.pid).children(recursive=True)
        running.send_signal(signal.SIGKILL)
        running.wait()
        _, alive = psutil.wait_procs(children, timeout=60)
        assert alive == []
        explorer = explorer_of(Toy("speed"), storage=study)
        keys = [knobs.key(settings) for settings, attributes in explorer.answered() if "trial" in attributes]
        explorer.close()
        assert len(keys) == len(set(keys)) >= max(answered, moment - 1)  # the folder of a trial is written before
        answered = len(keys)
    decision = tune(
        name_of("speed"), MACHINE, budget_seconds=600, max_trials=5, rules=RULES, session=session, resume=True
    )
    print(f"{answered} trials were known after the kills, {len(decision.history)} in the end: {decision.status}")
    assert len(decision.history) >= answered
    assert "RUNNING" not in states(study)
