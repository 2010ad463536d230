"""Facts about power: mains or battery, the chosen profile, and what holds the processor down."""

import re
from collections.abc import Iterator

from autotune.machine import Power
from autotune.reader import Reader, whole_number

_SUPPLIES = "/sys/class/power_supply"
_CPU = "/sys/devices/system/cpu"
_HELD_DOWN = 0.85  # of the highest clock; less is noise between boost steps


def power(reader: Reader) -> Power:
    return Power(source=source(reader), profile=profile(reader), limits=tuple(limits(reader)))


def source(reader: Reader) -> str:
    """ "mains", "battery", or "" where the system does not tell."""
    plugged = reader.facts("psutil").get("plugged")
    if plugged is not None:
        return "mains" if plugged == "1" else "battery"
    batteries, mains = 0, 0
    for name in reader.names(_SUPPLIES):
        folder = f"{_SUPPLIES}/{name}"
        kind = (reader.text(f"{folder}/type") or "").strip()
        if (reader.text(f"{folder}/scope") or "").strip() == "Device":
            continue  # a mouse's battery
        if kind == "Battery":
            batteries += (reader.text(f"{folder}/status") or "").strip() == "Discharging"
        elif kind in ("Mains", "USB"):
            mains += whole_number(reader.text(f"{folder}/online")) == 1
    return "mains" if mains else "battery" if batteries else ""


def profile(reader: Reader) -> str:
    """The firmware's profile on Linux ("low-power", "balanced", "performance"), macOS' low power mode, or ""."""
    if reader.system == "Darwin":
        setting = re.search(r"^\s*lowpowermode\s+(\d)", reader.output("pmset -g") or "", re.MULTILINE)
        return "" if setting is None else "low-power" if setting.group(1) == "1" else "balanced"
    return (reader.text("/sys/firmware/acpi/platform_profile") or "").strip()


def limits(reader: Reader) -> Iterator[str]:
    """In words, see `machine.Power`."""
    for number in reader.names("/sys/class/hwmon"):
        monitor = f"/sys/class/hwmon/{number}"
        its_supply = (reader.text(f"{monitor}/name") or "").strip() == "rpi_volt"  # a Raspberry Pi's
        if its_supply and _is(reader, f"{monitor}/in0_lcrit_alarm", 1):
            yield "undervoltage"
    if _is(reader, f"{_CPU}/intel_pstate/no_turbo", 1) or _is(reader, f"{_CPU}/cpufreq/boost", 0):
        yield "turbo off"
    allowed = whole_number(reader.text(f"{_CPU}/cpu0/cpufreq/scaling_max_freq"))
    highest = whole_number(reader.text(f"{_CPU}/cpu0/cpufreq/cpuinfo_max_freq"))
    if allowed and highest and allowed < _HELD_DOWN * highest:
        yield f"clock at {allowed / highest:.0%}".replace("%", " %")


def _is(reader: Reader, path: str, value: int) -> bool:
    return whole_number(reader.text(path)) == value
