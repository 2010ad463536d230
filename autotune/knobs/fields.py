"""A knob is one field of a frozen dataclass; a group is a frozen dataclass of knobs and groups."""

import dataclasses
import functools
import typing
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from autotune.errors import KnobError
from autotune.knobs.domains import Choice, Domain, DomainLike, IntRange, OneOf
from autotune.machine import Machine

T = TypeVar("T")
Available = Callable[[Any, Machine], str | None]
_METADATA = "autotune.knob"


@dataclass(frozen=True, slots=True)
class Knob:
    """One declared knob.

    path: "semantic.slots"; a plug-in's own knobs carry its name: "semantic.backend.graphs.max_batch".
    domain: what it may be, perhaps a function of the machine. exact: False if it may change the audio.
    available: for a value of the domain, the reason why it can't be used on a machine, or None.
    """

    path: str
    domain: DomainLike
    default: Any
    doc: str
    exact: bool
    available: Available | None = None

    def domain_on(self, machine: Machine) -> Domain:
        """The domain before `available` is asked."""
        return self.domain(machine) if callable(self.domain) else self.domain

    def refused_on(self, machine: Machine) -> dict[Any, str]:
        """Values (names, for OneOf) that the domain lists but this machine can't use, each with its reason.

        An IntRange lists too many values to ask about one by one; its values are asked about when they come.
        """
        domain = self.domain_on(machine)
        if isinstance(domain, IntRange):
            return {}
        values: tuple[Any, ...] = domain.values if isinstance(domain, Choice) else tuple(domain.plugins)
        reasons = {value: self.why_not(value, machine) for value in values}
        return {value: reason for value, reason in reasons.items() if reason is not None}

    def why_not(self, value: Any, machine: Machine) -> str | None:
        """The reason why one value of the domain (a plug-in's name, for OneOf) can't be used on this machine."""
        domain = self.domain_on(machine)
        if self.available is not None and (reason := self.available(value, machine)) is not None:
            return reason
        return why_unavailable(default(domain.plugins[value]), machine) if isinstance(domain, OneOf) else None

    def here(self, machine: Machine) -> Domain:
        """What this knob may be on this machine. Raises KnobError if nothing is left."""
        domain = self.domain_on(machine)
        refused = self.refused_on(machine)
        if not refused:
            return domain
        if len(refused) == len(domain):
            raise KnobError(f"{self.path}: no value can be used on this machine: {'; '.join(refused.values())}")
        if isinstance(domain, Choice):
            return Choice(tuple(value for value in domain.values if value not in refused))
        assert isinstance(domain, OneOf)
        return OneOf({name: kind for name, kind in domain.plugins.items() if name not in refused})


def knob(domain: DomainLike, *, default: Any, doc: str, exact: bool = True, available: Available | None = None) -> Any:
    """Declare a knob as the default of a field: `slots: int = knob(IntRange(1, 32, log=True), default=4, doc="…")`.

    domain: a Choice, IntRange or OneOf, or a function of the machine that returns a Choice or IntRange (plug-ins are
    filtered by `unavailable`, so a OneOf is always fixed).
    default: safe on any machine; a plug-in's instance for OneOf. Raises KnobError if it is outside a fixed domain.
    doc: one line for people. exact: False if the knob may change the audio.
    available: asked with a value of the domain (a plug-in's name, for OneOf) and the machine; returns a reason or None.
    """
    if isinstance(domain, OneOf):
        fits = domain.name_of(default) is not None
    elif callable(domain):
        fits = type(default) in (str, int, float, bool)
    else:
        fits = domain.find(default) is not None
    if not fits:
        raise KnobError(f"The default {default!r} is outside of the domain: {domain}.")
    declared = Knob("", domain, default, doc, exact, available)
    return dataclasses.field(default=default, metadata={_METADATA: declared})


def members(group: type[Any]) -> dict[str, Knob | type[Any]]:
    """A group's fields in order: a Knob (its path still empty), or the type of a nested group.

    Raises KnobError if the type or one of its fields is neither.
    """
    return _members(cast("Hashable", group))


@functools.cache
def _members(key: Hashable) -> dict[str, Knob | type[Any]]:
    group = cast("type[Any]", key)
    name = group.__name__
    if not dataclasses.is_dataclass(group) or not cast(Any, group).__dataclass_params__.frozen:
        raise KnobError(f"{name} must be a frozen dataclass of knobs.")
    found: dict[str, Knob | type[Any]] = {}
    for field in dataclasses.fields(group):
        kind = field.metadata.get(_METADATA, field.type)
        if isinstance(kind, str):
            kind = typing.get_type_hints(group)[field.name]
        if not isinstance(kind, Knob) and not dataclasses.is_dataclass(kind):
            raise KnobError(f"{name}.{field.name} must be declared with knob(…) or be a group.")
        found[field.name] = cast("Knob | type[Any]", kind)
    return found


def walk(settings_type: type[Any], prefix: str = "") -> Iterator[Knob]:
    """Every knob in declaration order; after a OneOf with a fixed domain, the knobs of each of its plug-ins."""
    for name, member in members(settings_type).items():
        path = f"{prefix}{name}"
        if not isinstance(member, Knob):
            yield from walk(member, f"{path}.")
            continue
        yield dataclasses.replace(member, path=path)
        if isinstance(member.domain, OneOf):
            for plugin, kind in member.domain.plugins.items():
                yield from walk(kind, f"{path}.{plugin}.")


def default(settings_type: type[T]) -> T:
    """The settings with every knob at its default."""
    required: dict[str, Any] = {
        field.name: default(member)
        for field, member in zip(
            dataclasses.fields(settings_type),  # type: ignore[arg-type]
            members(settings_type).values(),
            strict=True,
        )
        if not isinstance(member, Knob)
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    }
    return settings_type(**required)


def why_unavailable(value: object, machine: Machine) -> str | None:
    """What a plug-in or group says through `unavailable(machine)`; None if it works there or says nothing."""
    ask = getattr(value, "unavailable", None)
    reason: str | None = None if ask is None else ask(machine)
    return reason
