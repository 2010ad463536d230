"""The settings seen from one machine: sample them, fit them in, look around, list them."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from autotune.errors import KnobError, RejectedSettings
from autotune.knobs.convert import changes, digest, dump, load, plugin_name
from autotune.knobs.domains import Choice, IntRange, OneOf, shown
from autotune.knobs.fields import Knob, default, members, walk, why_unavailable
from autotune.machine import Machine

T = TypeVar("T")


class Suggester(Protocol):
    """What `suggest` needs of a trial; an Optuna trial has it."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...


def suggest(
    trial: Suggester,
    settings_type: type[T],
    machine: Machine,
    reject: Callable[[T], str | None] | None = None,
) -> T:
    """Sample one point of the space of this machine, asking `trial` by path; a plug-in's knobs only if it was drawn.

    Every knob is asked for, also one with a single value left: the settings can be read from the trial alone.
    reject: a static check of whole settings; returns the reason or None.
    Raises RejectedSettings (with the settings and the reason) if a group, a plug-in, a number or `reject` refuses.
    """
    reasons: list[str] = []
    settings = _suggest(trial, settings_type, machine, "", reasons)
    if not reasons and reject is not None and (reason := reject(settings)) is not None:
        reasons.append(reason)
    if reasons:
        raise RejectedSettings(settings, "; ".join(reasons))
    return settings


def _suggest(trial: Suggester, kind: type[T], machine: Machine, prefix: str, reasons: list[str]) -> T:
    values: dict[str, Any] = {}
    for name, member in members(kind).items():
        path = f"{prefix}{name}"
        if not isinstance(member, Knob):
            values[name] = _suggest(trial, member, machine, f"{path}.", reasons)
            continue
        knob = replace(member, path=path)
        domain = knob.here(machine)
        if isinstance(domain, Choice):
            values[name] = trial.suggest_categorical(path, list(domain.values))
        elif isinstance(domain, IntRange):
            number = trial.suggest_int(path, domain.low, domain.last, step=domain.step, log=domain.log)
            values[name] = number
            if (reason := knob.why_not(number, machine)) is not None:
                reasons.append(f"{path}: {number}: {reason}")
        else:
            plugin = trial.suggest_categorical(path, list(domain.plugins))
            values[name] = _suggest(trial, domain.plugins[plugin], machine, f"{path}.{plugin}.", reasons)
    built = kind(**values)
    if (reason := why_unavailable(built, machine)) is not None:
        reasons.append(f"{prefix.rstrip('.') or 'settings'}: {reason}")
    return built


def clamp(settings: T, machine: Machine) -> tuple[T, list[str]]:
    """The nearest settings that this machine allows, and what was changed, as text; nothing changed is [].

    A number goes to the nearest one allowed; any other value that is not allowed goes to its default, or to the first
    allowed value if the default is not allowed either. A group that still refuses is set to its defaults as a whole.
    Raises KnobError if even that does not fit: the defaults then are not safe everywhere, as they must be.
    """
    fitted = _clamp(settings, machine, "")
    load(type(fitted), dump(fitted), machine)
    return fitted, changes(settings, fitted)


def _clamp(settings: T, machine: Machine, prefix: str) -> T:
    values: dict[str, Any] = {}
    for name, member in members(type(settings)).items():
        path, value = f"{prefix}{name}", getattr(settings, name)
        if not isinstance(member, Knob):
            values[name] = _clamp(value, machine, f"{path}.")
        else:
            values[name] = _clamp_knob(replace(member, path=path), value, machine)
    fitted = type(settings)(**values)
    if why_unavailable(fitted, machine) is None:
        return fitted
    plain = default(type(settings))
    return plain if fitted == plain else _clamp(plain, machine, prefix)


def _clamp_knob(knob: Knob, value: Any, machine: Machine) -> Any:
    domain = knob.here(machine)
    if isinstance(domain, OneOf):
        return _clamp_plugin(knob, domain, value, machine)
    known = domain.find(value)
    if known is not None and knob.why_not(known, machine) is None:
        return known
    if isinstance(domain, IntRange):
        near = domain.nearest(value)
        numbers = [near, *sorted(domain, key=lambda number: (abs(number - near), number))]
        allowed = next((number for number in numbers if knob.why_not(number, machine) is None), None)
        if allowed is None:
            raise KnobError(f"{knob.path}: no value of {domain} can be used on this machine.")
        return allowed
    numeric = [v for v in domain.values if type(v) is type(value) and type(v) in (int, float)]
    if numeric:
        return min(numeric, key=lambda number: abs(float(number) - value))
    return knob.default if domain.find(knob.default) is not None else domain.values[0]


def _clamp_plugin(knob: Knob, domain: OneOf, value: Any, machine: Machine) -> Any:
    """The value with its fields fitted in, else the default plug-in, else the first one that works."""
    candidates = [value] if plugin_name(knob, value) in domain.plugins else []
    candidates.append(knob.default)
    candidates.extend(default(kind) for kind in domain.plugins.values())
    for candidate in candidates:
        name = domain.name_of(candidate)
        if name is not None:
            fitted = _clamp(candidate, machine, f"{knob.path}.{name}.")
            if why_unavailable(fitted, machine) is None:
                return fitted
    raise KnobError(f"{knob.path}: no plug-in can be used on this machine.")


def neighbours(settings: T, machine: Machine) -> Iterator[T]:
    """Settings that differ from the given ones in one knob and are allowed here, in declaration order.

    A choice: every other value. A number: the next smaller and larger (half and double on a log range).
    A plug-in: every other one with its defaults, then the neighbours of the one in use.
    """
    for change in _moves(settings, machine, ""):
        try:
            yield load(type(settings), change, machine, base=settings)
        except KnobError:
            continue  # one step away lies a combination that a group refuses: no neighbour


def _moves(group: Any, machine: Machine, prefix: str) -> Iterator[dict[str, Any]]:
    for name, member in members(type(group)).items():
        path, value = f"{prefix}{name}", getattr(group, name)
        if not isinstance(member, Knob):
            yield from ({name: inner} for inner in _moves(value, machine, f"{path}."))
            continue
        knob = replace(member, path=path)
        domain = knob.here(machine)
        if isinstance(domain, Choice):
            yield from ({name: other} for other in domain.values if other != value)
        elif isinstance(domain, IntRange):
            steps = {value // 2, value * 2} if domain.log else {value - domain.step, value + domain.step}
            near = {domain.nearest(number) for number in steps} - {value}
            yield from ({name: number} for number in sorted(near))
        else:
            plugin = plugin_name(knob, value)
            yield from ({name: other} for other in domain.plugins if other != plugin)
            yield from ({name: {"use": plugin, **inner}} for inner in _moves(value, machine, f"{path}.{plugin}."))


def size(settings_type: type[Any], machine: Machine) -> int:
    """How many different settings this machine allows, before groups and `reject` refuse combinations."""
    return math.prod(_options(member, machine) for member in members(settings_type).values())


def _options(member: Knob | type[Any], machine: Machine) -> int:
    if not isinstance(member, Knob):
        return size(member, machine)
    domain = member.here(machine)
    return sum(size(kind, machine) for kind in domain.plugins.values()) if isinstance(domain, OneOf) else len(domain)


def space_key(settings_type: type[Any], machine: Machine) -> str:
    """16 hex digits that change whenever the space of this machine does: part of a study's name, because a study can't
    go on with other choices than it began with."""
    return digest([[row.path, row.allowed] for row in describe(settings_type, machine)])


@dataclass(frozen=True, slots=True)
class Row:
    """One knob for people. allowed: its values (on the machine, if one was given). refused: (value, reason) pairs.
    default: as written in YAML. exact: False if the knob may change the audio."""

    path: str
    allowed: str
    default: str
    exact: bool
    doc: str
    refused: tuple[tuple[str, str], ...] = ()


def describe(settings_type: type[Any], machine: Machine | None = None) -> list[Row]:
    """Every knob as a row for `--help`, `knobs` and the README table; generated, so that it can't go stale.

    Without a machine, a domain that depends on one is shown as "depends on the machine".
    With one, knobs of plug-ins that can't run there are left out.
    """
    rows: list[Row] = []
    hidden: list[str] = []
    for knob in walk(settings_type):
        if any(knob.path.startswith(prefix) for prefix in hidden):
            continue
        refused: dict[Any, str] = {}
        if machine is None:
            allowed = "depends on the machine" if callable(knob.domain) else str(knob.domain)
        else:
            allowed, refused = str(knob.here(machine)), knob.refused_on(machine)
            hidden.extend(f"{knob.path}.{name}." for name in refused if isinstance(knob.domain, OneOf))
        initial = plugin_name(knob, knob.default) if isinstance(knob.domain, OneOf) else shown(knob.default)
        pairs = tuple((shown(value), reason) for value, reason in refused.items())
        rows.append(Row(knob.path, allowed, initial, knob.exact, knob.doc, pairs))
    return rows
