"""Where probing reads from: this machine, or one that was recorded as text.

A reader answers with None or something empty where there is nothing to read; it never raises.
"""

import functools
import importlib.metadata
import importlib.util
import mmap
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from autotune import windows

NOTHING: Mapping[str, str] = MappingProxyType({})
_SYSCTLS = ("hw", "machdep.cpu", "kern.hv_vmm_present", "kern.osproductversion", "sysctl.proc_translated")
_ARCHITECTURE = re.compile(r"(sm_|compute_|gfx)[0-9a-z:+-]+")


class Reader(Protocol):
    """system: "Linux", "Darwin" or "Windows"; architecture: as uname gives it."""

    @property
    def system(self) -> str: ...
    @property
    def release(self) -> str: ...
    @property
    def architecture(self) -> str: ...
    @property
    def python(self) -> str: ...
    @property
    def environment(self) -> Mapping[str, str]: ...

    def text(self, path: str) -> str | None:
        """A small text file, or None."""

    def names(self, folder: str) -> tuple[str, ...]:
        """Sorted names in a folder."""

    def openable(self, path: str) -> bool:
        """May this user read and write the file?"""

    def facts(self, group: str) -> Mapping[str, str]:
        """Named values of the system: group "sysctl" (macOS), "windows" (see `windows.facts`), "psutil" (total_bytes,
        available_bytes, logical, physical, plugged: "1" or "0" where there is a battery)."""

    def affinity(self) -> tuple[int, ...]:
        """Logical cpus this process may run on; empty where the system has no such notion."""

    def package(self, name: str) -> str | None:
        """Installed version of a distribution, without importing it."""

    def module_file(self, module: str, name: str) -> str | None:
        """Text of a file beside a top-level module, without importing it."""

    def output(self, command: str) -> str | None:
        """What a known program ("rocminfo", "pmset -g") prints, or None."""

    def libraries(self) -> tuple[str, ...]:
        """Paths of the shared libraries that this process has loaded, as far as the system tells."""

    def kernels(self) -> tuple[str, ...]:
        """GPU architectures that the installed torch has code for ("sm_90", "gfx1100"), without importing it; empty
        if there is none or it can't be told."""

    def nvml(self) -> Any:
        """The pynvml module or one with its functions; None if it is not installed."""


class Live:
    """This machine."""

    system = platform.system()
    release = platform.release()
    architecture = platform.machine()
    python = platform.python_version()

    @property
    def environment(self) -> Mapping[str, str]:
        return os.environ

    def text(self, path: str) -> str | None:
        try:
            return Path(path).read_text(encoding="utf-8", errors="replace")
        except (OSError, ValueError):
            return None

    def names(self, folder: str) -> tuple[str, ...]:
        try:
            return tuple(sorted(os.listdir(folder)))
        except OSError:
            return ()

    def openable(self, path: str) -> bool:
        return os.access(path, os.R_OK | os.W_OK)

    def facts(self, group: str) -> Mapping[str, str]:
        if group == "psutil":
            return _psutil_facts(battery=self.system != "Linux")
        if group == "sysctl" and self.system == "Darwin":
            return colon_lines(_run(["/usr/sbin/sysctl", *_SYSCTLS]))
        return windows.facts() if group == "windows" else NOTHING

    def affinity(self) -> tuple[int, ...]:
        if sys.platform == "linux":
            return tuple(sorted(os.sched_getaffinity(0)))
        if sys.platform == "win32":
            import psutil

            return tuple(sorted(psutil.Process().cpu_affinity() or ()))
        return ()

    def package(self, name: str) -> str | None:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    def module_file(self, module: str, name: str) -> str | None:
        try:
            found = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            return None
        return None if found is None or not found.origin else self.text(str(Path(found.origin).parent / name))

    def output(self, command: str) -> str | None:
        return _run(command.split())

    def libraries(self) -> tuple[str, ...]:
        return _loaded_libraries()

    def kernels(self) -> tuple[str, ...]:
        found = importlib.util.find_spec("torch")
        folder = None if found is None or not found.origin else Path(found.origin).parent / "lib"
        names = ("libtorch_python.so", "torch_python.dll")
        return next((list_ for name in names if folder and (list_ := kernel_list(folder / name))), ())

    def nvml(self) -> Any:
        try:
            import pynvml
        except ImportError:
            return None
        return pynvml


@dataclass(frozen=True, slots=True)
class Recorded:
    """A machine written down as text; see tests/machines/README.md for the form."""

    system: str
    release: str
    architecture: str
    python: str
    files: Mapping[str, str]
    groups: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    cpus: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    locked: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()
    built_for: tuple[str, ...] = ()
    nvml_module: Any = None

    def text(self, path: str) -> str | None:
        return self.files.get(path)

    def names(self, folder: str) -> tuple[str, ...]:
        start = folder.rstrip("/") + "/"
        return tuple(sorted({path[len(start) :].split("/")[0] for path in self.files if path.startswith(start)}))

    def openable(self, path: str) -> bool:
        return path in self.files and path not in self.locked

    def facts(self, group: str) -> Mapping[str, str]:
        return self.groups.get(group, NOTHING)

    def affinity(self) -> tuple[int, ...]:
        return self.cpus

    def package(self, name: str) -> str | None:
        return self.packages.get(name)

    def module_file(self, module: str, name: str) -> str | None:
        return self.files.get(f"{module}/{name}")

    def output(self, command: str) -> str | None:
        return self.outputs.get(command)

    def libraries(self) -> tuple[str, ...]:
        return self.loaded

    def kernels(self) -> tuple[str, ...]:
        return self.built_for

    def nvml(self) -> Any:
        return self.nvml_module


def colon_lines(text: str | None) -> dict[str, str]:
    """{"hw.memsize": "…"} out of lines "name: value"; other lines are left out, the first of equal names counts."""
    found: dict[str, str] = {}
    for line in (text or "").splitlines():
        name, separator, value = line.partition(":")
        if separator:
            found.setdefault(name.strip(), value.strip())
    return found


def whole_number(text: str | None) -> int | None:
    """The whole number a text holds, decimal or 0x…, or None."""
    try:
        return int((text or "").strip(), 0)
    except ValueError:
        return None


MOST_CPUS = 8192  # what Linux can be built for; a larger number is damage


def cpu_list(text: str | None) -> tuple[int, ...]:
    """(0, 1, 2, 8) out of "0-2,8", the kernel's way to write sets; what can't be read is left out."""
    cpus: set[int] = set()
    for part in (text or "").strip().split(","):
        first, _, last = part.partition("-")
        low, high = whole_number(first), whole_number(last or first)
        if low is not None and high is not None and 0 <= low <= high < MOST_CPUS:
            cpus.update(range(low, high + 1))
    return tuple(sorted(cpus))


def _run(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=1.5, check=False)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout or None


def _psutil_facts(battery: bool) -> Mapping[str, str]:
    import psutil

    try:
        memory = psutil.virtual_memory()
        found = {"total_bytes": memory.total, "available_bytes": memory.available}
        found |= {"logical": psutil.cpu_count() or 0, "physical": psutil.cpu_count(logical=False) or 0}
        state = psutil.sensors_battery() if battery else None
    except (psutil.Error, OSError, RuntimeError, ValueError, AttributeError):  # no batteries on some systems
        return NOTHING
    if state is not None and state.power_plugged is not None:
        found["plugged"] = int(state.power_plugged)
    return {name: str(value) for name, value in found.items()}


@functools.lru_cache(maxsize=4)
def kernel_list(library: Path) -> tuple[str, ...]:
    """The list of GPU architectures inside torch's Python library: a text that torch.cuda.get_arch_list() cuts up.

    Empty if there is no such file or text. The file has 30 MB; that takes some 20 ms.
    """
    try:
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = max(content.find(b"\0sm_"), content.find(b"\0gfx")) + 1
            end = content.find(b"\0", start) if start else 0
            text = content[start : max(start, end)]
    except (OSError, ValueError):
        return ()
    words = text.decode("ascii", "replace").split()
    return tuple(words) if all(_ARCHITECTURE.fullmatch(word) for word in words) else ()


def _loaded_libraries() -> tuple[str, ...]:
    if sys.platform == "darwin":
        return _dyld_images()
    if sys.platform == "linux":
        lines = (Live().text("/proc/self/maps") or "").splitlines()
        paths = {line[line.index("/") :] for line in lines if "/" in line}
        return tuple(sorted(path for path in paths if ".so" in path))
    import psutil

    try:
        return tuple(sorted({each.path for each in psutil.Process().memory_maps()}))
    except (psutil.Error, OSError, AttributeError):
        return ()


def _dyld_images() -> tuple[str, ...]:
    import ctypes

    dyld = ctypes.CDLL(None)
    dyld._dyld_get_image_name.restype = ctypes.c_char_p
    names = (dyld._dyld_get_image_name(index) for index in range(dyld._dyld_image_count()))
    return tuple(sorted({name.decode("utf-8", "replace") for name in names if name}))
