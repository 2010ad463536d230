"""`tune` with a session and a report, and `report`: what they hand on, and what they leave behind."""

from pathlib import Path
from typing import Any

import pytest
from bad_files import HERE
from running import Run

from autotune import knobs, store
from autotune.decision import Decision, TrialRecord
from autotune.duel import Control
from autotune.folder import SessionFolder
from autotune.measure import Outcome
from autotune.profile import Profile
from autotune.stats import Estimate
from sovits_rt.cli import tune as command
from sovits_rt.settings import SemanticSettings, Settings
from sovits_rt.tuning import EFFORTS, PUBLISHED_SHAPE, _profile, effort_for, subject_for

WIDE = Settings(semantic=SemanticSettings(slots=16))
FASTER = Estimate(-0.25, -0.3, -0.2, 12)
TRIAL = TrialRecord(
    1, WIDE, tuple(knobs.changes(Settings(), WIDE)), Outcome.OK, "", FASTER, (-0.25,) * 12, 3.0, 1 << 28, 20.0
)
DECISION = Decision(
    settings=WIDE,
    status="candidate",
    reason="the session did not end",
    ratio=FASTER.ratio,
    ci_low=FASTER.ratio_low,
    ci_high=FASTER.ratio_high,
    pairs=12,
    resolution=0.02,
    trials=1,
    seconds=30.0,
    seed=0,
    control=Control(2.0, (0.5,), (1,), 1 << 28),
    samples=(-0.25,) * 12,
    finals=(),
    history=(TRIAL,),
    machine=HERE,
)


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """What a session leaves that was killed after its first trial."""
    path = tmp_path / "session"
    with SessionFolder(path, resume=False, identity={}) as folder:
        folder.study.touch()
        folder.keep(TRIAL)
        folder.keep_decision(DECISION)
    return path


def test_the_report_of_a_session_is_written_again(run: Run, session: Path) -> None:
    answer = run("report", session)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("Not finished (the session did not end): the best so far takes 0.779")
    assert answer.out.endswith(f"Written to {session / 'report.html'}\n")
    assert "semantic.slots: 4 -&gt; 16" in (session / "report.html").read_text(encoding="utf-8")
    assert run("report", session, "-o", "here.html", "--terminal", "terminal.svg").code == 0
    assert Path("here.html").read_bytes() == (session / "report.html").read_bytes()
    assert "semantic.slots" in Path("terminal.svg").read_text(encoding="utf-8")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, golden: Any) -> dict[str, Any]:
    """What `tune` asks of the library; measuring takes minutes, and tests/autotune does it."""
    seen: dict[str, Any] = {}

    def answered(paths: Any, shape: str, machine: Any, **options: Any) -> tuple[Profile, Decision]:
        seen.update(options)
        name = subject_for(paths, PUBLISHED_SHAPE, brief=True)
        return _profile(DECISION, name, HERE), DECISION

    monkeypatch.setattr(command, "tune", answered)
    seen["words"] = ["tune", "--gpt", golden.checkpoint("t2s_v2"), "--sovits", golden.checkpoint("sovits_v2")]
    return seen


@pytest.mark.parametrize(
    ("words", "effort", "budget", "trials"),
    [
        ((), "normal", 600.0, 40),
        (("--effort", "quick"), "quick", 90.0, 6),
        (("--effort", "full", "--budget", "7200"), "full", 7200.0, 200),
        (("--budget", "100"), "quick", 100.0, 6),
        (("--budget", "1000", "--trials", "9"), "normal", 1000.0, 9),
    ],
)
def test_effort_budget_and_trials(
    run: Run, asked: dict[str, Any], words: tuple[str, ...], effort: str, budget: float, trials: int
) -> None:
    assert run(*asked["words"], *words).code == 0
    assert (asked["effort"], asked["budget_seconds"], asked["max_trials"]) == (effort, budget, trials)
    assert (asked["session"], asked["resume"]) == (None, False)


def test_the_scenario_and_its_memory_are_handed_on(run: Run, asked: dict[str, Any]) -> None:
    assert run(*asked["words"], "--scenario", "latency").code == 0
    assert (asked["scenario"], asked["memory_bytes"]) == ("latency", 0)
    assert run(*asked["words"], "--scenario", "low-memory", "--memory", "1.5G").code == 0
    assert (asked["scenario"], asked["memory_bytes"]) == ("low-memory", 3 << 29)
    assert run(*asked["words"]).code == 0
    assert (asked["scenario"], asked["memory_bytes"]) == ("throughput", 0)


def test_more_effort_is_more_of_everything() -> None:
    quick, normal, full = (EFFORTS[name] for name in ("quick", "normal", "full"))
    assert [each.brief for each in (quick, normal, full)] == [True, False, False]
    for less, more in ((quick, normal), (normal, full)):
        assert less.budget_seconds < more.budget_seconds
        assert less.trials < more.trials
        assert less.rules.explore.pairs < more.rules.explore.pairs
        assert less.rules.final_rounds < more.rules.final_rounds
    assert [effort_for(seconds) for seconds in (90.0, 299.0, 300.0)] == ["quick", "quick", "normal"]


def test_a_session_gets_its_profile_and_its_report(run: Run, asked: dict[str, Any], session: Path) -> None:
    assert run(*asked["words"], "--session", session, "--resume", "--report", "mine.html").code == 0
    assert (asked["session"], asked["resume"]) == (session, True)
    (profile,) = store.files(session)
    text = Path("mine.html").read_text(encoding="utf-8")
    assert store.load(profile).id in text
    assert (session / "report.html").read_text(encoding="utf-8") == text
    assert run("report", session, "-o", "again.html").code == 0
    assert Path("again.html").read_text(encoding="utf-8") == text
