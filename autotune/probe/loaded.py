"""What importing packages brings into a process: asked of a child, since it can't be undone and may crash.

The child is `python -m autotune.probe.loaded torch onnxruntime`.
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from autotune.measure import classify_death
from autotune.probe.software import openmp
from autotune.reader import Live

LIMIT_SECONDS = 300.0  # torch with all its libraries, from a cold disk, on a busy machine


@dataclass(frozen=True, slots=True)
class Loaded:
    """openmp: files of the OpenMP runtimes that are loaded afterwards. failures: module -> why it does not import."""

    openmp: tuple[str, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)


def after_importing(modules: Sequence[str], limit_seconds: float = LIMIT_SECONDS) -> Loaded:
    """Never raises: a child that crashes or takes too long is a failure of the module that it was importing."""
    command = [sys.executable, "-m", __name__, *modules]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=limit_seconds, check=False
        )
    except subprocess.TimeoutExpired as late:
        said = late.stdout.decode("utf-8", "replace") if isinstance(late.stdout, bytes) else late.stdout or ""
        return Loaded(failures={_under_way(said, modules): f"it takes longer than {limit_seconds:g} s"})
    except OSError as error:
        return Loaded(failures={modules[0]: f"no process can be started ({error.strerror})"})
    if done.returncode != 0:
        return Loaded(failures={_under_way(done.stdout, modules): classify_death(done.returncode, done.stderr).reason})
    answer = json.loads(done.stdout.splitlines()[-1])
    return Loaded(tuple(answer["openmp"]), answer["failures"])


def _under_way(said: str, modules: Sequence[str]) -> str:
    """The module that the child named last."""
    named = [line for line in said.splitlines() if line in modules]
    return named[-1] if named else modules[0]


def _answer(modules: Sequence[str]) -> None:
    """In the child: each name before its import, and what came of all of them as the last line."""
    failures: dict[str, str] = {}
    for module in modules:
        sys.stdout.write(f"{module}\n")
        sys.stdout.flush()
        try:
            importlib.import_module(module)
        except (ImportError, OSError, RuntimeError, AttributeError, TypeError, ValueError) as error:
            failures[module] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    sys.stdout.write(json.dumps(asdict(Loaded(openmp(Live().libraries()), failures))) + "\n")


if __name__ == "__main__":
    _answer(sys.argv[1:])
