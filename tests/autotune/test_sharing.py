"""What leaves a machine and what comes in."""

from pathlib import Path
from typing import Any

import pytest
from test_profile import evidence, made

from autotune import sharing, store
from autotune.errors import ProfileError
from autotune.profile import GateResult, Match, Profile, Provenance
from autotune.sharing import brought_in, shareable

PRIVATE = (
    "GPU-01234567-89ab-cdef-0123-456789abcdef",
    "0123456789abcdef0123456789abcdef",
    "00:1a:2b:3c:4d:5e",
    "serial number 1320221012345",
    "/home/alice/voices/a.ckpt",
    "/Users/alice/x",
    "C:\\Users\\alice\\x",
    "/mnt/data/alice",
    "~/models/x.pth",
    "alice@example.org",
    "ALICE-PC",
    "alice-pc.local",
    "alice",
)
NAMES = ("alice-pc.local", "alice-pc", "alice")


def noted(text: str) -> Profile:
    return made(provenance=Provenance("sovits-rt", "0.1.0", note=text))


@pytest.mark.parametrize("private", PRIVATE)
def test_private_texts_are_left_out_wherever_they_stand(private: str, tmp_path: Path) -> None:
    gate = GateResult("silence", True, 0.0, 0.1, f"as in {private}, loud")
    changes: dict[str, Any] = {
        "evidence": evidence(unit=f"seconds on {private}", software={"torch": "2.13.0", "host": private}),
        "quality": (gate,),
    }
    clean, places = shareable(
        made(provenance=Provenance("sovits-rt", "0.1.0", note=f"made on {private} in May"), **changes), NAMES
    )
    assert places == ("evidence.software.host", "evidence.unit", "provenance.note", "quality[0].detail")
    text = store.write(clean, tmp_path / "shared.yaml") or (tmp_path / "shared.yaml").read_text(encoding="utf-8")
    for word in (private, "alice"):
        assert word.lower() not in text.lower()
    assert clean.provenance.note == "made on (left out) in May"
    assert store.load(tmp_path / "shared.yaml") == clean


def test_what_is_not_private_stays() -> None:
    profile = made(
        provenance=Provenance("sovits-rt", "0.1.0", note="takes 0.800 of the default's time, 1/2 of 16 runs; 580.1/x")
    )
    assert shareable(profile, NAMES) == (profile, ())


def test_what_can_not_be_left_out_is_refused() -> None:
    facts = made().match.facts
    hidden = made(facts=facts, settings={"process": {"wait": "/home/alice/x"}})
    with pytest.raises(ProfileError, match=r"profile\.settings\.process\.wait: .* could name one machine or person"):
        shareable(hidden, NAMES)
    assert Match.of(facts) == hidden.match


def test_names_that_everybody_has_are_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing.platform, "node", lambda: "localhost")
    monkeypatch.setattr(sharing.Path, "home", lambda: Path("/root"))
    assert sharing.own_names() == ()
    monkeypatch.setattr(sharing.platform, "node", lambda: "alice-pc.local")
    monkeypatch.setattr(sharing.Path, "home", lambda: Path("/home/alice"))
    assert sharing.own_names() == ("alice", "alice-pc", "alice-pc.local")


def test_what_comes_in_is_a_candidate() -> None:
    taken = brought_in(made())
    assert (taken.status, taken.provenance.origin, taken.evidence) == ("candidate", "imported", made().evidence)
    guess = made(
        status="candidate",
        evidence=None,
        quality=(),
        provenance=Provenance("x", "1", origin="derived", source="a rule"),
    )
    assert brought_in(guess) == guess
    with pytest.raises(ProfileError, match="was rejected when it was measured"):
        brought_in(made(status="rejected"))
    with pytest.raises(ProfileError, match="could name one machine or person"):
        brought_in(noted("see /home/alice/x"))
