"""Which makers' display adapters are in the machine, whether or not a driver knows them."""

from autotune.reader import Reader, whole_number

_DEVICES = "/sys/bus/pci/devices"
_DISPLAY_CLASS = 0x03  # of the PCI specification: VGA, 3D and other display controllers
_NAMES = {0x10DE: ("NVIDIA",), 0x1002: ("AMD", "Radeon")}


def display_adapters(reader: Reader, vendor: int) -> tuple[str, ...]:
    """PCI addresses on Linux, names on Windows; empty elsewhere and under WSL, which hides them. vendor: PCI number."""
    if reader.system == "Windows":
        names = reader.facts("windows").get("adapters", "").split("; ")
        return tuple(name for name in names if any(word in name for word in _NAMES[vendor]))
    found: list[str] = []
    for address in reader.names(_DEVICES):
        kind = whole_number(reader.text(f"{_DEVICES}/{address}/class")) or 0
        if kind >> 16 == _DISPLAY_CLASS and whole_number(reader.text(f"{_DEVICES}/{address}/vendor")) == vendor:
            found.append(address)
    return tuple(found)
