"""What a knob may be: values with equality, a text for people, and checks that show what came in."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autotune.errors import KnobError
from autotune.machine import Machine

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values, each a str, int, float or bool; first listed, first shown."""

    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise KnobError("Choice needs at least one value, but got none.")
        for value in self.values:
            if type(value) not in (str, int, float, bool):
                raise KnobError(f"Choice holds str, int, float or bool, but got {value!r}.")
            if isinstance(value, float) and not math.isfinite(value):
                raise KnobError(f"Choice holds finite numbers, but got {value!r}.")
        # 1, 1.0 and True are equal in Python: a choice that mixes them can't be told apart in a stored study.
        if len(set(self.values)) != len(self.values):
            raise KnobError(f"Choice needs distinct values, but got {self.values!r}.")

    def find(self, value: object) -> Scalar | None:
        """The value as declared, or None if it is not among the values (True is not 1; 1 is fine for 1.0)."""
        for known in self.values:
            if type(known) is type(value) and known == value:
                return known
            if type(known) is float and type(value) is int and known == value:
                return known
        return None

    def __str__(self) -> str:
        return ", ".join(shown(value) for value in self.values)

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class IntRange:
    """Whole numbers low, low + step, … up to high. log: small ones sampled more finely (needs step 1, low >= 1)."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        if any(type(value) is not int for value in (self.low, self.high, self.step)):
            raise KnobError(f"IntRange takes whole numbers, but got ({self.low!r}, {self.high!r}, {self.step!r}).")
        if self.low > self.high:
            raise KnobError(f"`low <= high` must hold, but got (low={self.low}, high={self.high}).")
        if self.step < 1:
            raise KnobError(f"`step >= 1` must hold, but got (step={self.step}).")
        if self.log and (self.step != 1 or self.low < 1):
            raise KnobError(f"A log range needs step=1 and low >= 1, but got (low={self.low}, step={self.step}).")

    @property
    def last(self) -> int:
        """The largest member, which is below high when step does not divide the range."""
        return self.low + (self.high - self.low) // self.step * self.step

    def find(self, value: object) -> int | None:
        """The value itself, or None if it is no member."""
        if type(value) is not int or not self.low <= value <= self.high:
            return None
        return value if (value - self.low) % self.step == 0 else None

    def nearest(self, value: int) -> int:
        """The member closest to value; of two equally close ones the smaller."""
        inside = min(max(value, self.low), self.last)
        below = self.low + (inside - self.low) // self.step * self.step
        return below if inside - below <= below + self.step - inside else below + self.step

    def __str__(self) -> str:
        return f"{self.low} to {self.last}" + (f" in steps of {self.step}" if self.step != 1 else "")

    def __len__(self) -> int:
        return (self.high - self.low) // self.step + 1

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.low, self.high + 1, self.step))


@dataclass(frozen=True, slots=True)
class OneOf:
    """One plug-in: each is a frozen dataclass whose own fields are knobs.

    A plug-in may have `unavailable(machine) -> str | None`, the reason why it can't work there.
    """

    plugins: Mapping[str, type[Any]]

    def __post_init__(self) -> None:
        if not self.plugins:
            raise KnobError("OneOf needs at least one plug-in, but got none.")

    def name_of(self, value: object) -> str | None:
        """The name under which value's type is listed, or None."""
        return next((name for name, kind in self.plugins.items() if type(value) is kind), None)

    def __str__(self) -> str:
        return ", ".join(self.plugins)

    def __len__(self) -> int:
        return len(self.plugins)

    def __hash__(self) -> int:
        return hash(tuple(self.plugins))


Domain = Choice | IntRange | OneOf
DomainLike = Domain | Callable[[Machine], Domain]


def shown(value: Scalar) -> str:
    """A value as it is written in a profile and after --set."""
    return str(value).lower() if isinstance(value, bool) else str(value)
