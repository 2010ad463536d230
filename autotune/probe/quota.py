"""What a container or service manager grants: CPU time and memory, through control groups of version 1 and 2."""

from collections.abc import Iterator

from autotune.reader import Reader, whole_number


def cpu_quota(reader: Reader) -> float | None:
    """CPUs' worth of time, the smallest limit on the way from this process' group up to the root; None for no limit."""
    limits = [*_quotas_v2(reader), *_quotas_v1(reader)]
    return min(limits, default=None)


def memory_limit(reader: Reader) -> int | None:
    """Bytes, the smallest limit on the way up to the root; None for no limit."""
    texts = [reader.text(f"{folder}/memory.max") for folder in group_folders(reader, "")]
    texts += [reader.text(f"{folder}/memory.limit_in_bytes") for folder in group_folders(reader, "memory")]
    limits = [limit for text in texts if (limit := whole_number(text)) is not None]
    # Version 1 writes "no limit" as a number near 2**63, rounded down to a page.
    return min((limit for limit in limits if 0 < limit < 1 << 62), default=None)


def _quotas_v2(reader: Reader) -> Iterator[float]:
    for folder in group_folders(reader, ""):
        # "150000 100000" or "max 100000", in microseconds
        words = (reader.text(f"{folder}/cpu.max") or "").split()
        quota = whole_number(words[0]) if words else None
        period = whole_number(words[1]) if len(words) > 1 else 100_000
        if quota is not None and period and quota > 0 and period > 0:
            yield quota / period


def _quotas_v1(reader: Reader) -> Iterator[float]:
    for folder in group_folders(reader, "cpu"):
        quota = whole_number(reader.text(f"{folder}/cpu.cfs_quota_us"))
        period = whole_number(reader.text(f"{folder}/cpu.cfs_period_us"))
        if quota is not None and period is not None and quota > 0 and period > 0:
            yield quota / period


def group_folders(reader: Reader, controller: str) -> list[str]:
    """Folders of this process' group and its parents, innermost first. controller: "cpu", …, or "" for version 2."""
    path = _own_group(reader, controller)
    mount, root = _mount(reader, controller)
    # Inside a container the path is often the host's, while only the own group is mounted.
    inner = path.removeprefix(root.rstrip("/")) if root != "/" else path
    parts = [part for part in inner.split("/") if part and part != ".."]
    return [f"{mount}/{'/'.join(parts[:length])}".rstrip("/") for length in range(len(parts), -1, -1)]


def _own_group(reader: Reader, controller: str) -> str:
    for line in (reader.text("/proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            return path
    return "/"


def _mount(reader: Reader, controller: str) -> tuple[str, str]:
    """(where the hierarchy is mounted, which of its folders is mounted there)."""
    for line in (reader.text("/proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        left, right = before.split(), after.split()
        if len(left) < 5 or len(right) < 3:
            continue
        if right[0] == "cgroup2" and not controller:
            return left[4], left[3]
        if right[0] == "cgroup" and controller and controller in right[2].split(","):
            return left[4], left[3]
    return ("/sys/fs/cgroup" + (f"/{controller}" if controller else "")), "/"
