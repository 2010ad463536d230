"""Empty modules in place of packages that a peer imports and this measurement does not call.

Peers import their text front ends, audio devices and audio loaders together with their networks, and set some of them
up while they are imported. Here they get phones and prepared references, so a package that is not installed is stood in
for by one that takes every call and does nothing; were it used in the work, the equivalence check would show it.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterable, Sequence
from typing import Any


class StandIn(types.ModuleType):
    __path__: list[str] = []  # noqa: RUF012  # a package: anything below can be imported, too

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Nothing,), {"__module__": self.__name__})


class Nothing:
    """An object of a package that is not there."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> "Nothing":
        return Nothing()

    def __getattr__(self, name: str) -> "Nothing":
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing()


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> Any:
        if name.partition(".")[0] in self._names:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> StandIn:
        return StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        return None


def stand_in(names: Iterable[str]) -> list[str]:
    """For those of the packages that are not installed; returns which."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    sys.meta_path.append(_Finder(missing))
    return missing
