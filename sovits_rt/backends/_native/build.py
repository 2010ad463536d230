"""Builds a C++ source on the machine that runs it, once: the library is kept in the user's cache folder.

A library is named by what it was made from: the source, the flags, and what the compiler says of itself and of this
processor. A change of any of them makes another file, and nothing is ever built over.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from sovits_rt.errors import SettingsError

COMPILERS = ("g++", "c++", "clang++")  # the source uses the vectors that GCC and Clang have
_FLAGS = ("-std=c++17", "-O3", "-shared", "-fPIC", "-pthread", "-fvisibility=hidden")
_ADVICE = "repair the compiler, or choose another semantic.backend"


def find_compiler() -> str | None:
    return next((path for name in COMPILERS if (path := shutil.which(name))), None)


def this_processor() -> str:
    """The flag that asks for everything the processor can do."""
    return "-mcpu=native" if platform.machine().lower() in ("arm64", "aarch64") else "-march=native"


def library_folder() -> Path:
    """Where built libraries are kept."""
    return Path(platformdirs.user_cache_dir("sovits-rt", appauthor=False)) / "native"


def load(source: Path, flags: Sequence[str] = (), folder: Path | None = None) -> ctypes.CDLL:
    """The library of a C++ source, built if there is none yet; raises SettingsError where that fails.

    flags: more of them; the last word on the processor is theirs. folder: library_folder() if not given.
    """
    compiler = find_compiler()
    if compiler is None:
        raise SettingsError(f"The native backend needs a C++ compiler ({', '.join(COMPILERS)}) and none was found.")
    every = (*_FLAGS, this_processor(), *flags)
    folder = library_folder() if folder is None else folder
    library = folder / f"{source.stem}-{_key(compiler, source, every)}.so"
    try:
        if not library.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _build(compiler, source, every, library)
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise SettingsError(
            f"The native backend's library can't be kept in {folder} or loaded from there ({error}); make room there "
            f"for it, or choose another semantic.backend."
        ) from error


def _key(compiler: str, source: Path, flags: Sequence[str]) -> str:
    """Of the macros that the compiler defines, __VERSION__ is its own and the others tell what it may generate."""
    macros = _run([compiler, *flags, "-dM", "-E", "-x", "c++", os.devnull])
    parts = (source.read_bytes(), repr(flags).encode(), macros.encode())
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:20]


def _build(compiler: str, source: Path, flags: Sequence[str], library: Path) -> None:
    """Appears under its name when it is whole: processes that build at once do no harm to each other."""
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        unfinished = Path(folder) / library.name
        _run([compiler, *flags, str(source), "-o", str(unfinished)])
        unfinished.replace(library)


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise SettingsError(f"The C++ compiler {command[0]} can't be run ({error}); {_ADVICE}.") from error
    if done.returncode:
        complaint = next((line.strip() for line in done.stderr.splitlines() if "error" in line), "no word of why")
        raise SettingsError(f"The C++ compiler {command[0]} failed ({complaint}); {_ADVICE}.")
    return done.stdout
