"""Frozen dataclasses to plain data (what YAML and JSON hold) and strictly back.

Understood field types: str, int, float, bool, X | None, tuple[X, ...], Mapping[str, X], enumerations and Literals of
texts, Any (plain data as it is), nested dataclasses. An unknown key, a missing key or a wrong type is an error that
names the place.
"""

import dataclasses
import difflib
import enum
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from autotune.errors import AutotuneError

T = TypeVar("T")


def closest(key: object, known: Iterable[str]) -> str:
    """A hint for an unknown key: the nearest known one, or all of them when nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known here: {', '.join(names)}." if names else "nothing can be set here."


def shortened(text: str, most: int = 300) -> str:
    """For messages about files of others: the start and the end of a text that is too long."""
    return text if len(text) <= most else f"{text[: most - 100]} … {text[-90:]}"


def to_plain(value: Any) -> Any:
    """Dataclasses become dicts, tuples become lists; scalars stay."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    return value


def from_plain(kind: type[T], data: object, error: type[AutotuneError], where: str, *, finite: bool = True) -> T:
    """Build `kind` (a dataclass) from plain data. Fields with a default may be missing.

    where: how messages name the place. finite: refuse NaN and infinite numbers. Raises `error`.
    """
    if not isinstance(data, Mapping):
        raise error(f"{where}: expected named fields, got {_shown(data)}.")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            raise error(f"{where}: unknown key {key!r}; {closest(key, fields)}")
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _convert(hints[name], data[name], error, f"{where}.{name}", finite)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise error(f"{where}: the key {name!r} is missing.")
    return kind(**values)


def _convert(hint: Any, data: object, error: type[AutotuneError], where: str, finite: bool) -> Any:
    origin = typing.get_origin(hint)
    if hint is Any:
        return data
    if origin in (types.UnionType, typing.Union):
        kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
        return None if data is None else _convert(kinds[0], data, error, where, finite)
    if origin is tuple:
        if not isinstance(data, (list, tuple)):
            raise error(f"{where}: expected a list, got {_shown(data)}.")
        item = typing.get_args(hint)[0]
        return tuple(_convert(item, value, error, f"{where}[{i}]", finite) for i, value in enumerate(data))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
            raise error(f"{where}: expected named values, got {_shown(data)}.")
        item = typing.get_args(hint)[1]
        return {key: _convert(item, value, error, f"{where}.{key}", finite) for key, value in data.items()}
    if dataclasses.is_dataclass(hint):
        return from_plain(typing.cast(type[Any], hint), data, error, where, finite=finite)
    if origin is typing.Literal or (isinstance(hint, type) and issubclass(hint, enum.StrEnum)):
        known = typing.get_args(hint) if origin is typing.Literal else tuple(hint)
        if data not in known:
            raise error(f"{where}: got {_shown(data)}, expected one of {', '.join(known)}.")
        return data if origin is typing.Literal else hint(data)
    if hint is float and type(data) is int:
        return float(data)
    if type(data) is float and finite and not math.isfinite(data):
        raise error(f"{where}: expected a finite number, got {data!r}.")
    if type(data) is not hint:
        raise error(f"{where}: expected {hint.__name__}, got {_shown(data)}.")
    return data


def _shown(data: object) -> str:
    text = repr(data)
    return f"{type(data).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
