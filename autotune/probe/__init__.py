"""What is here: one function per fact, each reading through a `Reader`, so that recorded machines can test them.

A fact that can't be read is absent, never guessed. Probing never raises, makes no device context and imports no torch.
"""

from collections.abc import Mapping
from dataclasses import replace

from autotune.devices import kinds, refusal
from autotune.machine import Device, Machine
from autotune.probe.cpu import cpu
from autotune.probe.memory import memory
from autotune.probe.power import power
from autotune.probe.software import environment, software
from autotune.reader import Live, Reader

_GIB = 1024**3


def probe(reader: Reader | None = None) -> Machine:
    """This machine, or the one that reader speaks for. Takes well under two seconds."""
    source = Live() if reader is None else reader
    devices: list[Device] = []
    refused: list[Device] = []
    absent: dict[str, str] = {}
    # The cpu comes last: devices are listed with the fastest kind first.
    for name, kind in sorted(kinds().items(), key=lambda item: (item[0] == "cpu", item[0])):
        found = kind.find(source)
        devices.extend(found.devices)
        refused.extend(found.refused)
        if found.reason is not None:
            absent[name] = found.reason
    known = Machine(
        cpu=cpu(source),
        memory=memory(source),
        devices=tuple(devices),
        software=software(source, tuple(devices)),
        environment=environment(source),
        power=power(source),
        absent=absent,
        refused=tuple(refused),
    )
    return replace(known, unknown=unknown(known, source.system))


def unknown(machine: Machine, system: str) -> Mapping[str, str]:
    """For each fact that is missing, why: the place where this system would tell it."""
    chip, gpus = machine.cpu, {device.kind for device in (*machine.devices, *machine.refused)}
    places = {
        "Linux": ("/proc/cpuinfo", "/sys/devices/system/cpu", "/sys/devices/system/node", "/proc/meminfo"),
        "Darwin": ("sysctl", "sysctl", "", "sysctl"),
        "Windows": ("IsProcessorFeaturePresent", "GetLogicalProcessorInformationEx", "", "GlobalMemoryStatusEx"),
    }
    flags, topology, nodes, sizes = places.get(system, ("", "", "", ""))
    nobody = f"{system} has no such facts"
    missing = {
        "cpu.vendor": (chip.vendor == "unknown", f"{flags} does not name it" if flags else nobody),
        "cpu.isa": (not chip.isa, f"{flags} lists none of ours" if flags else nobody),
        "cpu.affinity": (not chip.affinity, f"{system} does not pin processes to cores"),
        "cpu.caches": (not chip.caches, f"{topology} does not tell" if topology else nobody),
        "cpu.numa": (not chip.numa, f"{nodes} does not tell" if nodes else nobody),
        "memory.total_bytes": (not machine.memory.total_bytes, f"{sizes} does not tell" if sizes else nobody),
        "power.source": (not machine.power.source, "no battery and no power supply is listed"),
        "software.torch_build.kernels": (
            bool(gpus & {"cuda", "rocm"}) and "kernels" not in machine.software.torch_build,
            "torch's library has no list of architectures, or torch is not built for GPUs",
        ),
    }
    return {name: why for name, (lacking, why) in missing.items() if lacking}


def summary(machine: Machine) -> list[tuple[str, str]]:
    """(name, value) rows for people: processor, memory, devices, why others are absent, software, what is unknown."""
    chip = machine.cpu
    rows = [
        ("cpu", f"{chip.model or chip.vendor} ({chip.vendor} {chip.family}, {chip.arch})"),
        ("instruction sets", ", ".join(chip.isa) or "none known"),
        ("cores", _cores(machine)),
        ("memory", _memory(machine)),
    ]
    for device in machine.accelerators:
        rows.append((device.kind, f"{device.name}, {device.memory_bytes / _GIB:.1f} GiB, {device.arch}"))
    rows.extend((f"no {kind}", reason) for kind, reason in machine.absent.items())
    rows.extend((f"not {each.kind}", refusal(each)) for each in machine.refused if each.kind not in machine.absent)
    place = [machine.environment.container, "WSL" * machine.environment.wsl]
    place.append("virtual machine" * machine.environment.virtual_machine)
    system = f"{machine.software.os} {machine.software.os_version}, Python {machine.software.python}"
    rows.append(("system", ", ".join([system, *filter(None, place)])))
    versions = {**machine.software.packages, **machine.software.drivers, **machine.environment.overrides}
    rows.append(("software", ", ".join(f"{name} {version}" for name, version in versions.items())))
    current = [machine.power.source, machine.power.profile, *machine.power.limits]
    rows.append(("power", ", ".join(filter(None, current)) or "unknown"))
    rows.extend((f"unknown {name}", why) for name, why in machine.unknown.items())
    return rows


def _cores(machine: Machine) -> str:
    chip = machine.cpu
    parts = [f"{chip.usable_cores} usable of {chip.logical_cores} logical, {chip.physical_cores} physical"]
    if chip.quota is not None:
        parts.append(f"quota {chip.quota:g}")
    parts.extend(f"{len(group.cpus)} {group.kind}" for group in chip.core_groups if len(chip.core_groups) > 1)
    if len(chip.numa) > 1:
        parts.append(f"{len(chip.numa)} NUMA nodes")
    if domains := chip.cache_domains(3):
        parts.append(f"{len(domains)} x {chip.cache_bytes(3) / 1024**2:.0f} MiB L3")
    return ", ".join(parts)


def _memory(machine: Machine) -> str:
    sizes = machine.memory
    text = f"{sizes.total_bytes / _GIB:.1f} GiB, {sizes.available_bytes / _GIB:.1f} available"
    return text if sizes.limit_bytes is None else f"{text}, limited to {sizes.limit_bytes / _GIB:.1f}"
