"""The shipped guesses: as the tool writes them, possible on the machines they are for, and found from real ones."""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from autotune import knobs, store
from autotune.fingerprint import Fingerprint, distance, fingerprint
from autotune.machine import CoreGroup, Cpu, Device, Machine, Memory, Software
from sovits_rt import rules
from sovits_rt.scenarios import DEFAULT_SCENARIO
from sovits_rt.settings import Settings
from sovits_rt.tuning import PUBLISHED_SHAPE, SpeechSubject, subject_name

ROOT = Path(__file__).resolve().parent.parent.parent
GIB = 1024**3


def load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault(name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


derive_profiles = load("derive_profiles", ROOT / "tools" / "derive_profiles.py")
KINDS = {kind.name: kind for kind in derive_profiles.KINDS}


@pytest.fixture(scope="module")
def recorded() -> Callable[[str], Machine]:
    from autotune.probe import probe

    reader = load("recorded", ROOT / "tests" / "autotune" / "recorded.py")
    return lambda name: probe(reader.read(ROOT / "tests" / "machines" / f"{name}.txt")[0])


def built(facts: Fingerprint) -> Machine:
    """A machine with these facts, as far as the knobs and the subject look at them."""
    cpus = tuple(range(facts.cores))
    slow = cpus[facts.cores - facts.efficiency_cores :]
    groups = (CoreGroup("performance", cpus[: len(cpus) - len(slow)]), CoreGroup("efficiency", slow)) if slow else ()
    cpu = Cpu(
        vendor=facts.cpu_vendor,
        model="",
        family=facts.cpu_family,
        arch=facts.cpu_arch,
        isa=facts.isa,
        logical_cores=len(cpus),
        physical_cores=len(cpus),
        affinity=() if facts.kind == "mps" else cpus,
        core_groups=groups,
    )
    memory = facts.device_memory_gib * GIB
    gpu = [] if facts.kind == "cpu" else [Device(facts.kind, 0, facts.device_name, memory, facts.arch)]
    devices = (*gpu, Device("cpu", 0, "CPU", 0, facts.cpu_arch))
    return Machine(cpu, Memory(facts.memory_gib * GIB, facts.memory_gib * GIB), devices, Software("3.11", "linux", "6"))


def test_the_files_are_what_the_tool_writes() -> None:
    assert derive_profiles.differing(ROOT / "profiles") == [], "run tools/derive_profiles.py"


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    written = derive_profiles.write_all(tmp_path)
    assert derive_profiles.differing(tmp_path) == []
    first, second = written[:2]
    store.save(replace(store.load(first), settings={"semantic": {"slots": 1}}), tmp_path)
    second.unlink()
    assert derive_profiles.differing(tmp_path) == sorted([first.name, second.name])


def test_each_kind_has_a_file_of_its_own() -> None:
    profiles = [derive_profiles.derived(kind) for kind in KINDS.values()]
    assert len({profile.id for profile in profiles}) == len(profiles) >= 20
    assert len(KINDS) == len(derive_profiles.KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_a_guess_is_honest_and_possible(name: str) -> None:
    kind = KINDS[name]
    profile = derive_profiles.derived(kind)
    assert (profile.status, profile.evidence, profile.quality) == ("candidate", None, ())
    assert profile.provenance.origin == "derived"
    assert set(profile.provenance.source.split(", ")) <= set(rules.RULES)
    assert "Not measured" in profile.provenance.note
    machine = built(kind.facts)
    assert replace(fingerprint(machine), l3_mib=kind.facts.l3_mib) == kind.facts
    settings, changes = knobs.clamp(knobs.load(Settings, profile.settings), machine)
    # Which cores share a node is not among the facts.
    assert [change for change in changes if not change.startswith("process.cores: one-node")] == []
    assert SpeechSubject("gpt", "sovits", PUBLISHED_SHAPE, brief=True).reject(settings, machine) is None
    assert profile.settings["process"]["device"] == (kind.facts.kind if kind.facts.kind in ("cuda", "rocm") else "cpu")


def test_every_rule_is_used_or_for_machines_that_are_not_listed() -> None:
    used = {name for kind in KINDS.values() for name in rules.guess(kind.facts, PUBLISHED_SHAPE).rules}
    assert set(rules.RULES) - used == {"small-gpu-window"}
    small = replace(KINDS["GeForce RTX 3050"].facts, device_memory_gib=4)
    assert rules.guess(small, PUBLISHED_SHAPE).settings.acoustic.window == 400


def test_less_memory_means_fewer_slots_and_other_models_more() -> None:
    facts = KINDS["GeForce RTX 3050"].facts
    sizes = (0, 1, 2, 4, 8, 24)
    slots = [
        rules.guess(replace(facts, device_memory_gib=size), PUBLISHED_SHAPE).settings.semantic.slots for size in sizes
    ]
    print(dict(zip(sizes, slots, strict=True)))
    assert slots == sorted(slots)
    assert (slots[0], slots[-1]) == (1, 32)
    assert rules.guess(replace(facts, device_memory_gib=1), "3x64-64").settings.semantic.slots == 32


def test_half_precision_only_where_the_hardware_has_it() -> None:
    half = {name for name, kind in KINDS.items() if "bf16" in str(rules.guess(kind.facts, PUBLISHED_SHAPE).settings)}
    assert {"GeForce RTX 4090", "Radeon RX 7600", "Graviton3", "server, Intel with AMX"} <= half
    assert not half & {"T4", "Apple M2", "Raspberry Pi 5", "Graviton2", "laptop, AMD", "server, AMD EPYC 7003"}


@pytest.mark.parametrize(
    ("machine", "kind"),
    [
        ("two_gpus_hidden", "GeForce RTX 4090"),
        ("wsl_rtx3060_laptop", "GeForce RTX 3050"),  # 6 GiB: nearer to 8 than to 12
        ("h200_host", "H100 80GB"),
        ("h100_mig", "H100 80GB"),
        ("windows_gtx1660", "T4"),  # the only one of its architecture
        ("rx_7900_xtx", "Radeon RX 7900 XTX"),
        ("wsl_rx_7900_xt", "Radeon RX 7900 XTX"),
        ("macbook_m2", "Apple M2"),
        ("raspberry_pi_5", "Raspberry Pi 5"),
        ("graviton3", "Graviton3"),
        ("laptop_i7_1260p", "laptop, Intel with slow cores"),
        ("epyc_7763_dual", "server, AMD EPYC 7003"),
        ("sapphire_rapids", "server, Intel with AMX"),
    ],
)
def test_real_machines_find_their_kind(
    recorded: Callable[[str], Machine], tmp_path: Path, machine: str, kind: str
) -> None:
    here = recorded(machine)
    found = store.resolve(
        here,
        subject=subject_name(PUBLISHED_SHAPE),
        scenario=DEFAULT_SCENARIO,
        user_dir=tmp_path,
        shipped_dirs=(ROOT / "profiles",),
    )
    assert found.profile is not None
    print(found.notes)
    assert found.profile.match.facts == KINDS[kind].facts
    assert (found.profile.status, found.trusted) == ("candidate", False)


@pytest.mark.parametrize("machine", ["nothing_readable", "mac_intel", "cgroup_v1_host_path", "rx_6800"])
def test_where_nothing_fits_no_vendor_or_kind_is_crossed(
    recorded: Callable[[str], Machine], tmp_path: Path, machine: str
) -> None:
    here = fingerprint(recorded(machine))
    for kind in KINDS.values():
        apart = distance(here, kind.facts)
        assert apart is None or (here.vendor, here.kind) == (kind.facts.vendor, kind.facts.kind)
