"""How a network is run. One file here is one backend: a frozen dataclass whose fields are its knobs.

A file defines BACKEND, a class with
    unavailable(machine) -> str | None      why it can't be used here, or None
    compile(entry) -> Callable              the entry point, run this backend's way
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from autotune.machine import Machine


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """What a network offers to a backend: a name and a function of tensors.

    varying: names of the arguments' dimensions that change from call to call.
    """

    name: str
    function: Callable[..., Any]
    varying: tuple[str, ...] = ()


class Backend(Protocol):
    @staticmethod
    def unavailable(machine: Machine) -> str | None: ...

    def compile(self, entry: EntryPoint) -> Callable[..., Any]: ...
