"""Knobs: typed fields of frozen dataclasses that can be sampled, loaded, dumped, fitted to a machine and listed.

    @dataclass(frozen=True, slots=True)
    class Semantic:
        backend: Backend = knob(OneOf(BACKENDS), default=Eager(), doc="How the decoder is run.")
        slots: int = knob(IntRange(1, 32, log=True), default=4, doc="Sentences decoded together.")
        threads: int = knob(lambda machine: IntRange(1, machine.usable_cores), default=1, doc="CPU threads.")

The field is the only declaration. A plug-in (of OneOf) or a group may define `unavailable(machine) -> str | None`.
"""

from autotune.knobs.convert import changes, dump, flatten, key, load, override, unflatten
from autotune.knobs.domains import Choice, Domain, DomainLike, IntRange, OneOf, Scalar
from autotune.knobs.fields import Knob, default, knob, members, walk
from autotune.knobs.space import Row, Suggester, clamp, describe, neighbours, size, space_key, suggest

__all__ = [
    "Choice",
    "Domain",
    "DomainLike",
    "IntRange",
    "Knob",
    "OneOf",
    "Row",
    "Scalar",
    "Suggester",
    "changes",
    "clamp",
    "default",
    "describe",
    "dump",
    "flatten",
    "key",
    "knob",
    "load",
    "members",
    "neighbours",
    "override",
    "size",
    "space_key",
    "suggest",
    "unflatten",
    "walk",
]
