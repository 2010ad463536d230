"""Every recorded machine is found as what it is; this machine is found fast and without importing torch."""

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import recorded
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.fingerprint import GIB, fingerprint
from autotune.machine import Machine
from autotune.probe import probe, summary

MACHINES = pytest.mark.parametrize("path", recorded.PATHS, ids=lambda path: path.stem)


def found(machine: Machine) -> dict[str, Any]:
    """What a recording may expect, read off the machine."""
    chip, limit = machine.cpu, machine.memory.limit_bytes
    return {
        "hw_class": fingerprint(machine).hw_class,
        "vendor": chip.vendor,
        "model": chip.model,
        "family": chip.family,
        "isa": list(chip.isa),
        "logical": chip.logical_cores,
        "physical": chip.physical_cores,
        "usable": chip.usable_cores,
        "usable_physical": chip.usable_physical_cores,
        "quota": chip.quota,
        "performance": len(chip.cpus_of("performance")),
        "efficiency": len(chip.cpus_of("efficiency")),
        "l3_domains": len(chip.cache_domains(3)),
        "numa": len(chip.numa),
        "memory_gib": round(machine.memory.total_bytes / GIB),
        "limit_gib": None if limit is None else limit / GIB,
        "container": machine.environment.container,
        "wsl": machine.environment.wsl,
        "virtual_machine": machine.environment.virtual_machine,
        "overrides": dict(machine.environment.overrides),
        "devices": [f"{device.kind} {device.arch} {device.name}" for device in machine.accelerators],
        "indices": [device.index for device in machine.accelerators],
        "drivers": dict(machine.software.drivers),
        "refused": [f"{device.kind} {device.facts['refused_for']}" for device in machine.refused],
        "power": [word for word in (machine.power.source, machine.power.profile, *machine.power.limits) if word],
        "openmp": len(machine.software.openmp),
        "build": {name: text for name, text in machine.software.torch_build.items() if name != "kernels"},
        "translated": machine.environment.translated,
        "wsl_gpu": machine.environment.wsl_gpu,
        "unknown": sorted(machine.unknown),
    }


@MACHINES
def test_recorded_machine_is_recognised(path: Path) -> None:
    reader, expected = recorded.read(path)
    machine = probe(reader)
    reasons, facts = expected.pop("absent", {}), expected.pop("facts", {})
    for other in ("findings", "speech"):  # of test_doctor.py
        expected.pop(other, None)
    actual = found(machine)
    assert {name: actual[name] for name in expected} == expected
    for kind, part in reasons.items():
        assert part in machine.absent[kind]
    for name, value in facts.items():
        assert machine.devices[0].facts[name] == value


@MACHINES
def test_every_kind_is_found_or_absent_with_a_sentence(path: Path) -> None:
    machine = probe(recorded.read(path)[0])
    for kind in ("cuda", "rocm", "mps", "cpu"):
        assert machine.has(kind) != (kind in machine.absent)
    assert all(reason.endswith(".") for reason in machine.absent.values())
    assert machine.devices[-1].kind == "cpu"


@MACHINES
def test_machine_survives_json(path: Path) -> None:
    machine = probe(recorded.read(path)[0])
    assert Machine.from_dict(json.loads(json.dumps(machine.to_dict()))) == machine


@MACHINES
def test_summary_is_text_for_people(path: Path) -> None:
    rows = summary(probe(recorded.read(path)[0]))
    assert {"cpu", "cores", "memory", "system"} <= {name for name, _ in rows}
    assert all(isinstance(value, str) for _, value in rows)


def test_enough_machines_are_recorded() -> None:
    assert len(recorded.PATHS) >= 60


def test_nvml_is_closed_again() -> None:
    reader, _ = recorded.read(recorded.FOLDER / "h200_host.txt")
    probe(reader)
    assert reader.nvml_module.open == 0


def test_a_lost_gpu_does_not_hide_the_others() -> None:
    reader, _ = recorded.read(recorded.FOLDER / "two_gpus_hidden.txt")
    nvml = recorded.FakeNvml({**reader.nvml_module.data})
    nvml.data["gpus"] = [{**nvml.data["gpus"][0], "lost": True}, nvml.data["gpus"][1]]
    machine = probe(dataclasses.replace(reader, nvml_module=nvml))
    assert [device.name for device in machine.accelerators] == ["NVIDIA GeForce RTX 4090"]


def test_this_machine_takes_under_two_seconds_and_no_torch() -> None:
    code = "import sys; from autotune.probe import probe; probe(); print('torch' in sys.modules)"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    print(f"fresh process with probe: {time.perf_counter() - start:.2f} s")
    assert done.stdout.strip() == "False"
    start = time.perf_counter()
    machine = probe()
    assert time.perf_counter() - start < 2
    assert machine.usable_cores >= 1
    assert machine.memory.total_bytes > 0


_PATHS_READ = sorted({name for path in recorded.PATHS for name in recorded.read(path)[0].files})
_WORDS = st.text("0123456789-,: \n/abgfxkKM_\t#", max_size=40)


@settings(max_examples=60, deadline=None)
@given(files=st.dictionaries(st.sampled_from(_PATHS_READ), _WORDS, max_size=25), cpus=st.sets(st.integers(0, 9000)))
def test_probing_never_raises(files: dict[str, str], cpus: set[int]) -> None:
    for system in ("Linux", "Darwin", "Windows"):
        values = {
            name: text for text in files.values() for name in ("hw.memsize", "hw.logicalcpu", "logical", "physical")
        }
        reader = recorded.Recorded(
            system, "", "x86_64", "3.12.0", files, {"sysctl": values, "psutil": values}, tuple(sorted(cpus)), files
        )
        machine = probe(reader)
        assert machine.usable_cores >= 1
        assert Machine.from_dict(machine.to_dict()) == machine
        summary(machine)
        fingerprint(machine)
