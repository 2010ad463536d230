"""What the doctor says of speech: on recorded machines, on broken installations, and with profiles."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from test_selection import profile

from autotune import doctor as machine_doctor
from autotune import store
from autotune.machine import Device, Machine, Memory
from autotune.probe.loaded import Loaded
from sovits_rt import doctor, selection
from sovits_rt.doctor import Installation, diagnose, findings, missing_extras, plan
from sovits_rt.selection import profile_folder
from sovits_rt.tuning import PUBLISHED_SHAPE, subject_name

FOLDER = Path(__file__).parent.parent / "machines"
SUBJECT = subject_name(PUBLISHED_SHAPE)
FINE = Installation()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without profiles, and no shipped ones."""
    for name in ("XDG_DATA_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setattr(selection, "shipped_folder", lambda: tmp_path / "shipped")


def codes(machine: Machine, installation: Installation = FINE) -> list[str]:
    return [f"{finding.severity} {finding.code}" for finding in findings(machine, installation)]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_recorded_machine_has_these_findings_of_speech(path: Path, recorded_machine: Callable[[str], Machine]) -> None:
    expected = yaml.safe_load(path.read_text(encoding="utf-8").split("=== expect\n")[1])
    machine = recorded_machine(path.stem)
    of_machine = machine_doctor.findings(machine)
    of_speech = [finding for finding in findings(machine, FINE) if finding not in of_machine]
    for finding in of_speech:
        print(finding.severity, finding.line)
    assert [f"{finding.severity} {finding.code}" for finding in of_speech] == expected.get("speech", [])


def test_a_machine_in_order(machine: Machine) -> None:
    assert codes(machine) == []


@pytest.mark.parametrize(
    ("installation", "expected"),
    [
        (Installation(missing={"zh": ("jieba",)}), ["warning extra-zh"]),
        (Installation(missing={"m4a": ("av",)}), ["note extra-m4a"]),
        (Installation(missing={"zh": ("jieba",), "en": ("nltk",), "auto": ("split-lang",)}), ["error no-language"]),
        (Installation(failures={"torch": "OSError: no DLL."}), ["error import-torch"]),
        (Installation(failures={"onnxruntime": "ImportError: no DLL"}), ["warning import-onnxruntime"]),
        (Installation(backends={"compiled": "torch.compile needs a C++ compiler"}), ["note backend-compiled"]),
        (Installation(profiles="old.yaml can't be used."), ["error profile"]),
    ],
)
def test_one_thing_wrong_with_the_installation(
    machine: Machine, installation: Installation, expected: list[str]
) -> None:
    assert codes(machine, installation) == expected
    for finding in findings(machine, installation):
        assert not finding.line.endswith("..")


def test_packages_of_extras_that_are_missing() -> None:
    requirements = [
        "numpy>=1.26",
        'jieba>=0.42.1; extra == "zh"',
        "pypinyin<0.56,>=0.55; extra == 'zh'",
        "av>=12.0; python_version < '4' and extra == 'm4a'",
        "pytest; extra == 'dev'",
        "sovits-rt[zh]; extra == 'all'",
    ]
    assert missing_extras(requirements, lambda package: False) == {"zh": ("jieba", "pypinyin"), "m4a": ("av",)}
    assert missing_extras(requirements, lambda package: package != "pypinyin") == {"zh": ("pypinyin",)}


def test_memory_for_the_batch(machine: Machine) -> None:
    assert codes(replace(machine, memory=Memory(1 << 30, 1 << 33))) == ["warning memory-small", "warning batch-memory"]
    tight = findings(replace(machine, memory=Memory(1 << 40, 1 << 33, limit_bytes=1 << 30)), FINE)
    assert tight[1].remedy == "--set semantic.slots=2"
    assert codes(replace(machine, memory=Memory(1 << 34, 1 << 30))) == ["warning memory-taken"]
    assert codes(replace(machine, memory=Memory(0, 0))) == []  # not known


def test_a_small_gpu_and_its_batch(machine: Machine) -> None:
    card = Device("cuda", 0, "Small Card", 1 << 30, "sm_86")
    assert codes(replace(machine, devices=(card,))) == ["warning batch-memory", "warning gpu-small"]


def test_the_plan_without_profiles(machine: Machine) -> None:
    found = plan(machine, SUBJECT)
    assert (found.how, found.profile, found.status, found.device) == ("none", "default", "", "cpu")
    assert found.device_reason == "there is no GPU"
    assert (found.threads, found.precision) == (2, {"decoder": "fp32", "vocoder": "fp32"})


def test_the_plan_with_the_profile_of_this_machine(machine: Machine) -> None:
    made = profile(machine)
    store.save(made, profile_folder())
    found = plan(machine, SUBJECT)
    assert (found.how, found.profile, found.status) == ("exact-local", made.id, "verified")
    assert found.device_reason == "the profile says so"


def test_the_plan_with_a_near_profile(machine: Machine) -> None:
    store.save(profile(replace(machine, memory=Memory(1 << 35, 1 << 33))), profile_folder())
    assert plan(machine, SUBJECT).how == "nearest"


@pytest.mark.parametrize(
    ("name", "device", "why"),
    [
        ("core_13700k_rtx4090", "cuda (NVIDIA GeForce RTX 4090)", "the first GPU that torch can use"),
        ("rx_9070_xt_capped", "rocm (AMD Radeon RX 9070 XT)", "the first GPU that torch can use"),
        ("rtx3060_driver_too_old", "cpu", "no GPU that is here can be used"),
        ("mac_mini_m4", "cpu", "Apple's GPU is taken only where tuning finds it faster"),
        ("graviton4", "cpu", "there is no GPU"),
    ],
)
def test_the_device_and_why(name: str, device: str, why: str, recorded_machine: Callable[[str], Machine]) -> None:
    found = plan(recorded_machine(name), SUBJECT)
    assert (found.device, found.device_reason) == (device, why)


@pytest.fixture
def asked(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A diagnosis of the test's machine, where every package imports."""
    monkeypatch.setattr(doctor, "after_importing", lambda modules: Loaded())
    monkeypatch.setattr(doctor, "probe", lambda: machine)


@pytest.mark.usefixtures("asked")
def test_models_that_were_tuned_here_have_a_plan_too(machine: Machine) -> None:
    store.save(profile(machine, subject="gpt-sovits-3x64-64"), profile_folder())
    found = diagnose()
    assert [each.subject for each in found.plans] == [SUBJECT, "gpt-sovits-3x64-64"]
    assert [each.how for each in found.plans] == ["none", "exact-local"]


@pytest.mark.usefixtures("asked")
def test_a_damaged_profile_is_a_finding_and_no_failure() -> None:
    profile_folder().mkdir(parents=True)
    (profile_folder() / "broken.yaml").write_text("schema: 1\nid: [", encoding="utf-8")
    found = diagnose()
    assert not found.can_run
    assert "broken.yaml can't be used" in found.findings[0].text
    assert found.plans[0].profile == "default"


def test_what_a_child_loaded_is_judged(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    two = ("/a/libgomp.so.1", "/b/libiomp5.so")
    monkeypatch.setattr(doctor, "after_importing", lambda modules: Loaded(two, {"torch": "OSError: no"}))
    monkeypatch.setattr(doctor, "probe", lambda: machine)
    found = {finding.code for finding in diagnose().findings}
    assert {"openmp-twice", "import-torch"} <= found
