"""What is here: one function per fact, each reading through a `Reader`, so that recorded machines can test them.

A fact that can't be read is absent, never guessed. Probing never raises, makes no device context and imports no torch.
"""

from autotune.devices import kinds
from autotune.machine import Device, Machine
from autotune.probe.cpu import cpu
from autotune.probe.memory import memory
from autotune.probe.software import environment, software
from autotune.reader import Live, Reader

_GIB = 1024**3
_SMALL_GPU_BYTES = 6 * _GIB
_NOMINAL = 0.97  # a "6 GB" card reports a little less


def probe(reader: Reader | None = None) -> Machine:
    """This machine, or the one that reader speaks for. Takes well under two seconds."""
    source = Live() if reader is None else reader
    devices: list[Device] = []
    absent: dict[str, str] = {}
    # The cpu comes last: devices are listed with the fastest kind first.
    for name, kind in sorted(kinds().items(), key=lambda item: (item[0] == "cpu", item[0])):
        found, reason = kind.find(source)
        devices.extend(found)
        if reason is not None:
            absent[name] = reason
    return Machine(
        cpu=cpu(source),
        memory=memory(source),
        devices=tuple(devices),
        software=software(source, tuple(devices)),
        environment=environment(source),
        absent=absent,
    )


def hints(machine: Machine) -> list[str]:
    """Rules of thumb, in sentences; the search tests them, nothing obeys them blindly."""
    found: list[str] = []
    for device in machine.devices:
        if device.kind == "cuda" and 0 < device.memory_bytes < _SMALL_GPU_BYTES * _NOMINAL:
            size = device.memory_bytes / _GIB
            found.append(f"{device.name} has {size:.1f} GiB; under 6 GB fewer slots or the CPU may do better.")
        if device.kind == "mps":
            found.append("On Apple silicon the CPU is often faster than MPS; tuning compares both.")
    if machine.cpu.quota is not None and machine.cpu.quota < 1:
        found.append(f"The container grants {machine.cpu.quota:g} of one CPU: expect pauses.")
    return found


def summary(machine: Machine) -> list[tuple[str, str]]:
    """(name, value) rows for people: the processor, memory, devices, why others are absent, software, hints."""
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
    place = [machine.environment.container, "WSL" * machine.environment.wsl]
    place.append("virtual machine" * machine.environment.virtual_machine)
    system = f"{machine.software.os} {machine.software.os_version}, Python {machine.software.python}"
    rows.append(("system", ", ".join([system, *filter(None, place)])))
    versions = {**machine.software.packages, **machine.software.drivers, **machine.environment.overrides}
    rows.append(("software", ", ".join(f"{name} {version}" for name, version in versions.items())))
    rows.extend(("hint", hint) for hint in hints(machine))
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
