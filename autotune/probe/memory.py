"""Facts about main memory."""

import re

from autotune.machine import Memory
from autotune.probe.quota import memory_limit
from autotune.reader import Reader, whole_number


def memory(reader: Reader) -> Memory:
    """Sizes in bytes; 0 where they can't be read. A limit that is larger than the memory is none."""
    text = reader.text("/proc/meminfo") or ""
    found = {name: int(size) * 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    general = reader.facts("psutil")
    total = found.get("MemTotal") or whole_number(reader.facts("sysctl").get("hw.memsize")) or 0
    total = total or whole_number(general.get("total_bytes")) or 0
    available = found.get("MemAvailable") or whole_number(general.get("available_bytes")) or 0
    limit = memory_limit(reader)
    return Memory(total, available, limit if limit is not None and (not total or limit < total) else None)
