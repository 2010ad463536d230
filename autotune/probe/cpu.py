"""Facts about the processor: who made it, what it can compute, how many cores there are and of which kind."""

import re

from autotune.devices.cpu import architecture
from autotune.machine import Cache, CoreGroup, Cpu, NumaNode
from autotune.probe.quota import cpu_quota
from autotune.reader import MOST_CPUS, Reader, cpu_list, whole_number

_CPUS = "/sys/devices/system/cpu"
_X86_VENDORS = {"GenuineIntel": "intel", "AuthenticAMD": "amd", "HygonGenuine": "hygon", "CentaurHauls": "zhaoxin"}
# Implementer codes of the ARM architecture (MIDR_EL1).
_ARM_VENDORS = {
    0x41: "arm",
    0x46: "fujitsu",
    0x48: "hisilicon",
    0x4E: "nvidia",
    0x51: "qualcomm",
    0x53: "samsung",
    0x61: "apple",
    0x6D: "microsoft",
    0xC0: "ampere",
}
_ARM_PARTS = {
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse N1",
    (0x41, 0xD40): "Neoverse V1",
    (0x41, 0xD49): "Neoverse N2",
    (0x41, 0xD4F): "Neoverse V2",
    (0xC0, 0xAC3): "Ampere-1",
}
# The kernel's or macOS' name of a feature -> ours.
_LINUX_FEATURES = {
    "avx2": "avx2",
    "avx512f": "avx512f",
    "avx512_vnni": "avx512_vnni",
    "avx512_bf16": "avx512_bf16",
    "avx_vnni": "avx_vnni",
    "amx_bf16": "amx_bf16",
    "amx_int8": "amx_int8",
    "asimd": "neon",
    "neon": "neon",
    "asimdhp": "fp16",
    "asimddp": "dotprod",
    "bf16": "bf16",
    "i8mm": "i8mm",
    "sve": "sve",
    "sve2": "sve2",
    "sme": "sme",
}
_MACOS_FEATURES = {
    "hw.optional.avx2_0": "avx2",
    "hw.optional.avx512f": "avx512f",
    "hw.optional.neon": "neon",
    "hw.optional.AdvSIMD": "neon",
    "hw.optional.arm.FEAT_FP16": "fp16",
    "hw.optional.arm.FEAT_DotProd": "dotprod",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_SME": "sme",
}
_INTEL_KINDS = ("core", "atom", "lowpower")  # as the kernel's performance counters call them
# Favoured cores of one kind differ by a few percent in their highest clock; another kind of core by more.
_SLOWER_KIND = 0.85


def cpu(reader: Reader) -> Cpu:
    """Everything about the processor; what can't be read is empty, and there is at least one core."""
    online = cpus_online(reader)
    vendor, model, family = identity(reader)
    return Cpu(
        vendor=vendor,
        model=model,
        family=family,
        arch=architecture(reader),
        isa=instruction_sets(reader),
        logical_cores=max(1, len(online)),
        physical_cores=max(1, physical_cores(reader, online)),
        affinity=affinity(reader, online),
        quota=cpu_quota(reader),
        core_groups=core_groups(reader, online),
        caches=caches(reader, online),
        numa=numa_nodes(reader),
    )


def identity(reader: Reader) -> tuple[str, str, str]:
    """(vendor, marketing name, family): "amd", "AMD Ryzen 9 7950X", "25.97"; "arm", "Cortex-A76", "0xd0b"."""
    if reader.system == "Darwin":
        facts = reader.facts("sysctl")
        model = facts.get("machdep.cpu.brand_string", "")
        vendor = "apple" if "Apple" in model else "intel" if "Intel" in model else "unknown"
        return vendor, model, _dotted(facts.get("machdep.cpu.family", ""), facts.get("machdep.cpu.model", ""))
    if reader.system == "Windows":
        return _windows_identity(reader)
    info = _first_values(reader)
    if "vendor_id" in info:
        vendor = _X86_VENDORS.get(info["vendor_id"], "unknown")
        return vendor, info.get("model name", ""), _dotted(info.get("cpu family", ""), info.get("model", ""))
    return _arm_identity(reader)


def _windows_identity(reader: Reader) -> tuple[str, str, str]:
    # "AMD64 Family 25 Model 33 Stepping 2, AuthenticAMD"
    text = reader.environment.get("PROCESSOR_IDENTIFIER", "")
    numbers = re.search(r"Family (\w+) Model (\w+)", text)
    vendor = _X86_VENDORS.get(text.rpartition(",")[2].strip(), "qualcomm" if "Qualcomm" in text else "unknown")
    return vendor, reader.facts("windows").get("model", ""), _dotted(*numbers.groups()) if numbers else ""


def _arm_identity(reader: Reader) -> tuple[str, str, str]:
    text = reader.text("/proc/cpuinfo") or ""
    implementers = [whole_number(code) for code in re.findall(r"^CPU implementer\s*:\s*(\S+)", text, re.MULTILINE)]
    parts = sorted(
        {number for code in re.findall(r"^CPU part\s*:\s*(\S+)", text, re.MULTILINE) if (number := whole_number(code))}
    )
    implementer = implementers[0] if implementers else None
    names = [_ARM_PARTS.get((implementer or 0, part), f"part {part:#x}") for part in parts]
    board = (reader.text("/proc/device-tree/model") or "").strip("\0 \n")
    model = " + ".join(names) + (f" ({board})" if board else "")
    vendor = _ARM_VENDORS.get(implementer or 0, "unknown")
    return vendor, model.strip(), "+".join(f"{part:#x}" for part in parts)


def _dotted(family: str, model: str) -> str:
    return f"{family}.{model}".strip(".")


def _first_values(reader: Reader) -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo."""
    found: dict[str, str] = {}
    for line in (reader.text("/proc/cpuinfo") or "").splitlines():
        name, separator, value = line.partition(":")
        if separator:
            found.setdefault(name.strip(), value.strip())
    return found


def instruction_sets(reader: Reader) -> tuple[str, ...]:
    """Sorted names as listed in `machine.Cpu`. On a mixed machine only what every core has."""
    if reader.system == "Darwin":
        facts = reader.facts("sysctl")
        found = {ours for theirs, ours in _MACOS_FEATURES.items() if facts.get(theirs) == "1"}
        return tuple(sorted(found | ({"neon"} if architecture(reader) == "arm64" else set())))
    if reader.system == "Windows":
        return tuple(sorted(reader.facts("windows").get("features", "").split()))
    text = reader.text("/proc/cpuinfo") or ""
    lists = [set(line.split()) for line in re.findall(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)]
    if not lists:
        return ()
    common = set.intersection(*lists)
    return tuple(sorted({ours for theirs, ours in _LINUX_FEATURES.items() if theirs in common}))


def cpus_online(reader: Reader) -> tuple[int, ...]:
    """Numbers of the logical cpus that are switched on."""
    if online := cpu_list(reader.text(f"{_CPUS}/online")):
        return online
    numbers = re.findall(r"^processor\s*:\s*(\d+)", reader.text("/proc/cpuinfo") or "", re.MULTILINE)
    if numbers:
        return tuple(sorted(int(number) for number in numbers))
    counted = whole_number(reader.facts("sysctl").get("hw.logicalcpu")) or whole_number(
        reader.facts("psutil").get("logical")
    )
    return tuple(range(counted)) if counted and 0 < counted <= MOST_CPUS else reader.affinity() or (0,)


def physical_cores(reader: Reader, online: tuple[int, ...]) -> int:
    """Cores without their hyper-threads; the number of logical ones where that can't be told."""
    siblings = {reader.text(f"{_CPUS}/cpu{cpu}/topology/thread_siblings_list") for cpu in online}
    if siblings and None not in siblings:
        return len(siblings)
    if reader.system == "Windows" and (cores := _windows_cores(reader)):
        return len(cores)
    text = reader.text("/proc/cpuinfo") or ""
    pairs = re.findall(r"^physical id\s*:\s*(\d+)(?:.*\n)*?core id\s*:\s*(\d+)", text, re.MULTILINE)
    if pairs:
        return len(set(pairs))
    counted = whole_number(reader.facts("sysctl").get("hw.physicalcpu")) or whole_number(
        reader.facts("psutil").get("physical")
    )
    return min(counted or len(online), len(online))


def affinity(reader: Reader, online: tuple[int, ...]) -> tuple[int, ...]:
    """The logical cpus this process may use, of those that are switched on; empty where the system can't say."""
    allowed = reader.affinity()
    return tuple(cpu for cpu in allowed if cpu in online) or allowed


def core_groups(reader: Reader, online: tuple[int, ...]) -> tuple[CoreGroup, ...]:
    """Performance and efficiency cores, or one uniform group."""
    fast, slow, slowest = (cpu_list(reader.text(f"/sys/devices/cpu_{kind}/cpus")) for kind in _INTEL_KINDS)
    if fast and (slow or slowest):
        return CoreGroup("performance", fast), CoreGroup("efficiency", tuple(sorted({*slow, *slowest})))
    if reader.system == "Darwin":
        return _apple_groups(reader, online)
    if reader.system == "Windows":
        return _windows_groups(reader, online)
    capacity = _per_cpu(reader, online, "cpu_capacity") or _per_cpu(reader, online, "cpufreq/cpuinfo_max_freq")
    best = max(capacity.values(), default=0)
    slow = tuple(cpu for cpu in online if capacity.get(cpu, best) < _SLOWER_KIND * best)
    if not slow:
        return (CoreGroup("uniform", online),)
    fast = tuple(cpu for cpu in online if cpu not in slow)
    return CoreGroup("performance", fast), CoreGroup("efficiency", slow)


def _windows_cores(reader: Reader) -> list[tuple[tuple[int, ...], int]]:
    """(its logical cpus, class) of each core; the class is higher for faster kinds."""
    words = (word.partition(":") for word in reader.facts("windows").get("cores", "").split())
    return [(cpu_list(cpus), whole_number(level) or 0) for cpus, _, level in words]


def _windows_groups(reader: Reader, online: tuple[int, ...]) -> tuple[CoreGroup, ...]:
    cores = _windows_cores(reader)
    best = max((level for _, level in cores), default=0)
    slow = tuple(sorted(cpu for cpus, level in cores if level < best for cpu in cpus))
    if not slow:
        return (CoreGroup("uniform", online),)
    fast = tuple(sorted(cpu for cpus, level in cores if level == best for cpu in cpus))
    return CoreGroup("performance", fast), CoreGroup("efficiency", slow)


def _apple_groups(reader: Reader, online: tuple[int, ...]) -> tuple[CoreGroup, ...]:
    facts = reader.facts("sysctl")
    fast, slow = (whole_number(facts.get(f"hw.perflevel{level}.logicalcpu")) or 0 for level in (0, 1))
    if not (0 < fast <= MOST_CPUS and 0 < slow <= MOST_CPUS):
        return (CoreGroup("uniform", online),)
    # macOS numbers nothing and pins nothing; the counts are what matters.
    return CoreGroup("performance", tuple(range(fast))), CoreGroup("efficiency", tuple(range(fast, fast + slow)))


def _per_cpu(reader: Reader, online: tuple[int, ...], name: str) -> dict[int, int]:
    values = {cpu: whole_number(reader.text(f"{_CPUS}/cpu{cpu}/{name}")) for cpu in online}
    return {cpu: value for cpu, value in values.items() if value is not None}


def caches(reader: Reader, online: tuple[int, ...]) -> tuple[Cache, ...]:
    """Level 2 and 3 caches, each once, with the logical cpus that share it."""
    if reader.system == "Darwin":
        facts = reader.facts("sysctl")
        second = whole_number(facts.get("hw.perflevel0.l2cachesize")) or whole_number(facts.get("hw.l2cachesize"))
        third = whole_number(facts.get("hw.l3cachesize"))  # Intel Macs only
        return tuple(Cache(level, size, ()) for level, size in ((2, second), (3, third)) if size)
    if reader.system == "Windows":
        words = (word.split(":") for word in reader.facts("windows").get("caches", "").split())
        known = {(whole_number(w[0]), whole_number(w[1]), cpu_list(w[2])) for w in words if len(w) == 3}
        return tuple(sorted((Cache(a, b, c) for a, b, c in known if a in (2, 3) and b and c), key=_order))
    found: set[tuple[int, tuple[int, ...], int]] = set()
    for cpu in online:
        folder = f"{_CPUS}/cpu{cpu}/cache"
        for index in reader.names(folder):
            level = whole_number(reader.text(f"{folder}/{index}/level"))
            shared = cpu_list(reader.text(f"{folder}/{index}/shared_cpu_list"))
            if level in (2, 3) and shared:
                found.add((level, shared, _size_bytes(reader.text(f"{folder}/{index}/size"))))
    return tuple(Cache(level, size, cpus) for level, cpus, size in sorted(found))


def _order(cache: Cache) -> tuple[int, tuple[int, ...]]:
    return cache.level, cache.cpus


def _size_bytes(text: str | None) -> int:
    """1024 out of "1K"; 0 if it can't be read."""
    match = re.fullmatch(r"(\d+)([KMG]?)", (text or "").strip())
    return int(match.group(1)) * {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}[match.group(2)] if match else 0


def numa_nodes(reader: Reader) -> tuple[NumaNode, ...]:
    """Memory nodes that have processors."""
    if reader.system == "Windows":
        words = (word.partition(":") for word in reader.facts("windows").get("numa", "").split())
        known = {whole_number(number) or 0: cpu_list(cpus) for number, _, cpus in words}
        return tuple(NumaNode(number, cpus) for number, cpus in sorted(known.items()) if cpus)
    folder = "/sys/devices/system/node"
    nodes: list[NumaNode] = []
    for name in reader.names(folder):
        number = whole_number(name.removeprefix("node")) if name.startswith("node") else None
        cpus = cpu_list(reader.text(f"{folder}/{name}/cpulist"))
        if number is None or not cpus:
            continue
        total = re.search(r"MemTotal:\s+(\d+) kB", reader.text(f"{folder}/{name}/meminfo") or "")
        nodes.append(NumaNode(number, cpus, int(total.group(1)) * 1024 if total else None))
    return tuple(sorted(nodes, key=lambda node: node.number))
