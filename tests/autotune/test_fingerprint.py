import math
from dataclasses import replace

import pytest
import recorded
from sample_settings import machine

from autotune.fingerprint import (
    Fingerprint,
    distance,
    fingerprint,
    hw_class,
    is_exact,
    main_device,
    qualifiers,
    software_changes,
    software_stamp,
)
from autotune.machine import Device, Memory
from autotune.probe import probe

ALL = {path.stem: fingerprint(probe(recorded.read(path)[0])) for path in recorded.PATHS}
PAIRS = [(a, b) for a in sorted(ALL) for b in sorted(ALL)]


def test_distance_is_a_distance() -> None:
    for a, b in PAIRS:
        there, back = distance(ALL[a], ALL[b]), distance(ALL[b], ALL[a])
        assert there == back or (there is not None and back is not None and math.isclose(there, back))
        assert there is None or there >= 0
        assert (there == 0) == (ALL[a] == ALL[b])


def test_recorded_machines_are_all_different() -> None:
    # Recordings about a device's absence say nothing of the processor: those can't be told apart.
    told = [(a, b) for a, b in PAIRS if a != b and ALL[a].cpu_vendor != "unknown"]
    assert len(told) > 300
    assert [(a, b) for a, b in told if is_exact(ALL[a], ALL[b])] == []
    assert all(is_exact(facts, facts) for facts in ALL.values())


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("h200_host", "rx_7900_xtx"),  # vendors
        ("h200_host", "sapphire_rapids"),  # kinds
        ("epyc_vm_2c", "graviton3"),  # architectures
        ("ryzen_7950x3d", "sapphire_rapids"),  # vendors of processors
        ("macbook_m2", "graviton3"),
        ("rx_7900_xtx", "radeon_780m_overridden"),  # what was overridden is not what it claims to be
    ],
)
def test_nothing_is_learned_across_vendors_and_kinds(a: str, b: str) -> None:
    assert distance(ALL[a], ALL[b]) is None


def test_nearer_machines_are_nearer() -> None:
    small = fingerprint(machine(cores=4))
    apart = [distance(small, fingerprint(machine(cores=cores))) for cores in (4, 5, 8, 16, 64)]
    assert apart == sorted(apart, key=lambda value: value if value is not None else -1.0)
    assert apart[2] == pytest.approx(1.0)
    card = fingerprint(machine(gpu="sm_89"))
    assert (distance(card, replace(card, device_memory_gib=12)) or 0) < (
        distance(card, replace(card, arch="sm_75")) or 0
    )
    assert (distance(card, replace(card, cores=8)) or 9) < (distance(card, replace(card, device_memory_gib=12)) or 0)


def test_exact_forgives_memory_jitter_only() -> None:
    here = fingerprint(replace(machine(), memory=Memory(64 * 1024**3, 0)))
    assert is_exact(here, replace(here, memory_gib=63))
    assert not is_exact(here, replace(here, memory_gib=32))
    assert not is_exact(here, replace(here, cores=here.cores + 1))
    assert not is_exact(here, replace(here, cpu_family="25.33"))
    assert not is_exact(here, replace(here, isa=(*here.isa, "avx512f")))


def test_nothing_names_one_machine() -> None:
    for facts in ALL.values():
        text = repr(facts)
        assert "GPU-" not in text
        assert "uuid" not in text


def test_the_main_device_is_the_largest_gpu() -> None:
    cards = (Device("cuda", 0, "a", 5, "sm_75"), Device("cuda", 1, "b", 9, "sm_89"), Device("cpu", 0, "CPU", 0, "x"))
    chosen = main_device(replace(machine(), devices=cards))
    assert chosen is not None
    assert chosen.name == "b"
    assert main_device(replace(machine(), devices=())) is None
    assert hw_class(replace(machine(), devices=())) == "x86-avx2-4c"


def test_qualifiers_are_for_people() -> None:
    assert qualifiers(machine(gpu="sm_90")) == {
        "cpu": "amd 25.1",
        "isa": "avx2",
        "cores": "4",
        "memory": "16 GiB",
        "l3": "0 MiB",
        "device": "GPU",
    }


def test_software_that_matters() -> None:
    stamp = software_stamp(machine(gpu="sm_90"))
    assert stamp == {"python": "3.12.1", "torch": "2.13.0+cpu", "nvidia": "580.1"}
    assert software_changes(stamp, {**stamp, "torch": "2.13.1+cpu", "python": "3.12.9"}) == []
    assert software_changes(stamp, {**stamp, "torch": "2.14.0+cpu"}) == ["torch: 2.13.0+cpu -> 2.14.0+cpu"]
    assert software_changes(stamp, {**stamp, "torch": "2.13.0+cu130"}) == ["torch: 2.13.0+cpu -> 2.13.0+cu130"]
    assert software_changes(stamp, {"python": "3.12.1", "torch": "2.13.0+cpu"}) == ["nvidia: 580.1 -> not there"]


def test_fingerprint_has_no_default_that_hides_a_fact() -> None:
    facts = ALL["nothing_readable"]
    assert (facts.memory_gib, facts.l3_mib, facts.isa, facts.cpu_vendor) == (0, 0, (), "unknown")
    assert isinstance(facts, Fingerprint)
