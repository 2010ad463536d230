"""What can be tuned: anything that can be opened with settings, run on a few units of work, and compared.

A subject lives twice: light in the session (static rejects, costs; no heavy imports) and in a worker process, where
`open` loads everything. It travels by name, never pickled, so the session stays free of what the subject imports.
"""

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from autotune.errors import SearchError
from autotune.machine import Machine
from autotune.measure import Gate

Outputs = Mapping[str, NDArray[Any]]

# What a subject may put into the environment of its worker. A loader or an import path (LD_PRELOAD, PYTHONPATH) would
# let a profile run code of its choice.
ENVIRONMENT_ALLOWED = re.compile(r"(OMP|GOMP|KMP|MKL|MALLOC|OPENBLAS|PYTORCH)_[A-Z0-9_]+")


class Runner(Protocol):
    """A subject opened in a worker process."""

    @property
    def units(self) -> int:
        """How many distinct pieces of work there are, at least 1; a unit is a number below this."""
        ...

    def run(self, unit: int) -> Outputs:
        """One pass over a unit, returning only when the device is done; the worker holds the clock around it."""
        ...

    def compare(self, unit: int, reference: Outputs, output: Outputs) -> Sequence[Gate]:
        """Is `output` (of other settings) as good as `reference` (of the default settings)? Asked of the control."""
        ...


class Subject(Protocol):
    @property
    def name(self) -> str:
        """Short and stable: part of the name of a stored study."""
        ...

    @property
    def settings_type(self) -> type[Any]:
        """The root dataclass of the knobs."""
        ...

    def reject(self, settings: Any, machine: Machine) -> str | None:
        """Why these settings can't work on this machine, as far as it is known without trying; else None."""
        ...

    def default(self, machine: Machine) -> Any:
        """What is run without tuning: measured first, and what everything is compared with."""
        ...

    def environment(self, settings: Any, machine: Machine) -> Mapping[str, str]:
        """Variables that must be in place before the worker starts; see ENVIRONMENT_ALLOWED."""
        ...

    def cost(self, settings: Any) -> tuple[float, ...]:
        """Order among equally fast settings, smaller is preferred (full precision, no compile, fewer threads, …)."""
        ...

    def open(self, settings: Any, machine: Machine) -> Runner:
        """Load everything; called in the worker process, which it may configure (threads, affinity)."""
        ...


@dataclass(frozen=True, slots=True)
class SubjectName:
    """Where a subject comes from: "package.module:factory" and the keyword arguments, plain JSON data."""

    target: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def create(self) -> Subject:
        """Import the module and call the factory.

        Raises SearchError if the name has another form or the module has no such factory; ImportError as it comes.
        """
        module_name, separator, attribute = self.target.partition(":")
        if not separator or not module_name or not attribute:
            raise SearchError(f"Got the subject {self.target!r}, expected 'package.module:factory'.")
        factory = getattr(importlib.import_module(module_name), attribute, None)
        if not callable(factory):
            raise SearchError(
                f"The subject {self.target!r} was not found: {module_name} has no callable {attribute!r}."
            )
        return cast(Subject, factory(**self.arguments))


def checked_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables, if all may be set. Raises SearchError naming the first that may not."""
    for name, value in variables.items():
        if not ENVIRONMENT_ALLOWED.fullmatch(name) or not isinstance(value, str) or "\0" in value:
            raise SearchError(
                f"The subject wants to set {name}={value!r}; allowed are texts in variables whose names begin with "
                "OMP_, GOMP_, KMP_, MKL_, MALLOC_, OPENBLAS_ or PYTORCH_."
            )
    return dict(variables)


def common_gates(reference: Outputs, output: Outputs) -> list[Gate]:
    """What holds for every subject: the same names, and no more non-finite numbers than the reference has."""
    missing = sorted(set(reference) ^ set(output))
    if missing:
        detail = f"number of outputs that only one side has: {', '.join(missing)}"
        return [Gate("names", False, float(len(missing)), 0.0, detail)]
    gates = []
    for name, expected in reference.items():
        allowed, found = _count_not_finite(expected), _count_not_finite(output[name])
        gates.append(Gate("finite", found <= allowed, found, allowed, f"NaN or infinite numbers in {name!r}"))
    return gates


def _count_not_finite(values: NDArray[Any]) -> float:
    return float(np.count_nonzero(~np.isfinite(values))) if values.dtype.kind in "fc" else 0.0
