"""Engines on the golden checkpoints, each built once, and the voices of the golden cases."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from speaking import Speaker

from autotune.machine import Cpu, Machine, Memory, Software

MACHINES = Path(__file__).parent.parent / "machines"


@pytest.fixture(scope="session")
def speaker(golden) -> Speaker:
    return Speaker(golden)


@pytest.fixture(scope="session")
def full_speaker(full_golden) -> Speaker:
    return Speaker(full_golden)


@pytest.fixture
def machine() -> Machine:
    """Two cores, 16 GiB, no GPU."""
    cpu = Cpu("amd", "Test", "25.1", "x86_64", ("avx2",), logical_cores=2, physical_cores=2, affinity=(0, 1))
    packages = {"torch": "2.13.0+cpu"}
    return Machine(cpu, Memory(1 << 34, 1 << 33), (), Software("3.11", "linux", "6", packages=packages))


@pytest.fixture(scope="session")
def recorded_machine() -> Callable[[str], Machine]:
    """A machine of tests/machines by name, as the probe sees it."""
    from autotune.probe import probe

    recorded = load_recorded()

    def machine(name: str) -> Machine:
        reader, _ = recorded.read(MACHINES / f"{name}.txt")
        return probe(reader)

    return machine


def load_recorded() -> ModuleType:
    """tests/autotune/recorded.py, whose folder is on the path only when its own tests run."""
    spec = importlib.util.spec_from_file_location("recorded", MACHINES.parent / "autotune" / "recorded.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault("recorded", importlib.util.module_from_spec(spec))
    if not hasattr(module, "read"):
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(1)
