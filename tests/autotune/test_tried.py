"""The first try of a device, on the processor in place of a GPU, and what a broken one leaves behind."""

import pytest

from autotune.devices import _tryout
from autotune.devices._tryout import growth_per_run, tryout
from autotune.machine import Device
from autotune.probe.tried import tried

CPU = Device("cpu", 0, "CPU", 0, "x86_64")
MIB = 1024**2


def test_a_working_device_works() -> None:
    found = tryout(CPU, range(64, 128, 8))
    print(found)
    assert found["tryout"] == "works"
    assert "unreliable" not in found


def test_a_process_of_its_own_answers_with_facts() -> None:
    found = tried(CPU)
    print(found.facts)
    assert found.facts["tryout"] == "works"
    assert float(found.facts["growth_bytes"]) < MIB


def test_a_device_that_torch_has_not_is_a_fact() -> None:
    found = tried(Device("cuda", 0, "Card", 0, "sm_90", {"uuid": "GPU-1"}))
    assert found.facts["tryout"] != "works"
    assert "\n" not in found.facts["tryout"]


def test_a_device_that_hangs_is_a_fact() -> None:
    assert tried(CPU, limit_seconds=0.05).facts["tryout"] == "does not answer within 0.05 s"


def test_wrong_numbers_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tryout, "TOLERANCE", -1.0)
    assert tryout(CPU, range(64, 128, 8))["tryout"].startswith("differs from the processor by")


@pytest.mark.parametrize(
    ("seen", "growth"),
    [
        (lambda run: 100 * MIB + run * MIB, MIB),  # a cache per shape
        (lambda run: 100 * MIB, 0),
        (lambda run: 100 * MIB + min(run, 6) * 50 * MIB, 0),  # warm-up only
        (lambda run: 100 * MIB + (run > 30) * 64 * MIB, 0),  # one more block of an allocator
        (lambda run: (100 + run % 2) * MIB, 0),  # up and down
        (lambda run: (100 + run // 9 * 9) * MIB, MIB),  # a block for several shapes
    ],
)
def test_growth_is_what_goes_on_growing(seen: object, growth: int) -> None:
    assert callable(seen)
    runs: list[int] = []
    found = growth_per_run(runs.append, 48, lambda: seen(len(runs)))
    assert runs == list(range(48))
    assert found == pytest.approx(growth, abs=200 * 1024)
