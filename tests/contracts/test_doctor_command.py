"""`sovits-rt doctor` through the entry point."""

import json

import pytest
from running import Run

from autotune.machine import Machine
from autotune.probe import probe
from autotune.probe.loaded import Loaded
from sovits_rt import doctor
from sovits_rt.doctor import missing_extras


def test_this_machine_is_explained(run: Run) -> None:
    """With a real child that imports torch."""
    answer = run("doctor", "--json")
    told = answer.json
    assert set(told) == {"can_run", "hw_class", "plans", "findings", "machine"}
    assert answer.code == (0 if told["can_run"] else 1)
    assert told["can_run"] == all(finding["severity"] != "error" for finding in told["findings"])
    assert Machine.from_dict(told["machine"]).cpu == probe().cpu
    (plan,) = told["plans"]
    assert (plan["profile"], plan["how"]) == ("default", "none")
    assert plan["threads"] >= 1


def test_a_person_reads_lines(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "after_importing", lambda modules: Loaded())
    answer = run("doctor")
    print(answer.out)
    for word in ("class", "cpu", "memory", "models", "profile", "device", "threads", "precision"):
        assert any(line.startswith(f"{word} ") for line in answer.out.splitlines()), word
    assert answer.out.splitlines()[-1] == "sovits-rt can run here."


def test_a_broken_installation_exits_with_1_and_says_what_to_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Loaded(failures={"torch": "OSError: [WinError 126] c10.dll"})
    monkeypatch.setattr(doctor, "after_importing", lambda modules: broken)
    answer = run("doctor")
    assert answer.code == 1
    assert "error: torch does not import: OSError: [WinError 126] c10.dll; install it again.\n" in answer.out
    assert answer.out.splitlines()[-1] == "sovits-rt can't run here: see the errors."
    told = json.loads(run("doctor", "--json").out)
    assert not told["can_run"]
    assert told["findings"][0]["code"] == "import-torch"


def test_every_extra_has_words_for_what_it_is_for() -> None:
    requirements = doctor.importlib.metadata.requires(doctor.DISTRIBUTION) or []
    extras = missing_extras(requirements, lambda package: False)
    assert extras.keys() <= doctor._EXTRAS.keys()
    assert {"zh", "en", "auto"} <= extras.keys()
