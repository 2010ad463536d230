"""The doctor finds on every recorded machine what is wrong there, and nothing else."""

import dataclasses
import re
from dataclasses import replace
from pathlib import Path

import pytest
import recorded
from sample_settings import machine

from autotune import doctor
from autotune.doctor import RULES, SEVERITIES, Finding, findings, ranked
from autotune.machine import Device, Machine, Power
from autotune.probe import probe

MACHINES = pytest.mark.parametrize("path", recorded.PATHS, ids=lambda path: path.stem)
FINE = machine()


def names(found: tuple[Finding, ...]) -> list[str]:
    return [f"{finding.severity} {finding.code}" for finding in found]


@MACHINES
def test_recorded_machine_has_these_findings(path: Path) -> None:
    reader, expected = recorded.read(path)
    found = findings(probe(reader))
    for finding in found:
        print(finding.severity, finding.line)
    assert names(found) == expected["findings"]


@MACHINES
def test_recording_names_its_source(path: Path) -> None:
    description, _, _ = path.read_text(encoding="utf-8").partition("\n=== ")
    assert re.search(r"^# Source: \S.*", description, re.MULTILINE), "say where these texts are known from"
    assert all(line.startswith("# ") for line in description.splitlines())


def test_every_rule_speaks_on_some_recorded_machine() -> None:
    machines = [probe(recorded.read(path)[0]) for path in recorded.PATHS]
    silent = [rule.__name__ for rule in RULES if not any(list(rule(each)) for each in machines)]
    assert silent == ["tried_devices"]  # recordings were only looked at


def test_lines_are_sentences() -> None:
    for path in recorded.PATHS:
        for finding in findings(probe(recorded.read(path)[0])):
            assert finding.severity in SEVERITIES
            assert re.fullmatch(r"[a-z0-9-]+", finding.code)
            assert "\n" not in finding.line
            assert finding.line[0].isupper() or finding.line.startswith(("torch", "nvidia"))
            assert finding.line.endswith(".")
            assert not re.search(r"\.\.$|;\.|None|  ", finding.line), finding.line


def test_a_machine_in_order_has_no_findings() -> None:
    assert findings(FINE) == ()


def test_the_gravest_comes_first_and_nothing_twice() -> None:
    note, warning, error = (Finding("a", severity, "A") for severity in ("note", "warning", "error"))
    assert ranked([note, warning, note, error, warning]) == (error, warning, note)


def test_findings_are_a_function_of_the_written_down_machine() -> None:
    for path in recorded.PATHS:
        here = probe(recorded.read(path)[0])
        assert findings(Machine.from_dict(here.to_dict())) == findings(here)


def gpu(**facts: str) -> Machine:
    card = Device("cuda", 0, "Card", 8 << 30, "sm_86", facts={"driver": "580.1", **facts})
    return replace(FINE, devices=(card, *FINE.devices))


@pytest.mark.parametrize(
    ("here", "code"),
    [
        (gpu(held_back="power supply"), "gpu-power-supply"),
        (gpu(held_back="heat, power supply"), "gpu-hot"),
        (gpu(power_limit_watts="100", power_default_watts="200"), "gpu-power-limit"),
        (gpu(memory_free_bytes=str(3 << 30)), "gpu-memory-taken"),
        (gpu(memory_free_bytes="0"), "gpu-memory-taken"),
        (gpu(compute_mode="exclusive"), "gpu-exclusive"),
        (gpu(tryout="the process was ended by SIGSEGV"), "gpu-fails"),
        (gpu(tryout="works", unreliable="float16"), "half-precision-fails"),
        (gpu(tryout="works", growth_bytes="1000000"), "gpu-memory-grows"),
        (replace(FINE, power=Power("battery")), "on-battery"),
        (replace(FINE, power=Power(profile="quiet")), "power-saver"),
        (replace(FINE, power=Power(limits=("clock at 40 %",))), "cpu-limited"),
        (replace(FINE, software=replace(FINE.software, packages={})), "torch-missing"),
        (replace(FINE, cpu=replace(FINE.cpu, quota=0.2)), "quota-under-one"),
        (replace(FINE, cpu=replace(FINE.cpu, quota=3.5)), "quota-rounded"),
        (replace(FINE, cpu=replace(FINE.cpu, isa=())), "no-avx2"),
    ],
)
def test_one_thing_wrong(here: Machine, code: str) -> None:
    assert code in [finding.code for finding in findings(here)]


@pytest.mark.parametrize(
    "here",
    [
        gpu(power_limit_watts="190", power_default_watts="200"),
        gpu(power_limit_watts="nonsense", power_default_watts="200"),
        gpu(memory_free_bytes=str(5 << 30)),
        gpu(bf16="native", temperature_celsius="60"),
        gpu(tryout="works", growth_bytes="4096"),
        replace(FINE, power=Power("mains", "balanced")),
        replace(FINE, cpu=replace(FINE.cpu, quota=2.0)),
    ],
)
def test_nothing_wrong(here: Machine) -> None:
    assert findings(here) == ()


def test_several_equal_cards_are_told_of_once() -> None:
    card = Device("cuda", 0, "Card", 8 << 30, "sm_90", facts={"refused_for": "build", "refused": "Why", "remedy": "do"})
    here = replace(FINE, refused=(card, dataclasses.replace(card, index=1)))
    assert [finding.line for finding in findings(here)] == ["Why; do."]


def test_rules_are_listed() -> None:
    """A rule that is written and not listed would never speak."""
    written = {
        name for name, each in vars(doctor).items() if getattr(each, "__annotations__", {}).get("machine") is Machine
    }
    assert {rule.__name__ for rule in RULES} == written - {"findings"}
