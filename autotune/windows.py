"""What Windows tells of its processor and display adapters, as named texts: the registry and one system call.

The call fills a buffer of records; taking it apart is a plain function, so that it can be tested anywhere.
"""

import itertools
import struct
import sys
from collections.abc import Iterator, Mapping

# winnt.h: PF_* numbers of IsProcessorFeaturePresent, LOGICAL_PROCESSOR_RELATIONSHIP.
_FEATURES = {"avx2": 40, "avx512f": 41, "neon": 19, "dotprod": 43}
_CORE, _NUMA_NODE, _CACHE, _ALL = 0, 1, 2, 0xFFFF
_GROUP_SIZE = 64  # processors that one group of Windows holds
_PROCESSOR_KEY = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
_DISPLAY_KEY = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}"


def facts() -> Mapping[str, str]:
    """features: our names of instruction sets. model. adapters: names of display adapters, joined by "; ".

    cores, caches, numa: as `topology` gives them. What can't be read is left out; empty on other systems.
    """
    if sys.platform != "win32":
        return {}
    import ctypes

    present = [name for name, number in _FEATURES.items() if ctypes.windll.kernel32.IsProcessorFeaturePresent(number)]
    named = {"features": " ".join(present), "model": _processor_name(), "adapters": "; ".join(_adapters())}
    return {name: text for name, text in {**named, **topology(_processor_records())}.items() if text}


def topology(records: bytes) -> dict[str, str]:
    """Of the buffer that GetLogicalProcessorInformationEx(RelationAll) fills, on a 64-bit system.

    cores: one "cpus:class" per core, the class is higher for faster ones ("0,1:1 2:0").
    caches: "level:bytes:cpus" each. numa: one "number:cpus" per node. A damaged record ends the reading.
    """
    found: dict[str, list[str]] = {"cores": [], "caches": [], "numa": []}
    for kind, body in _records(records):
        if kind == _CORE:
            found["cores"].append(f"{_cpus(body, 22, 24)}:{body[1]}")
        elif kind == _CACHE:
            found["caches"].append(f"{body[0]}:{struct.unpack_from('<I', body, 4)[0]}:{_cpus(body, 30, 32)}")
        elif kind == _NUMA_NODE:
            found["numa"].append(f"{struct.unpack_from('<I', body)[0]}:{_cpus(body, 22, 24)}")
    return {name: " ".join(texts) for name, texts in found.items() if texts}


def _records(buffer: bytes) -> Iterator[tuple[int, bytes]]:
    """(relationship, body) of each record; 8 bytes of relationship and size go before a body."""
    start = 0
    while start + 8 <= len(buffer):
        kind, size = struct.unpack_from("<II", buffer, start)
        if size < 48 or start + size > len(buffer):
            return
        yield kind, buffer[start + 8 : start + size]
        start += size


def _cpus(body: bytes, count_at: int, masks_at: int) -> str:
    """ "0,1,64": numbers of the logical processors in a record's GROUP_AFFINITY list (mask, group, 6 bytes unused)."""
    count = max(1, struct.unpack_from("<H", body, count_at)[0])  # caches and nodes of old systems have 0 and one mask
    numbers: list[int] = []
    for index in range(count):
        if masks_at + 16 * (index + 1) > len(body):
            break
        mask, group = struct.unpack_from("<QH", body, masks_at + 16 * index)
        numbers += [group * _GROUP_SIZE + bit for bit in range(_GROUP_SIZE) if mask >> bit & 1]
    return ",".join(map(str, numbers))


def _processor_records() -> bytes:
    if sys.platform != "win32":
        return b""
    import ctypes

    size = ctypes.c_ulong(0)
    call = ctypes.windll.kernel32.GetLogicalProcessorInformationEx
    call(_ALL, None, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(max(1, size.value))
    return buffer.raw[: size.value] if call(_ALL, buffer, ctypes.byref(size)) else b""


def _processor_name() -> str:
    return _registry_text(_PROCESSOR_KEY, "ProcessorNameString")


def _adapters() -> list[str]:
    found: list[str] = []
    for number in itertools.count():
        name = _registry_text(rf"{_DISPLAY_KEY}\{number:04d}", "DriverDesc")
        if not name:
            return found
        found.append(name)
    return found


def _registry_text(key: str, name: str) -> str:
    if sys.platform != "win32":
        return ""
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:
            return str(winreg.QueryValueEx(opened, name)[0]).strip()
    except OSError:
        return ""
