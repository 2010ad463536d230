"""Settings to plain data and strictly back: YAML form, `--set` form, flat form, key."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import yaml

from autotune.errors import KnobError
from autotune.knobs.domains import Choice, IntRange, OneOf, Scalar, shown
from autotune.knobs.fields import Knob, default, members, why_unavailable
from autotune.machine import Machine
from autotune.plain import closest

T = TypeVar("T")
USE = "use"


def dump(settings: Any) -> dict[str, Any]:
    """All knobs as plain data that YAML can hold; a plug-in is its name, or {use: name, field: value}."""
    return {name: _dumped(member, getattr(settings, name)) for name, member in members(type(settings)).items()}


def _dumped(member: Knob | type[Any], value: Any) -> Any:
    if not isinstance(member, Knob):
        return dump(value)
    if isinstance(value, (str, int, float)):
        return value
    fields = dump(value)
    name = plugin_name(member, value)
    return {USE: name, **fields} if fields else name


def plugin_name(knob: Knob, value: Any) -> str:
    """The name of a plug-in's instance. Raises KnobError if its type is not listed."""
    if not isinstance(knob.domain, OneOf):
        raise KnobError(f"{knob.path or 'A knob'}: plug-ins need a fixed OneOf, filtered by `available`.")
    name = knob.domain.name_of(value)
    if name is None:
        raise KnobError(f"{knob.path}: got {value!r}, expected one of {knob.domain}.")
    return name


def load(settings_type: type[T], data: object, machine: Machine | None = None, *, base: T | None = None) -> T:
    """Build settings from plain data, strictly.

    data: what `dump` gives, or a part of it: what it leaves out comes from base (the defaults if base is not given).
    machine: check every value, also those from base, against this machine; without it, domains that depend on a machine
    check only the type. Raises KnobError naming the knob, the value, and what is allowed here or the closest key.
    """
    return _group(settings_type, data, default(settings_type) if base is None else base, machine, "")


def _group(kind: type[T], data: object, base: Any, machine: Machine | None, path: str) -> T:
    if not isinstance(data, Mapping):
        raise KnobError(f"{path or 'settings'}: expected named knobs, got {data!r}.")
    known = members(kind)
    for key in data:
        if key not in known:
            raise KnobError(f"{path or 'settings'}: unknown key {key!r}; {closest(key, known)}")
    values: dict[str, Any] = {}
    for name, member in known.items():
        inner = f"{path}.{name}" if path else name
        given, current = name in data, getattr(base, name)
        if not isinstance(member, Knob):
            values[name] = _group(member, data[name] if given else {}, current, machine, inner)
        elif isinstance(member.domain, OneOf):
            values[name] = _plugin(replace(member, path=inner), data[name] if given else {}, current, machine, given)
        else:
            values[name] = _scalar(replace(member, path=inner), data[name] if given else current, machine)
    built = kind(**values)
    if machine is not None and (reason := why_unavailable(built, machine)) is not None:
        raise KnobError(f"{path or 'settings'}: can't be used on this machine: {reason}")
    return built


def _plugin(knob: Knob, data: object, base: Any, machine: Machine | None, given: bool) -> Any:
    """base: the value in force; its fields are kept when the same plug-in is named again."""
    assert isinstance(knob.domain, OneOf)
    current = plugin_name(knob, base)
    if not given:
        data = {USE: current}
    elif isinstance(data, str):
        data = {USE: data}
    if not isinstance(data, Mapping) or USE not in data:
        raise KnobError(f"{knob.path}: got {data!r}, expected a name or {{{USE}: name, …}}, one of {knob.domain}.")
    name = data[USE]
    if not isinstance(name, str) or name not in knob.domain.plugins:
        hint = closest(name, knob.domain.plugins)
        near = f"; {hint}" if hint.startswith("did you mean") else "."  # otherwise it only lists them again
        raise KnobError(f"{knob.path}: got {name!r}, expected one of {knob.domain}{near}")
    if machine is not None and (reason := knob.why_not(name, machine)) is not None:
        raise KnobError(
            f"{knob.path}: {name!r} can't be used on this machine: {reason} (allowed here: {knob.here(machine)})."
        )
    kind = knob.domain.plugins[name]
    fields = {key: value for key, value in data.items() if key != USE}
    return _group(kind, fields, base if name == current else default(kind), machine, knob.path)


def _scalar(knob: Knob, value: object, machine: Machine | None) -> Scalar:
    if machine is None and callable(knob.domain):
        if type(value) is not type(knob.default):
            raise KnobError(f"{knob.path}: got {value!r}, expected {type(knob.default).__name__}.")
        return value  # type: ignore[return-value]
    domain = knob.domain_on(machine) if machine is not None else knob.domain
    assert isinstance(domain, (Choice, IntRange))
    known = domain.find(value)
    if known is None:
        here = domain if machine is None else knob.here(machine)
        raise KnobError(f"{knob.path}: got {value!r}, allowed{'' if machine is None else ' here'}: {here}.")
    if machine is not None and (reason := knob.why_not(known, machine)) is not None:
        raise KnobError(
            f"{knob.path}: {known!r} can't be used on this machine: {reason} (allowed here: {knob.here(machine)})."
        )
    return known


def override(settings: T, assignment: str, machine: Machine | None = None) -> T:
    """One `path=value` of --set: "semantic.slots=4", "semantic.backend=graphs", "semantic.backend.max_batch=2".

    A plug-in's knob is named with or without the plug-in's name in the path; the plug-in must be the one in use.
    Raises KnobError as `load` does.
    """
    path, separator, text = assignment.partition("=")
    if not separator or not path.strip():
        raise KnobError(f"Got {assignment!r}, expected path=value such as semantic.slots=4.")
    steps = path.strip().split(".")
    return load(type(settings), _nested(settings, steps, text.strip(), path.strip()), machine, base=settings)


def _nested(group: Any, steps: list[str], text: str, path: str) -> dict[str, Any]:
    name, *rest = steps
    known = members(type(group))
    if name not in known:
        raise KnobError(f"{path}: unknown key {name!r}; {closest(name, known)}")
    member, value = known[name], getattr(group, name)
    if not isinstance(member, Knob):
        if not rest:
            raise KnobError(f"{path}: is a group; name one of its knobs: {', '.join(members(member))}.")
        return {name: _nested(value, rest, text, path)}
    if not rest:
        return {name: _parsed(member, text, path)}
    if not isinstance(member.domain, OneOf):
        raise KnobError(f"{path}: unknown key {rest[0]!r}; {name} is a single value.")
    plugin = plugin_name(member, value)
    own = members(type(value))
    if rest[0] not in own and rest[0] in member.domain.plugins:
        if rest[0] != plugin:
            raise KnobError(f"{path}: {name} is {plugin!r}, not {rest[0]!r}; set {name}={rest[0]} first.")
        rest = rest[1:]
    if not rest:
        raise KnobError(f"{path}: name one of the knobs of {plugin!r}: {', '.join(own) or 'it has none'}.")
    return {name: {USE: plugin, **_nested(value, rest, text, path)}}


def _parsed(knob: Knob, text: str, path: str) -> Any:
    if isinstance(knob.default, str) or isinstance(knob.domain, OneOf):
        # Not through YAML: there `off` would turn into False and `1` into a number.
        if isinstance(knob.domain, Choice) and text not in knob.domain.values:
            return _yaml(text, path)
        return text
    return _yaml(text, path)


def _yaml(text: str, path: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise KnobError(f"{path}: can't read the value {text!r}; quote it if it holds special signs.") from error


def flatten(settings: Any, prefix: str = "") -> dict[str, Scalar]:
    """{path: scalar} as `suggest` names them: a plug-in is its name at its path, its knobs follow below it."""
    flat: dict[str, Scalar] = {}
    for name, member in members(type(settings)).items():
        path, value = f"{prefix}{name}", getattr(settings, name)
        if not isinstance(member, Knob):
            flat.update(flatten(value, f"{path}."))
        elif isinstance(member.domain, OneOf):
            plugin = plugin_name(member, value)
            flat[path] = plugin
            flat.update(flatten(value, f"{path}.{plugin}."))
        else:
            flat[path] = value
    return flat


def unflatten(settings_type: type[T], flat: Mapping[str, object], machine: Machine | None = None) -> T:
    """The inverse of `flatten`. A path that is left out takes its default; knobs of plug-ins not in use are ignored.

    Raises KnobError for a path that no knob has, and as `load` does.
    """
    used: set[str] = set()
    data = _gathered(settings_type, flat, "", used)
    for path in flat:
        if path not in used:
            raise KnobError(f"settings: unknown path {path!r}; {closest(path, used)}")
    return load(settings_type, data, machine)


def _gathered(kind: type[Any], flat: Mapping[str, object], prefix: str, used: set[str]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, member in members(kind).items():
        path = f"{prefix}{name}"
        used.add(path)
        if not isinstance(member, Knob):
            data[name] = _gathered(member, flat, f"{path}.", used)
        elif isinstance(member.domain, OneOf):
            plugin = flat.get(path, plugin_name(member, member.default))
            below = {n: _gathered(k, flat, f"{path}.{n}.", used) for n, k in member.domain.plugins.items()}
            data[name] = {USE: plugin, **(below.get(plugin, {}) if isinstance(plugin, str) else {})}
        elif path in flat:
            data[name] = flat[path]
    return data


def key(settings: Any) -> str:
    """16 hex digits: equal for equal settings, on any machine and in any process."""
    return digest(dump(settings))


def digest(data: Any) -> str:
    """16 hex digits of plain data; the order of keys does not matter."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def changes(before: Any, after: Any) -> list[str]:
    """What differs between two settings of one type: "semantic.slots: 4 -> 8"; "-" where a knob is not in use."""
    old = {path: shown(value) for path, value in flatten(before).items()}
    new = {path: shown(value) for path, value in flatten(after).items()}
    paths = [*old, *(path for path in new if path not in old)]
    pairs = ((path, old.get(path, "-"), new.get(path, "-")) for path in paths)
    return [f"{path}: {left} -> {right}" for path, left, right in pairs if left != right]
