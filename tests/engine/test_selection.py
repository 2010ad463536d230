"""Which settings a run gets: defaults, a profile of this machine, a near one, a named one, and single knobs on top."""

from dataclasses import replace

import pytest

from autotune import knobs, store
from autotune.errors import ProfileError
from autotune.fingerprint import fingerprint, software_stamp
from autotune.machine import Cpu, Device
from autotune.profile import Evidence, Match, Profile, Provenance, profile_id
from sovits_rt import selection
from sovits_rt.cli.tune import nearest
from sovits_rt.errors import SettingsError
from sovits_rt.scenarios import DEFAULT_SCENARIO
from sovits_rt.selection import (
    explain,
    find_profile,
    known_profiles,
    profile_folder,
    select,
    shipped_folder,
    voice_folder,
)
from sovits_rt.settings import ProcessSettings, SemanticSettings, Settings

SUBJECT = "gpt-sovits-24x512-512"
TUNED = Settings(semantic=SemanticSettings(slots=16), process=ProcessSettings(wait_policy="active"))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user without anything, and no shipped profiles but those that a test makes."""
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setattr(selection, "shipped_folder", lambda: tmp_path / "shipped")
    return tmp_path


def profile(machine, **changes):
    facts = fingerprint(machine)
    parts = {
        "id": profile_id(facts, changes.get("subject", SUBJECT), DEFAULT_SCENARIO),
        "subject": SUBJECT,
        "scenario": DEFAULT_SCENARIO,
        "status": "verified",
        "match": Match.of(facts),
        "settings": knobs.dump(TUNED),
        "provenance": Provenance("sovits-rt", "0.1.0"),
        "evidence": Evidence(
            objective="seconds",
            unit="seconds, smaller is better",
            control_seconds=1.0,
            ratio=0.8,
            ci_low=0.7,
            ci_high=0.9,
            pairs=8,
            resolution=0.02,
            trials=3,
            tuning_seconds=90.0,
            software=software_stamp(machine),
            date="2026-01-02",
        ),
    }
    return Profile(**{**parts, **changes})


def test_without_profiles_the_defaults_are_used(machine):
    chosen = select(machine, SUBJECT, None)
    assert (chosen.settings, chosen.label, chosen.tuned_here) == (Settings(), "default", False)
    assert "defaults" in chosen.notes[0]


def test_a_gpu_is_used_without_a_profile(machine):
    with_gpu = replace(machine, devices=(Device("cuda", 0, "Test GPU", 8 << 30, "sm_90"),))
    assert select(with_gpu, SUBJECT, None).settings.process.device == "cuda"
    assert select(with_gpu, SUBJECT, "default").settings.process.device == "cuda"


def test_the_profile_of_this_machine_is_used(machine):
    made = profile(machine)
    store.save(made, profile_folder())
    chosen = select(machine, SUBJECT, None)
    assert (chosen.settings, chosen.label, chosen.notes, chosen.tuned_here) == (TUNED, made.id, (), True)


def test_default_is_the_defaults_in_spite_of_a_profile(machine):
    store.save(profile(machine), profile_folder())
    chosen = select(machine, SUBJECT, "default")
    assert (chosen.settings, chosen.label, chosen.tuned_here) == (Settings(), "default", True)


def test_a_profile_by_id_and_by_file(machine, tmp_path):
    made = profile(machine, id="by-hand")
    store.save(made, profile_folder())
    assert select(machine, SUBJECT, "by-hand").settings == TUNED
    elsewhere = store.save(made, tmp_path / "elsewhere")
    profile_folder().joinpath("by-hand.yaml").unlink()
    assert select(machine, SUBJECT, str(elsewhere)).label == "by-hand"


def test_an_unknown_profile_is_answered_with_those_that_exist(machine):
    with pytest.raises(ProfileError, match="makes one"):
        select(machine, SUBJECT, "nobody")
    store.save(profile(machine, id="somebody"), profile_folder())
    with pytest.raises(ProfileError, match="somebody"):
        select(machine, SUBJECT, "nobody")
    with pytest.raises(ProfileError, match=r"nobody\.yaml"):
        select(machine, SUBJECT, "nobody.yaml")


def test_a_foreign_subject_is_used_when_asked_for_with_a_note(machine):
    made = profile(machine, subject="gpt-sovits-3x64-64", id="other-models")
    store.save(made, profile_folder())
    assert select(machine, SUBJECT, None).label == "default"
    chosen = select(machine, SUBJECT, "other-models")
    assert chosen.settings == TUNED
    assert "gpt-sovits-3x64-64" in chosen.notes[0]


def test_a_profile_of_another_kind_of_machine_is_refused_with_the_knob(machine):
    on_gpu = knobs.dump(replace(TUNED, process=ProcessSettings(device="cuda")))
    store.save(profile(machine, settings=on_gpu, id="server"), profile_folder())
    with pytest.raises(SettingsError, match=r"server can't be used here.*: .*process\.device.*cuda"):
        select(machine, SUBJECT, "server")


def test_the_nearest_profile_is_fitted_and_said(machine):
    """One that was tuned with cores that this machine does not have."""
    larger = replace(
        machine,
        cpu=Cpu("amd", "Test", "25.1", "x86_64", ("avx2",), 4, 4, affinity=(0, 1, 2, 3)),
    )
    settings = knobs.dump(replace(TUNED, process=ProcessSettings(cores="one-node")))
    store.save(profile(larger, settings=settings), profile_folder())
    chosen = select(machine, SUBJECT, None)
    assert chosen.settings.semantic.slots == 16
    assert chosen.settings.process.cores == "unpinned"
    assert not chosen.tuned_here
    assert any("nearest" in note for note in chosen.notes)
    assert any("process.cores" in note for note in chosen.notes)


def test_a_shipped_profile_is_used_but_not_taken_for_tuned(machine, home):
    store.save(profile(machine), home / "shipped")
    chosen = select(machine, SUBJECT, None)
    assert chosen.settings == TUNED
    assert not chosen.tuned_here
    assert [origin for origin, _ in known_profiles()] == ["shipped"]


def test_an_unverified_profile_does_not_change_the_audio(machine, home):
    """Precision waits until its gates were passed here; what is exact may be used at once."""
    half = replace(TUNED, semantic=replace(TUNED.semantic, precision="bf16"))
    made = profile(machine, settings=knobs.dump(half))
    store.save(made, home / "shipped")
    chosen = select(machine, SUBJECT, None)
    assert (chosen.settings, chosen.tuned_here) == (TUNED, False)
    assert any("may change the audio" in note for note in chosen.notes)
    assert chosen.sources["semantic.precision"] == "default, until the shipped profile is verified here"
    assert chosen.sources["semantic.slots"] == "shipped profile"
    assert select(machine, SUBJECT, made.id).settings == half, "who asks for it by name gets it whole"
    store.save(made, profile_folder())
    assert select(machine, SUBJECT, None).settings == half


@pytest.mark.parametrize("place", ["shipped", "home"])
def test_a_guess_is_not_used_before_it_was_measured(machine, home, place):
    guess = profile(machine, status="candidate", evidence=None, provenance=Provenance("x", "1", origin="derived"))
    store.save(guess, home / "shipped" if place == "shipped" else profile_folder())
    chosen = select(machine, SUBJECT, None)
    assert (chosen.settings, chosen.label, chosen.tuned_here) == (Settings(), "default", False)
    assert any(f"{guess.id} was never measured" in note for note in chosen.notes)
    assert nearest(machine, "24x512-512") == [TUNED], "tuning tries it first"


def test_an_imported_profile_does_not_end_the_tuning(machine):
    mine = profile(machine, status="candidate")
    theirs = replace(mine, provenance=replace(mine.provenance, origin="imported"))
    store.save(theirs, profile_folder())
    assert not select(machine, SUBJECT, None).tuned_here
    store.save(mine, profile_folder())  # a tuning of this machine that was cut short
    assert select(machine, SUBJECT, None).tuned_here


def test_without_any_profile_tuning_tries_the_rules_first(machine):
    cores = tuple(range(8))
    larger = replace(machine, cpu=replace(machine.cpu, logical_cores=8, physical_cores=8, affinity=cores))
    (first,) = nearest(larger, "24x512-512")
    assert (first.semantic.slots, first.process.thread_share) == (16, 0.5)
    assert knobs.load(Settings, knobs.dump(first), larger) == first
    assert nearest(machine, "24x512-512") == [Settings()]  # two cores: nothing better is known


def test_variables_of_a_profile_are_refused_not_ignored(machine):
    store.save(profile(machine, environment={"OMP_PLACES": "cores"}), profile_folder())
    with pytest.raises(SettingsError, match="it sets OMP_PLACES, which here only the knobs"):
        select(machine, SUBJECT, None)


def test_what_a_profile_leaves_out_is_this_machines_default(machine):
    with_gpu = replace(machine, devices=(Device("cuda", 0, "Test GPU", 8 << 30, "sm_90"),))
    store.save(profile(with_gpu, settings={"semantic": {"slots": 16}}, id="partial"), profile_folder())
    for asked in (None, "partial"):
        chosen = select(with_gpu, SUBJECT, asked)
        assert (chosen.settings.process.device, chosen.settings.semantic.slots) == ("cuda", 16)
        assert (chosen.sources["process.device"], chosen.sources["semantic.slots"]) == ("default", "local profile")


def test_an_explanation_names_the_source_of_every_knob(machine, home):
    compiled = {"backend": {"use": "compiled"}, "slots": 16}
    store.save(profile(machine, settings={"semantic": compiled, "process": {"cores": "one-node"}}), home / "shipped")
    found = explain(machine, SUBJECT, None, ["acoustic.window=200", "semantic.backend.mode=default"])
    sources = {each.path: each.source for each in found.knobs}
    assert set(sources) == set(knobs.flatten(found.selection.settings))
    assert sources["process.device"] == "default"
    assert sources["process.cores"] == "shipped profile, fitted to this machine"
    assert sources["semantic.backend"] == "shipped profile"
    assert sources["semantic.backend.compiled.mode"] == "--set"
    assert sources["acoustic.window"] == "--set"
    assert all(each.doc for each in found.knobs)
    assert [each.how for each in found.considered] == ["exact-shipped"]
    changed = next(each for each in found.knobs if each.path == "acoustic.window")
    assert (changed.value, changed.default) == (200, 400)


def test_a_set_backend_brings_its_knobs(machine):
    found = explain(machine, SUBJECT, "default", ["semantic.backend=compiled"])
    sources = {each.path: each.source for each in found.knobs}
    assert (sources["semantic.backend"], sources["acoustic.backend"]) == ("--set", "default")
    assert sources["semantic.backend.compiled.mode"] == "--set"


def test_a_stale_profile_is_used_but_tuned_again(machine):
    made = profile(machine)
    old = replace(made, evidence=replace(made.evidence, software={**made.evidence.software, "torch": "2.5.0+cpu"}))
    store.save(old, profile_folder())
    chosen = select(machine, SUBJECT, None)
    assert chosen.settings == TUNED
    assert not chosen.tuned_here
    assert "torch" in chosen.notes[0]


def test_a_rejected_profile_is_never_used(machine):
    store.save(profile(machine, status="rejected", id="bad"), profile_folder())
    assert select(machine, SUBJECT, None).label == "default"
    with pytest.raises(SettingsError, match="bad was rejected"):
        select(machine, SUBJECT, "bad")


@pytest.mark.parametrize("asked", [None, "any"])
def test_a_damaged_profile_is_named(machine, asked):
    profile_folder().mkdir(parents=True)
    path = profile_folder() / "broken.yaml"
    path.write_text("schema: 1\nsettings: [", encoding="utf-8")
    with pytest.raises(ProfileError, match=r"broken\.yaml can't be used.*tune again"):
        select(machine, SUBJECT, asked)


def test_a_profile_with_an_unknown_knob_says_what_to_do(machine):
    settings = {**knobs.dump(TUNED), "warp": {"factor": 9}}
    store.save(profile(machine, settings=settings, id="newer"), profile_folder())
    with pytest.raises(SettingsError, match=r"newer can't be used.*--profile default.*warp"):
        select(machine, SUBJECT, None)
    with pytest.raises(SettingsError, match="newer can't be used"):
        select(machine, SUBJECT, "newer")


def test_single_knobs_come_last(machine):
    store.save(profile(machine), profile_folder())
    chosen = select(machine, SUBJECT, None, ["semantic.slots=2", "process.thread_share=0.5"])
    assert chosen.settings.semantic.slots == 2
    assert chosen.settings.process == replace(TUNED.process, thread_share=0.5)
    assert "semantic.slots=2" in chosen.label
    assert chosen.tuned_here


@pytest.mark.parametrize("assignment", ["semantic.slots=3", "semantic.slot=4", "semantic.slots", "process.device=cuda"])
def test_a_wrong_knob_is_refused(machine, assignment):
    with pytest.raises(SettingsError, match="--set"):
        select(machine, SUBJECT, None, [assignment])


def test_folders_belong_to_the_user(home):
    assert (home / "home") in profile_folder().parents
    assert (home / "home") in voice_folder().parents
    assert not profile_folder().exists()


def test_the_shipped_folder_is_there_and_all_its_profiles_load():
    assert shipped_folder().is_dir()
    for path in store.files(shipped_folder()):
        knobs.load(Settings, store.load(path).settings)


def test_a_found_profile_is_that_of_the_file(machine, tmp_path):
    made = profile(machine)
    assert find_profile(str(store.save(made, tmp_path))) == made


def test_every_scenario_has_a_profile_of_its_own(machine):
    facts = fingerprint(machine)
    one_user = Settings(semantic=SemanticSettings(slots=1))
    store.save(profile(machine), profile_folder())
    made = profile(machine, id=profile_id(facts, SUBJECT, "latency"), scenario="latency", settings=knobs.dump(one_user))
    store.save(made, profile_folder())
    assert select(machine, SUBJECT, None).settings == TUNED
    assert select(machine, SUBJECT, None, (), "latency").settings == one_user
    assert select(machine, SUBJECT, None, (), "low-memory").label == "default"
    assert explain(machine, SUBJECT, None, (), "latency").selection.label == made.id
