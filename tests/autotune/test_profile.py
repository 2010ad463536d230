"""Profiles: strict files, whole writes, the right one for a machine."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sample_settings import machine

from autotune import profile as profiles
from autotune import store
from autotune.errors import ProfileError
from autotune.fingerprint import Fingerprint, fingerprint, software_stamp
from autotune.profile import Evidence, GateResult, Match, Profile, Provenance, profile_id

HERE = machine()
STAMP = software_stamp(HERE)
SHIPPED = Path(__file__).parent.parent.parent / "profiles"


def evidence(**changes: Any) -> Evidence:
    facts: dict[str, Any] = {
        "objective": "seconds_per_second",
        "unit": "seconds per second of audio, smaller is better",
        "control_seconds": 0.5,
        "ratio": 0.8,
        "ci_low": 0.78,
        "ci_high": 0.82,
        "pairs": 24,
        "resolution": 0.01,
        "trials": 40,
        "tuning_seconds": 300.0,
        "software": STAMP,
        "date": "2026-01-02",
        "samples": {"control": (0.5, 0.51), "candidate": (0.4, 0.41)},
        "figures": {"p95_ratio": 0.9},
    }
    return Evidence(**{**facts, **changes})


def made(facts: Fingerprint | None = None, **changes: Any) -> Profile:
    facts = facts or fingerprint(HERE)
    parts: dict[str, Any] = {
        "id": profile_id(facts, "toy", "latency"),
        "subject": "toy",
        "scenario": "latency",
        "status": "verified",
        "match": Match.of(facts),
        "settings": {"process": {"threads": 2, "wait": "off"}, "decoder": {"backend": {"use": "exported", "level": 3}}},
        "provenance": Provenance("sovits-rt", "0.1.0", "0123456789abcdef", {"ok": 38, "crashed": 2}),
        "environment": {"OMP_WAIT_POLICY": "PASSIVE"},
        "evidence": evidence(),
        "quality": (GateResult("silence", True, 0.0, 0.1, "No silent half."),),
    }
    return Profile(**{**parts, **changes})


def resolved(folder: Path, *shipped: Path, **changes: Any) -> store.Resolution:
    known: dict[str, Any] = {"subject": "toy", "scenario": "latency", "user_dir": folder, "shipped_dirs": shipped}
    return store.resolve(changes.pop("on", HERE), **{**known, **changes})


def written(folder: Path, data: Any) -> Path:
    path = folder / "p.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
    return path


def test_survives_the_disk(tmp_path: Path) -> None:
    path = store.save(made(), tmp_path / "new" / "folder")
    assert path.name == f"{made().id}.yaml"
    assert store.load(path) == made()
    assert [other.name for other in path.parent.iterdir()] == [path.name]


@hypothesis_settings(deadline=None)  # a disk may take its time
@given(
    ratio=st.floats(0.01, 10),
    samples=st.dictionaries(
        st.sampled_from(["control", "candidate"]), st.lists(st.floats(0, 1e3), max_size=5).map(tuple)
    ),
    note=st.text(max_size=30),
    settings=st.recursive(
        st.text(max_size=8) | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ).map(lambda value: {"x": value}),
)
def test_any_content_survives_the_disk(
    tmp_path_factory: pytest.TempPathFactory, ratio: float, samples: Any, note: str, settings: Mapping[str, Any]
) -> None:
    provenance = Provenance("sovits-rt", "0.1.0", note=note)
    one = made(evidence=evidence(ratio=ratio, samples=samples), provenance=provenance, settings=settings)
    assert store.load(store.save(one, tmp_path_factory.getbasetemp())) == one


def test_odd_line_ends_in_texts_survive(tmp_path: Path) -> None:
    odd = made(provenance=Provenance("sovits-rt", "0.1.0", note="a\x85b \u2028c\r\nd"))
    assert store.load(store.save(odd, tmp_path)) == odd


def test_a_new_tuning_replaces_the_old_file(tmp_path: Path) -> None:
    store.save(made(), tmp_path)
    store.save(made(status="rejected"), tmp_path)
    assert len(store.files(tmp_path)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"statsu": "x"}, "profile: unknown key 'statsu'; did you mean 'status'?"),
        ({"status": "good"}, "profile.status: got 'good', expected one of candidate, verified"),
        ({"scenario": "speed"}, "profile.scenario: got 'speed', expected one of latency"),
        ({"schema": 99}, "schema 99 is from a newer release, this one reads up to 1; update sovits-rt"),
        ({"schema": "1"}, "schema is '1', expected a whole number"),
        ({"schema": 0}, "schema is 0, expected a whole number"),
        ({"id": "../../evil"}, "profile.id: got '../../evil'"),
        ({"id": "/etc/passwd"}, "profile.id: got '/etc/passwd'"),
        ({"id": "declined"}, "profile.id: 'declined' is a name with a meaning of its own"),
        ({"id": "default"}, "profile.id: 'default' is a name with a meaning of its own"),
        (
            {"provenance": {"tool": "x", "version": "1", "origin": "heaven"}},
            "profile.provenance.origin: got 'heaven', expected one of tuned, verified, derived, imported",
        ),
        ({"provenance": {"tool": "x", "version": "1", "origin": "derived"}}, "a derived profile is a candidate"),
        ({"evidence": None}, "a profile with status 'verified' must carry its evidence"),
        ({"evidence": {"ratio": 1}}, "profile.evidence: the key 'objective' is missing"),
        ({"quality": [{"name": "silence", "passed": False, "value": 1, "limit": 0.1}]}, "these gates failed: silence"),
        (
            {"quality": [{"name": "silence", "passed": "yes", "value": 1, "limit": 0.1}]},
            "profile.quality[0].passed: expected",
        ),
        ({"environment": {"LD_PRELOAD": "x.so"}}, "'LD_PRELOAD' may not be set by a profile"),
        ({"environment": {"PYTHONPATH": "x"}}, "'PYTHONPATH' may not be set by a profile"),
        ({"environment": {"OMP_PLACES": "$(rm -rf)"}}, "profile.environment.OMP_PLACES: got '$(rm -rf)'"),
        ({"settings": [1]}, "profile.settings: expected named values, got list"),
        ({"match": {"hw_class": "x86-avx2-99c"}}, "profile.match: the key 'facts' is missing"),
    ],
)
def test_wrong_content_is_refused_with_place_and_remedy(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = written(tmp_path, {**profiles.to_dict(made()), **change})
    with pytest.raises(ProfileError) as caught:
        store.load(path)
    text = str(caught.value)
    assert message in text
    assert text.startswith(f"{path} can't be used: ")
    assert text.endswith("delete the file or tune again.")
    assert len(text) < 600


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got NoneType"),
        ("- 1", "got list"),
        ("a: [1", "not valid YAML"),
        ("a: &x 1\nb: *x", "aliases"),
        ("a: 1\na: 2", "'a' is there twice"),
        ("1: 2", "the key 1 is not a text"),
        ("[" * 900, "nested deeper"),
        ("[" * 5000, "nested deeper|not valid YAML"),  # newer parsers have a limit of their own
        ("a: !!python/object/apply:os.system ['true']", "tags .*os.system.* are not allowed"),
        ("schema: !!int '0x" + "f" * 5000 + "'", "tags .*int.* are not allowed"),
        ("schema: 0x" + "f" * 5000, "schema is '0xfff.* … f+', expected a whole number"),
        ("schema: " + "9" * 5000, "schema is '999.* … 9+', expected a whole number"),
        ("schema: 1:30:00", "schema is '1:30:00', expected a whole number"),
        ("{" + ", ".join(f"k{i}: 1" for i in range(20_000)) + "}", "schema is None"),
        ("a: \x00", "not valid YAML"),
        ("x: " + "y" * 300_000, "larger than 256 KiB"),
        ("a: 2026-99-99", "schema is None"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        store.load(written(tmp_path, text))


def test_truncated_files_are_refused_wherever_they_end(tmp_path: Path) -> None:
    whole = store.save(made(), tmp_path).read_text(encoding="utf-8")
    assert whole.endswith("\n...\n")
    ends_of_lines = {index + 1 for index, letter in enumerate(whole) if letter == "\n"}
    for length in {*range(0, len(whole), 40), *ends_of_lines} - {len(whole)}:
        with pytest.raises(ProfileError, match=r"can't be used: .*; delete the file or tune again\."):
            store.load(written(tmp_path, whole[:length]))
    assert store.load(written(tmp_path, whole)) == made()


def test_the_longest_texts_give_short_sentences(tmp_path: Path) -> None:
    long = "x" * 200_000
    for change in ({long: 1}, {"status": long}, {"id": long}, {"provenance": {long: 1}}, {"environment": {long: "1"}}):
        with pytest.raises(ProfileError) as caught:
            store.load(written(tmp_path, {**profiles.to_dict(made()), **change}))
        assert len(str(caught.value)) < 600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes with names")
def test_pipes_and_folders_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("pipe.yaml", "folder.yaml"):
        with pytest.raises(ProfileError, match=f"{name} can't be used: it is not a plain file"):
            store.load(tmp_path / name)
        with pytest.raises(ProfileError, match=f"{name} can't be written .it is not a plain file"):
            store.write(made(), tmp_path / name)


def test_other_bytes_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProfileError, match="not UTF-8"):
        store.load(tmp_path / "x.yaml")
    with pytest.raises(ProfileError, match="can't be read"):
        store.load(tmp_path / "none.yaml")


def test_hand_written_words_stay_words(tmp_path: Path) -> None:
    data = profiles.to_dict(made())
    text = yaml.safe_dump(data).replace("'off'", "off").replace("'2026-01-02'", "2026-01-02")
    assert "wait: off" in text
    assert store.load(written(tmp_path, text)) == made()


@pytest.mark.parametrize(
    "private",
    [
        "GPU-01234567-89ab-cdef-0123-456789abcdef",
        "0123456789abcdef0123456789abcdef",
        "/home/somebody/x",
        "/root/x",
        "C:\\Users\\x",
        "00:1a:2b:3c:4d:5e",
        "serial number: 1320221012345",
        "S/N 5CD1234XYZ",
        "somebody@example.org",
    ],
)
def test_nothing_private_is_written(tmp_path: Path, private: str) -> None:
    with pytest.raises(ProfileError, match="could name one machine or person"):
        store.save(made(provenance=Provenance("sovits-rt", "0.1.0", note=f"on {private}")), tmp_path)
    with pytest.raises(ProfileError, match="could name one machine or person"):
        store.save(made(evidence=evidence(figures={f"on {private}": 1.0})), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store.save(made(), tmp_path)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ProfileError, match="No space left"):
        store.save(made(status="rejected"), tmp_path)
    assert store.load(path) == made()
    assert [other.name for other in tmp_path.iterdir()] == [path.name]


def test_too_many_samples_are_refused_before_writing(tmp_path: Path) -> None:
    many = evidence(samples={"control": tuple(i / 7 for i in range(16_000))})
    with pytest.raises(ProfileError, match="keep fewer samples"):
        store.save(made(evidence=many), tmp_path)


def test_older_schemas_are_migrated(monkeypatch: pytest.MonkeyPatch) -> None:
    old = {**profiles.to_dict(made()), "goal": "latency"}
    del old["scenario"]
    monkeypatch.setattr(profiles, "SCHEMA", 2)
    with pytest.raises(ProfileError, match="schema 1 can no longer be read"):
        profiles.from_dict(old)

    def from_goal(data: dict[str, Any]) -> dict[str, Any]:
        scenario = data.pop("goal")
        return {**data, "scenario": scenario}

    monkeypatch.setattr(profiles, "MIGRATIONS", {1: from_goal})
    assert profiles.from_dict(old) == replace(made(), schema=2)
    assert "goal" in old, "what came in was changed"


def test_several_versions_are_passed_one_by_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A made-up schema 0 with another name for the scenario and flat settings, on its way through a made-up 1."""
    now = profiles.to_dict(made())
    flat = {"process.threads": 2, "process.wait": "off", "decoder.backend": {"use": "exported", "level": 3}}
    ancient = {**{name: value for name, value in now.items() if name != "scenario"}, "schema": 0}
    ancient |= {"aim": "latency", "settings": flat}

    def nest(data: dict[str, Any]) -> dict[str, Any]:
        nested: dict[str, Any] = {}
        for path, value in data.pop("settings").items():
            group, name = path.split(".")
            nested.setdefault(group, {})[name] = value
        return {**data, "settings": nested}

    def rename(data: dict[str, Any]) -> dict[str, Any]:
        scenario = data.pop("aim")
        return {**data, "scenario": scenario}

    monkeypatch.setattr(profiles, "SCHEMA", 2)
    monkeypatch.setattr(profiles, "MIGRATIONS", {0: nest, 1: rename})
    assert store.load(written(tmp_path, ancient)) == replace(made(), schema=2)
    assert store.load(written(tmp_path, {**ancient, "schema": 1, "settings": now["settings"]})).schema == 2
    for version, message in ((-1, "schema is -1, expected"), (3, "schema 3 is from a newer release")):
        with pytest.raises(ProfileError, match=message):
            store.load(written(tmp_path, {**ancient, "schema": version}))


def test_there_is_a_way_from_every_version_to_this_one() -> None:
    assert set(profiles.MIGRATIONS) == set(range(min((*profiles.MIGRATIONS, 1)), profiles.SCHEMA))


def test_own_verified_profile_comes_first(tmp_path: Path) -> None:
    local, shipped = tmp_path / "local", tmp_path / "shipped"
    store.save(made(), local)
    store.save(made(settings={}), shipped)
    found = resolved(local, shipped)
    assert (found.how, found.profile, found.notes, found.trusted) == ("exact-local", made(), (), True)


def test_shipped_profile_is_a_candidate(tmp_path: Path) -> None:
    store.save(made(), tmp_path / "shipped")
    found = resolved(tmp_path / "local", tmp_path / "shipped", tmp_path / "nothing")
    assert (found.how, found.trusted) == ("exact-shipped", False)
    assert found.profile == made(status="candidate")
    assert "not been verified here" in found.notes[0]


def test_nearest_of_the_same_kind_is_a_candidate(tmp_path: Path) -> None:
    for other in (machine(cores=8), machine(cores=64), machine(vendor="intel"), machine(gpu="sm_90")):
        store.save(made(fingerprint(other)), tmp_path / "shipped")
    found = resolved(tmp_path / "local", tmp_path / "shipped")
    assert found.how == "nearest"
    assert found.profile is not None
    assert (found.profile.match.hw_class, found.profile.status) == ("x86-avx2-8c", "candidate")
    assert found.distance == pytest.approx(1.0)


def test_nothing_across_vendors_or_too_far(tmp_path: Path) -> None:
    far = machine(cores=512)
    for other in (machine(vendor="intel"), machine(gpu="sm_90"), machine(arch="arm64"), far):
        store.save(made(fingerprint(other)), tmp_path)
    found = resolved(tmp_path)
    assert (found.how, found.profile, found.trusted) == ("none", None, False)
    assert "defaults are used" in found.notes[0]


def test_other_software_makes_it_stale(tmp_path: Path) -> None:
    store.save(made(), tmp_path)
    same = resolved(tmp_path, software={**STAMP, "torch": "2.13.5+cpu"})
    assert same.trusted
    found = resolved(tmp_path, software={**STAMP, "torch": "2.14.0+cpu"})
    assert found.profile == made(status="stale")
    assert "torch: 2.13.0+cpu -> 2.14.0+cpu" in found.notes[0]
    assert not found.trusted


def test_only_the_same_subject_and_scenario_counts(tmp_path: Path) -> None:
    store.save(made(id="a", subject="other"), tmp_path)
    store.save(made(id="b", scenario="throughput"), tmp_path)
    store.save(made(id="c", status="rejected"), tmp_path)
    assert resolved(tmp_path).how == "none"
    assert resolved(tmp_path, scenario="throughput").how == "exact-local"


def test_of_several_the_verified_and_latest_counts(tmp_path: Path) -> None:
    store.save(made(id="a", status="default-confirmed", evidence=evidence(date="2026-09-01")), tmp_path)
    store.save(made(id="b", evidence=evidence(date="2026-03-01")), tmp_path)
    store.save(made(id="c", evidence=evidence(date="2026-02-01")), tmp_path)
    found = resolved(tmp_path).profile
    assert found is not None
    assert found.id == "b"


def test_default_confirmed_is_an_answer(tmp_path: Path) -> None:
    store.save(made(status="default-confirmed"), tmp_path)
    assert resolved(tmp_path).trusted


def test_a_damaged_local_profile_is_reported_not_passed_over(tmp_path: Path) -> None:
    store.save(made(), tmp_path)
    (tmp_path / "broken.yaml").write_text("schema: 1\nstat", encoding="utf-8")
    with pytest.raises(ProfileError, match=r"broken\.yaml can't be used: .*delete the file or tune again"):
        resolved(tmp_path)


def test_a_declined_tuning_is_remembered_once(tmp_path: Path) -> None:
    assert store.was_skipped(tmp_path, "x86-avx2-4c/toy/latency") is None
    store.remember_skip(tmp_path, "x86-avx2-4c/toy/latency", "The user said no.")
    store.remember_skip(tmp_path, "other", "Out of time.")
    assert store.was_skipped(tmp_path, "x86-avx2-4c/toy/latency") == "The user said no."
    assert resolved(tmp_path).how == "none"
    store.forget_skip(tmp_path, "other")
    store.forget_skip(tmp_path, "never there")
    assert store.was_skipped(tmp_path, "other") is None
    assert store.was_skipped(tmp_path, "x86-avx2-4c/toy/latency") == "The user said no."


@pytest.mark.parametrize(
    "text", ["[1", "schema: 2\nskipped: {}", "schema: 1\nskipped: [a]", "schema: 1\nskipped: {a: b}"]
)
def test_a_damaged_note_is_reported(tmp_path: Path, text: str) -> None:
    (tmp_path / "declined.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ProfileError, match=r"declined\.yaml can't be used: .*delete the file"):
        store.was_skipped(tmp_path, "a")


def test_every_shipped_profile_is_sound() -> None:
    for path in store.files(SHIPPED):
        shipped = store.load(path)
        assert path.stem == shipped.id
        guessed = shipped.provenance.origin == "derived"
        assert (shipped.status in ("verified", "default-confirmed")) == (not guessed)
        assert (shipped.evidence is None) == guessed
        profiles.to_dict(shipped)
