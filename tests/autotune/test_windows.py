"""The records of GetLogicalProcessorInformationEx, made here as winnt.h lays them out."""

import struct
from collections.abc import Sequence

import pytest

from autotune import windows
from autotune.reader import Recorded

CORE, NODE, CACHE, PACKAGE = 0, 1, 2, 3


def record(kind: int, body: bytes) -> bytes:
    return struct.pack("<II", kind, len(body) + 8) + body


def masks(cpus: Sequence[int]) -> bytes:
    """GROUP_AFFINITY records: mask, group, three reserved words."""
    groups = sorted({cpu // 64 for cpu in cpus})
    bits = (sum(1 << cpu % 64 for cpu in cpus if cpu // 64 == group) for group in groups)
    return b"".join(struct.pack("<QH6x", mask, group) for mask, group in zip(bits, groups, strict=True))


def core(cpus: Sequence[int], level: int) -> bytes:
    """Flags, EfficiencyClass, Reserved[20], GroupCount, GroupMask[]."""
    return record(CORE, struct.pack("<BB20xH", len(cpus) > 1, level, 1) + masks(cpus))


def cache(level: int, size: int, cpus: Sequence[int], groups: int = 1) -> bytes:
    """Level, Associativity, LineSize, CacheSize, Type, Reserved[18], GroupCount, GroupMask."""
    return record(CACHE, struct.pack("<BBHII18xH", level, 8, 64, size, 0, groups) + masks(cpus))


def node(number: int, cpus: Sequence[int]) -> bytes:
    """NodeNumber, Reserved[18], GroupCount, GroupMask."""
    return record(NODE, struct.pack("<I18xH", number, 1) + masks(cpus))


HYBRID = core([0, 1], 1) + core([2], 0) + core([3], 0) + cache(3, 25165824, [0, 1, 2, 3]) + node(0, [0, 1, 2, 3])


def test_cores_caches_and_nodes() -> None:
    package = record(PACKAGE, struct.pack("<BB20xH", 0, 0, 1) + masks([0, 1, 2, 3]))
    assert windows.topology(package + HYBRID) == {
        "cores": "0,1:1 2:0 3:0",
        "caches": "3:25165824:0,1,2,3",
        "numa": "0:0,1,2,3",
    }


def test_more_than_64_processors_are_numbered_by_group() -> None:
    two = record(CORE, struct.pack("<BB20xH", 1, 0, 2) + masks([63, 64]))
    assert windows.topology(two)["cores"] == "63,64:0"
    assert windows.topology(core([70], 0))["cores"] == "70:0"


def test_a_cache_of_an_older_windows_has_one_mask_and_no_count() -> None:
    assert windows.topology(cache(2, 512, [4, 5], groups=0))["caches"] == "2:512:4,5"


@pytest.mark.parametrize("cut", [1, 7, 30, 47, 60, len(HYBRID) - 1])
def test_a_cut_buffer_ends_the_reading(cut: int) -> None:
    found = windows.topology(HYBRID[:cut])
    assert len(found.get("cores", "").split()) < 3 or "numa" not in found


@pytest.mark.parametrize("buffer", [b"", bytes(48), bytes(1000), b"\xff" * 500])
def test_nonsense_is_nothing(buffer: bytes) -> None:
    assert windows.topology(buffer) == {}


def test_other_systems_have_no_windows_facts() -> None:
    assert windows.facts() == {} or "features" in windows.facts()
    assert Recorded("Linux", "", "x86_64", "3.12", {}).facts("windows") == {}
