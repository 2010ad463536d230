"""What each known profile is worth on one machine, and what becomes of one that was measured again."""

from dataclasses import replace
from pathlib import Path

import pytest
from sample_settings import machine
from test_profile import HERE, STAMP, evidence, made, resolved

from autotune import store
from autotune.fingerprint import fingerprint
from autotune.profile import Provenance
from autotune.record import verified_again
from autotune.store import Considered

CARD = machine(gpu="sm_89")
ELSEWHERE = fingerprint(machine(cores=8))
NEW = {**STAMP, "torch": "2.14.0+cpu"}


def considered(folder: Path, *shipped: Path) -> list[Considered]:
    return store.consider(HERE, subject="toy", scenario="latency", user_dir=folder, shipped_dirs=shipped)


def test_every_profile_is_placed_with_a_reason(tmp_path: Path) -> None:
    local, shipped = tmp_path / "local", tmp_path / "shipped"
    store.save(made(), local)
    store.save(made(id="other-subject", subject="other"), local)
    store.save(made(id="refused", status="rejected"), local)
    store.save(made(id="same-kind"), shipped)
    store.save(made(ELSEWHERE), shipped)
    store.save(made(fingerprint(machine(cores=512))), shipped)
    store.save(made(fingerprint(machine(vendor="intel"))), shipped)
    found = considered(local, shipped)
    assert [each.how for each in found] == ["exact-local", "exact-shipped", "nearest", "", "", "", ""]
    assert [each.profile.status for each in found[:3]] == ["verified", "candidate", "candidate"]
    reasons = " | ".join(each.reason for each in found)
    for words in (
        "made for this machine",
        "not verified here yet",
        "distance 1.00",
        "too far from here",
        "another vendor",
        "made for other",
        "rejected when it was measured",
    ):
        assert words in reasons
    assert found[0].profile == resolved(local, shipped).profile


def test_the_same_architecture_comes_before_a_smaller_distance(tmp_path: Path) -> None:
    """A card of the same architecture with a sixth of the memory; one of the last generation that is alike else."""
    here = fingerprint(CARD)
    store.save(made(replace(here, device_memory_gib=4), id="small"), tmp_path)
    store.save(made(replace(here, arch="sm_86"), id="older"), tmp_path)
    found = store.consider(CARD, subject="toy", scenario="latency", user_dir=tmp_path)
    assert [each.profile.id for each in found] == ["small", "older"]
    assert (found[0].distance or 0) > (found[1].distance or 9)


def test_what_was_rejected_here_is_not_taken_from_elsewhere(tmp_path: Path) -> None:
    local, shipped = tmp_path / "local", tmp_path / "shipped"
    store.save(made(ELSEWHERE, id="near"), shipped)
    store.save(made(ELSEWHERE, id="nearly"), shipped)
    assert {each.profile.id for each in considered(local, shipped) if each.how} == {"near", "nearly"}
    refusal = Provenance("sovits-rt", "0.1.0", origin="verified", source="near")
    store.save(made(id="near-from-there", status="rejected", provenance=refusal), local)
    found = resolved(local, shipped)
    assert found.profile is not None
    assert found.profile.id == "nearly"
    assert "rejected when it was verified on this machine" in [each.reason for each in considered(local, shipped)]
    again = resolved(local, shipped, software=NEW)
    assert again.profile is not None
    assert again.profile.id == "near", "with other software it deserves another try"


def test_a_tuned_machine_does_not_read_what_was_shipped(tmp_path: Path) -> None:
    local, shipped = tmp_path / "local", tmp_path / "shipped"
    store.save(made(), local)
    shipped.mkdir()
    (shipped / "broken.yaml").write_text("schema: [", encoding="utf-8")
    assert resolved(local, shipped).how == "exact-local"


@pytest.mark.parametrize("status", ["verified", "rejected", "candidate"])
def test_measured_again_on_its_own_machine(status: str) -> None:
    old = made(id="by-hand", status="stale")
    new = verified_again(old, made(status=status, evidence=evidence(date="2026-03-01")), local=True)
    assert new.id == "by-hand"
    assert new.status == ("stale" if status == "candidate" else status)
    assert (new.provenance.origin, new.provenance.source) == ("verified", "by-hand")
    assert new.evidence is not None
    assert new.evidence.date == "2026-03-01"


@pytest.mark.parametrize("status", ["verified", "rejected", "candidate"])
def test_measured_on_another_machine_it_becomes_one_of_that(status: str, tmp_path: Path) -> None:
    old, measured = made(ELSEWHERE), made(status=status)
    new = verified_again(old, measured, local=False)
    assert (new.status, new.match, new.provenance.source) == (status, measured.match, old.id)
    assert new.id.startswith(f"{measured.id}-from-")
    assert new.id not in (old.id, measured.id)
    store.save(old, tmp_path / "shipped")
    store.save(new, tmp_path / "local")
    found = resolved(tmp_path / "local", tmp_path / "shipped")
    assert (found.profile, found.how) == {
        "verified": (new, "exact-local"),
        "candidate": (new, "exact-local"),
        "rejected": (None, "none"),
    }[status]


def test_one_that_was_never_verified_here_does_not_become_stale() -> None:
    shipped = made()
    assert verified_again(shipped, made(status="candidate"), local=False).status == "candidate"
    imported = made(status="candidate", provenance=Provenance("sovits-rt", "0.1.0", origin="imported"))
    assert verified_again(imported, made(status="candidate"), local=True).status == "candidate"
