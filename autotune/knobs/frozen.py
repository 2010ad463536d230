"""A space as plain data and back: what the knobs of one machine were, without the code that declared them.

{"threads": {"range": [1, 8, 1], "log": true, "default": 4},
 "backend": {"plugins": {"eager": {}, "graphs": {"pool": {"choice": ["on", "off"], "default": "on"}}},
             "default": "eager"},
 "stage": {"group": {…}}}
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from autotune.errors import KnobError
from autotune.knobs.convert import plugin_name
from autotune.knobs.domains import Choice, IntRange, OneOf, Scalar, shown
from autotune.knobs.fields import Knob, default, knob, members
from autotune.machine import Machine
from autotune.plain import closest

Space = dict[str, Any]


def freeze(settings: Any, machine: Machine) -> Space:
    """The space of this machine around `settings`, which become the defaults of every knob in use."""
    return {name: _frozen(member, getattr(settings, name), machine) for name, member in members(type(settings)).items()}


def _frozen(member: Knob | type[Any], value: Any, machine: Machine) -> dict[str, Any]:
    if not isinstance(member, Knob):
        return {"group": freeze(value, machine)}
    domain = member.here(machine)
    exact = {} if member.exact else {"exact": False}
    if isinstance(domain, OneOf):
        used = plugin_name(member, value)
        plugins = {
            name: freeze(value if name == used else default(kind), machine) for name, kind in domain.plugins.items()
        }
        return {"plugins": plugins, "default": used, **exact}
    if isinstance(domain, IntRange):
        node = {"range": [domain.low, domain.last, domain.step], "log": domain.log}
        return {**node, "default": domain.nearest(value), **exact}
    known = domain.find(value)
    return {"choice": list(domain.values), "default": domain.values[0] if known is None else known, **exact}


def thaw(space: Mapping[str, Any], name: str = "Settings") -> type[Any]:
    """A settings type with this space. Raises KnobError if the data can't be understood."""
    fields = []
    try:
        for each, node in space.items():
            kind = thaw(node["group"], f"{name}_{each}") if "group" in node else object
            field = dataclasses.field(default=default(kind)) if "group" in node else _thawed(node, f"{name}_{each}")
            fields.append((each, kind, field))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise KnobError(f"{name}: the recorded space can't be understood ({error!r}); record it again.") from error
    return dataclasses.make_dataclass(name, fields, frozen=True, slots=True)


def _thawed(node: Mapping[str, Any], name: str) -> Any:
    doc, exact = "", node.get("exact", True)
    if "plugins" in node:
        kinds = {each: thaw(inner, f"{name}_{each}") for each, inner in node["plugins"].items()}
        return knob(OneOf(kinds), default=kinds[node["default"]](), doc=doc, exact=exact)
    if "range" in node:
        low, high, step = node["range"]
        return knob(IntRange(low, high, step, log=node["log"]), default=node["default"], doc=doc, exact=exact)
    return knob(Choice(tuple(node["choice"])), default=node["default"], doc=doc, exact=exact)


def restrict(space: Space, path: str, allowed: Iterable[str]) -> Space:
    """The space with one knob kept to these values (as `knobs.shown` writes them; plug-ins by name).

    path: as `knobs.flatten` names it. A default that is left out is an error, because everything is compared with it.
    Raises KnobError for a path or value that the space does not have.
    """
    name = next((each for each in space if path == each or path.startswith(f"{each}.")), None)
    if name is None:
        raise KnobError(f"{path}: there is no such knob; {closest(path.split('.')[0], space)}")
    node, rest = space[name], path[len(name) + 1 :]
    if rest:
        return {**space, name: _restrict_inside(node, rest, allowed)}
    wanted = tuple(allowed)
    values: list[Scalar] = list(node.get("plugins") or node.get("choice") or _numbers(node))
    kept = [value for value in values if shown(value) in wanted]
    missing = [text for text in wanted if text not in map(shown, values)]
    if missing or node["default"] not in kept:
        known = ", ".join(map(shown, values))
        raise KnobError(f"{path}: got {', '.join(wanted)}; expected some of {known}, among them {node['default']}.")
    if "plugins" in node:
        return {**space, name: {**node, "plugins": {each: node["plugins"][each] for each in map(str, kept)}}}
    exact = {} if node.get("exact", True) else {"exact": False}
    return {**space, name: {"choice": kept, "default": node["default"], **exact}}


def _restrict_inside(node: Mapping[str, Any], path: str, allowed: Iterable[str]) -> dict[str, Any]:
    if "group" in node:
        return {**node, "group": restrict(node["group"], path, allowed)}
    plugin, _, rest = path.partition(".")
    if plugin not in node.get("plugins", {}) or not rest:
        raise KnobError(f"{path}: there is no such knob; {closest(plugin, node.get('plugins', ()))}")
    return {**node, "plugins": {**node["plugins"], plugin: restrict(node["plugins"][plugin], rest, allowed)}}


def _numbers(node: Mapping[str, Any]) -> list[int]:
    low, high, step = node["range"]
    return list(IntRange(low, high, step))
