"""The processor as a device: always there."""

from dataclasses import dataclass

from autotune.devices import Found, Gauge
from autotune.machine import Device
from autotune.reader import Reader, colon_lines, whole_number

ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "aarch64": "arm64", "armv8l": "arm64"}


def architecture(reader: Reader) -> str:
    """ "x86_64" or "arm64" under every system's own name for it; other names as they are, in lower case."""
    name = reader.architecture.lower()
    return ARCHITECTURES.get(name, name)


@dataclass(frozen=True, slots=True)
class CpuKind:
    kind: str = "cpu"

    def find(self, reader: Reader) -> Found:
        """One device. Its memory is left 0: it is the machine's own, see `Machine.memory`."""
        return Found((Device("cpu", 0, "CPU", 0, architecture(reader)),))

    def torch_name(self, device: Device) -> str:
        return "cpu"

    def synchronize(self, torch_name: str) -> None:
        """Nothing to wait for: cpu kernels have finished when they return."""

    def memory_used(self, torch_name: str) -> int:
        return _status_bytes("VmRSS") or _psutil_rss()

    def memory_peak(self, torch_name: str) -> int:
        # Not ru_maxrss: a child inherits its parent's peak there.
        return _status_bytes("VmHWM") or _psutil_rss()

    def reset_peak(self, torch_name: str) -> None:
        try:
            # 5 resets VmHWM, see proc_pid_clear_refs(5).
            with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
                file.write("5")
        except OSError:
            return

    def empty_cache(self, torch_name: str) -> None:
        """Nothing is cached on torch's side."""

    def gauge(self, device: Device, reader: Reader) -> Gauge | None:
        """None: what the cores do is no matter of a device."""
        return None


def _status_bytes(name: str) -> int:
    try:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
            line = colon_lines(file.read()).get(name, "")
    except OSError:
        return 0
    return 1024 * (whole_number(line.removesuffix("kB")) or 0)


def _psutil_rss() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


DEVICE = CpuKind()
