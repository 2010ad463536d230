"""`sovits-rt profile`: why a profile is used, what differs, whether it holds here, and sharing it."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from bad_files import HERE, profile
from running import Run

from autotune import arena, store
from autotune.duel import Control, Duel, Effort, OnPair
from autotune.fingerprint import fingerprint, software_stamp
from autotune.machine import Machine
from autotune.measure import Budget, Gate, Measurement, Outcome
from autotune.profile import Evidence, Match, Profile, Provenance, profile_id
from autotune.stats import NO_DIFFERENCE, Estimate
from sovits_rt import selection
from sovits_rt.checkpoints.shape import preview
from sovits_rt.cli import profile as commands
from sovits_rt.scenarios import DEFAULT_SCENARIO
from sovits_rt.tuning import PUBLISHED_SHAPE, subject_name

PUBLISHED = subject_name(PUBLISHED_SHAPE)
LARGER = replace(HERE, cpu=replace(HERE.cpu, logical_cores=8, physical_cores=4, affinity=tuple(range(8))))


@pytest.fixture(autouse=True)
def nothing_known(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `run`, which sets a folder that tests share."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(commands, "probe", lambda: HERE)


def evidence(**changes: Any) -> Evidence:
    parts: dict[str, Any] = {
        "objective": "seconds of a paragraph",
        "unit": "seconds, smaller is better",
        "control_seconds": 1.25,
        "ratio": 0.5,
        "ci_low": 0.48,
        "ci_high": 0.52,
        "pairs": 14,
        "resolution": 0.02,
        "trials": 9,
        "tuning_seconds": 88.0,
        "software": software_stamp(HERE),
        "date": "2026-01-02",
    }
    return Evidence(**{**parts, **changes})


def measured(on: Machine = HERE, **changes: Any) -> Profile:
    """Verified on a machine; changes: of its fields."""
    facts = fingerprint(on)
    subject = changes.pop("subject", PUBLISHED)
    parts = {"id": profile_id(facts, subject, DEFAULT_SCENARIO), "match": Match.of(facts), "status": "verified"}
    return profile(subject, **{**parts, "evidence": evidence(), **changes})


def stored(made: Profile) -> Profile:
    store.save(made, selection.profile_folder())
    return made


def test_show_is_for_people(run: Run) -> None:
    made = stored(measured(provenance=Provenance("sovits-rt", "0.1.0", note="a [b]note[/b] \x1b[31mred")))
    shown = run("profile", "show", made.id).out
    text = " ".join(shown.split())
    for words in (
        "Verified, surely faster",
        "0.500 of the default's time (95 %: 0.480 to 0.520) over 14 pairs",
        "1.25 s: seconds of a paragraph",
        "semantic.slots",
        "[b]note[/b]",
        "torch 2.13.0",
        "won a search on such a machine",
    ):
        assert words in text
    assert "\x1b" not in shown
    assert (
        yaml.safe_load(run("profile", "show", made.id, "--yaml").out) == run("profile", "show", made.id, "--json").json
    )
    guess = stored(profile(PUBLISHED, id="guess", provenance=Provenance("t", "1", origin="derived", source="a rule")))
    shown = " ".join(run("profile", "show", guess.id).out.split())
    assert "nothing was measured" in shown
    assert "a rule" in shown


def test_list_shows_no_gain_where_none_was_measured(run: Run) -> None:
    stored(measured())
    stored(measured(id="crashed", status="rejected", evidence=evidence(ratio=1.0, pairs=0)))
    rows = {line.split()[1]: line for line in run("profile", "list").out.splitlines() if "yours" in line}
    assert len(rows) == 2
    assert "2.00x" in next(line for line in rows.values() if "verified" in line)
    assert "1.00x" not in next(line for line in rows.values() if "rejected" in line)


def test_explain_says_why_and_where_from(run: Run, tmp_path: Path) -> None:
    mine = stored(measured())
    store.save(measured(LARGER), tmp_path / "shipped")
    store.save(measured(id="other", subject="gpt-sovits-1x2-3"), tmp_path / "shipped")
    told = run("profile", "explain", "--set", "acoustic.window=200", "--json").json
    assert (told["selected"], told["tuned_here"]) == (f"{mine.id} + acoustic.window=200", True)
    assert [each["how"] for each in told["considered"]] == ["exact-local", "nearest", ""]
    assert "made for gpt-sovits-1x2-3" in told["considered"][2]["reason"]
    sources = {each["path"]: each["source"] for each in told["knobs"]}
    assert (sources["process.device"], sources["semantic.slots"]) == ("default", "local profile")
    assert sources["acoustic.window"] == "--set"
    people = " ".join(run("profile", "explain").out.split())
    for words in (mine.id[:20], "made for this machine", "local profile", "Sentences decoded together", PUBLISHED):
        assert words in people
    assert "1 more do not count here" in people
    assert "8 (default 4)" in people
    assert run("profile", "explain", "default", "--json").json["selected"] == "default"


def test_explain_is_about_the_models_that_are_given(run: Run, golden: Any) -> None:
    pair = (golden.checkpoint("t2s_v2"), golden.checkpoint("sovits_v2"))
    told = run("profile", "explain", "--gpt", pair[0], "--sovits", pair[1], "--json").json
    assert told["subject"] == subject_name(preview(*pair).shape) != PUBLISHED
    assert (told["selected"], told["considered"]) == ("default", [])
    assert "the defaults are used" in told["notes"][0]


def test_diff_shows_knobs_and_evidence(run: Run) -> None:
    a = stored(measured(id="a"))
    b = measured(id="b", settings={"semantic": {"slots": 16, "backend": "compiled"}})
    stored(replace(b, evidence=evidence(ratio=0.4, software={"torch": "2.12.0"})))
    told = run("profile", "diff", "a", "b", "--json").json
    assert {"path": "semantic.slots", "a": 8, "b": 16} in told["knobs"]
    assert {"path": "semantic.backend.compiled.mode", "a": None, "b": "default"} in told["knobs"]
    assert {each["what"] for each in told["evidence"]} == {"evidence", "software"}
    people = " ".join(run("profile", "diff", "a", "b").out.split())
    assert "0.400 of the default's time" in people
    assert "Measured with different software" in people
    assert "Both have the same settings" in run("profile", "diff", "a", "a").out
    against = run("profile", "diff", "default", "a", "--json").json
    assert against["knobs"] == [{"path": "semantic.slots", "a": 4, "b": 8}]
    stored(measured(LARGER, id="c", settings=a.settings))
    assert "different machines or models" in " ".join(run("profile", "diff", "a", "c").out.split())


def test_export_and_import(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands.sharing, "own_names", lambda: ("alice-pc", "alice"))
    mine = stored(measured(provenance=Provenance("sovits-rt", "0.1.0", note="tuned on alice-pc for /mnt/alice/a.ckpt")))
    answer = run("profile", "export", mine.id, "mine.yaml")
    assert answer.out == "Written to mine.yaml; left out: provenance.note\n"
    text = Path("mine.yaml").read_text(encoding="utf-8")
    assert "alice" not in text
    assert "alice" not in run("profile", "export", mine.id, "-").out
    assert store.load(Path("mine.yaml")).evidence == mine.evidence

    refused = run("profile", "export", mine.id, "mine.yaml")
    assert (refused.code, refused.err) == (1, "sovits-rt: mine.yaml is there already; --force replaces it.\n")
    assert run("profile", "export", mine.id, "mine.yaml", "--force").code == 0

    refused = run("profile", "import", "mine.yaml")
    assert refused.code == 1
    assert "is there already; --force replaces it." in refused.err
    assert store.load(selection.profile_folder() / f"{mine.id}.yaml") == mine, "what was verified here is untouched"
    answer = run("profile", "import", "mine.yaml", "--force")
    assert f"`sovits-rt profile verify {mine.id}`" in answer.out
    taken = store.load(selection.profile_folder() / f"{mine.id}.yaml")
    assert (taken.status, taken.provenance.origin, taken.evidence) == ("candidate", "imported", mine.evidence)
    assert not selection.select(HERE, PUBLISHED, None).tuned_here


class Judge:
    """In place of processes: the candidate takes half the default's time, or what a test says."""

    log_ratio, outcome = math.log(0.5), Outcome.OK

    def __init__(self, *_: Any) -> None:
        pass

    def __enter__(self) -> "Judge":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, budget: Budget) -> Control:
        assert 80 < budget.left() <= 90
        return Control(1.0, (1.0,), (1,), 1 << 20)

    def null(self, budget: Budget) -> Estimate:
        return NO_DIFFERENCE

    def renew(self, budget: Budget) -> None:
        pass

    def duel(self, settings: Any, effort: Effort, budget: Budget, on_pair: OnPair) -> Duel:
        assert effort.pairs == 16
        gate = Gate("tokens", self.outcome is Outcome.OK, 3.0, 0.0, "tokens that differ")
        seen = Measurement(self.outcome, "" if self.outcome is Outcome.OK else gate.sentence, (), (gate,), 1.0, 1)
        if self.outcome is not Outcome.OK:
            return Duel(seen, (), (), None)
        ratios = (self.log_ratio,) * 16
        return Duel(seen, (), ratios, Estimate(self.log_ratio, self.log_ratio - 0.02, self.log_ratio + 0.02, 16))


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> type[Judge]:
    from autotune import verification

    assert verification.Arena is arena.Arena

    class Own(Judge):
        pass

    monkeypatch.setattr(verification, "Arena", Own)
    return Own


@pytest.fixture
def models(golden: Any) -> list[str | Path]:
    return ["--gpt", golden.checkpoint("t2s_v2"), "--sovits", golden.checkpoint("sovits_v2")]


@pytest.fixture
def subject(models: list[str | Path]) -> str:
    return subject_name(preview(models[1], models[3]).shape)


def test_a_verified_shipped_profile_becomes_this_machines(
    run: Run, judge: type[Judge], models: list[str | Path], subject: str, tmp_path: Path
) -> None:
    shipped = measured(LARGER, subject=subject)
    store.save(shipped, tmp_path / "shipped")
    assert not selection.select(HERE, subject, None).tuned_here
    told = run("profile", "verify", *models, "--json").json
    assert (told["status"], told["pairs"], told["ratio"]) == ("verified", 16, pytest.approx(0.5))
    new = store.load(Path(told["profile"]))
    assert (new.id, new.match.facts) == (told["id"], fingerprint(HERE))
    assert (new.provenance.origin, new.provenance.source) == ("verified", shipped.id)
    assert new.evidence is not None
    assert new.evidence.samples["ratio"] == (0.5,) * 16
    assert [gate.name for gate in new.quality] == ["tokens"]
    chosen = selection.select(HERE, subject, None)
    assert (chosen.label, chosen.tuned_here) == (new.id, True)


def test_a_rejected_one_is_not_offered_again(
    run: Run, judge: type[Judge], models: list[str | Path], subject: str, tmp_path: Path
) -> None:
    store.save(measured(LARGER, subject=subject), tmp_path / "shipped")
    judge.outcome = Outcome.WRONG_OUTPUT
    answer = run("profile", "verify", *models)
    assert answer.code == 0
    assert answer.out.startswith("Rejected, not used: wrong output: ")
    (path,) = store.files(selection.profile_folder())
    assert store.load(path).status == "rejected"
    assert [gate.passed for gate in store.load(path).quality] == [False]
    assert selection.select(HERE, subject, None).label == "default"
    refused = run("profile", "verify", *models)
    assert refused.code == 1
    assert "the defaults are used; name one to verify, or use `sovits-rt tune`." in refused.err


@pytest.mark.parametrize(("gain", "status"), [(0.5, "verified"), (0.99, "stale"), (1.2, "rejected")])
def test_a_stale_profile_is_verified_again(
    run: Run, judge: type[Judge], models: list[str | Path], subject: str, gain: float, status: str
) -> None:
    old = measured(subject=subject, evidence=evidence(software={**software_stamp(HERE), "torch": "2.5.0"}))
    stored(old)
    assert not selection.select(HERE, subject, None).tuned_here
    judge.log_ratio = math.log(gain)
    told = run("profile", "verify", *models, "--json").json
    assert (told["id"], told["status"]) == (old.id, status)
    (path,) = store.files(selection.profile_folder())
    new = store.load(path)
    assert new.evidence is not None
    assert new.evidence.software == software_stamp(HERE)
    assert selection.select(HERE, subject, None).tuned_here == (status == "verified")


def test_an_imported_profile_is_verified_in_place(
    run: Run, judge: type[Judge], models: list[str | Path], subject: str
) -> None:
    Path("theirs.yaml").write_text(store.as_text(measured(subject=subject)), encoding="utf-8")
    assert run("profile", "import", "theirs.yaml").code == 0
    assert run("profile", "verify", "theirs.yaml", *models, "--json").json["status"] == "verified"
    (path,) = store.files(selection.profile_folder())
    assert store.load(path).provenance.origin == "verified"
    assert selection.select(HERE, subject, None).tuned_here


def test_nothing_is_stored_when_nothing_was_found_out(
    run: Run, judge: type[Judge], models: list[str | Path], subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stored(measured(subject=subject))

    def interrupted(*_: object) -> Duel:
        raise KeyboardInterrupt

    monkeypatch.setattr(judge, "duel", interrupted)
    answer = run("profile", "verify", *models)
    assert (answer.code, answer.err.splitlines()[-1]) == (130, "sovits-rt: Interrupted.")
    assert store.load(selection.profile_folder() / f"{made.id}.yaml") == made


def test_json_is_plain_ascii(run: Run) -> None:
    """Nothing in a file of others can command a terminal."""
    made = stored(measured(provenance=Provenance("sovits-rt", "0.1.0", note="\x9b31m 你好")))
    for words in (("show", made.id, "--json"), ("show", made.id, "--yaml"), ("diff", made.id, "default", "--json")):
        out = run("profile", *words).out
        assert out.isascii()
    assert json.loads(run("profile", "show", made.id, "--json").out)["provenance"]["note"] == "\x9b31m 你好"
