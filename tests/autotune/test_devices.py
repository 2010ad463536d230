"""What device kinds do inside a worker; finding is tested on recorded machines in test_probe.py."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from autotune.devices import DeviceKind, cuda, kinds, rocm
from autotune.machine import Device

CPU: DeviceKind = kinds()["cpu"]
CARD = Device("cuda", 1, "Card", 0, "sm_86", {"uuid": "GPU-bbb"})


def test_the_cpu_reports_its_memory_and_peak() -> None:
    name = CPU.torch_name(Device("cpu", 0, "CPU", 0, "x86_64"))
    CPU.reset_peak(name)
    before = CPU.memory_used(name)
    block = torch.ones(64 * 1024**2, dtype=torch.uint8)
    held = CPU.memory_used(name) - before
    del block
    CPU.synchronize(name)
    CPU.empty_cache(name)
    print(f"64 MiB block: resident set grew by {held / 1024**2:.1f} MiB")
    assert held > 48 * 1024**2
    assert CPU.memory_peak(name) >= before + 48 * 1024**2


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (110000, "gfx1100"),
        (90010, "gfx90a"),
        (90402, "gfx942"),
        (90500, "gfx950"),
        (100300, "gfx1030"),
        (110501, "gfx1151"),
        (120001, "gfx1201"),
    ],
)
def test_kernel_numbers_of_amd_architectures(version: int, name: str) -> None:
    assert rocm.gfx_name(version) == name


def test_torch_and_driver_lists_are_joined_by_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    properties = [SimpleNamespace(uuid="bbb"), SimpleNamespace(uuid="aaa")]
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties[index])
    assert cuda.DEVICE.torch_name(CARD) == "cuda:0"


def test_rocm_devices_are_called_cuda_by_torch() -> None:
    assert rocm.DEVICE.torch_name(Device("rocm", 2, "Card", 0, "gfx1100")) == "cuda:2"


@pytest.mark.parametrize(
    ("built", "arch", "works"),
    [
        (["sm_80", "sm_86", "sm_90"], "sm_86", True),
        (["sm_80"], "sm_89", True),
        (["sm_90"], "sm_86", False),
        (["sm_75", "sm_80"], "sm_61", False),
        (["sm_90", "compute_90"], "sm_120", True),
        (["sm_90"], "sm_120", False),
        (["sm_100", "sm_120"], "sm_120", True),
        (["sm_120"], "sm_121", True),
        (["sm_90a"], "sm_90", True),
        (["sm_100a"], "sm_103", False),
        (["sm_75"], "sm_70", False),
        (["compute_120"], "sm_90", False),
        (["nonsense"], "sm_90", False),
    ],
)
def test_which_gpus_run_the_code_of_a_build(built: list[str], arch: str, works: bool) -> None:
    assert cuda.runs_on(arch, built) == works


def test_every_kind_offers_the_whole_contract() -> None:
    names = [name for name in dir(DeviceKind) if not name.startswith("_")]
    for kind in kinds().values():
        missing: list[Any] = [name for name in names if not hasattr(kind, name)]
        assert missing == []
