"""Made files that may be used again, kept in the user's cache folder under a key of everything that they depend on."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import platformdirs


def folder() -> Path:
    return Path(platformdirs.user_cache_dir("sovits-rt", appauthor=False)) / "artefacts"


def artefact(name: str, depends_on: Mapping[str, str], make: Callable[[Path], None], *, root: Path) -> Path:
    """The file `name` in a folder of its own below root, made by `make(path)` if it is not there yet.

    depends_on: contents, versions and settings, by any names; another value of one makes another file. A file appears
    under its name when it is complete; if `make` raises, nothing stays.
    """
    text = json.dumps([name, sorted(depends_on.items())])
    kept = root / hashlib.sha256(text.encode()).hexdigest()[:32]
    if not kept.exists():
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as scratch:
            unfinished = Path(scratch) / "unfinished"
            unfinished.mkdir()
            make(unfinished / name)
            try:
                unfinished.rename(kept)
            except OSError:
                if not kept.exists():  # another process may have been faster
                    raise
    return kept / name


def copy_out(kept: Path, to: Path) -> None:
    """Replace `to`, which is never seen half written."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent) as scratch:
        shutil.copyfile(kept, Path(scratch) / to.name).replace(to)
