"""What a benchmark found, as data: samples with what they are compared with, and everything needed to doubt them."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autotune.errors import AutotuneError
from autotune.plain import from_plain, to_plain
from autotune.stats import estimate
from benchmarks.tasks import UNITS

SCHEMA = 1
BOOTSTRAP_SEED = 0
PAIRS_FOR_AN_INTERVAL = 3  # of fewer, the interval says nothing


class OutcomeError(AutotuneError):
    """A file of results that can't be read."""


@dataclass(frozen=True, slots=True)
class Check:
    """How a contestant's output relates to the reference's. text: for people. exact: the same tokens, or a wave within
    1e-4. difference: the largest, of numbers. snr_db: of a wave. None: not of that kind, or nothing was compared."""

    text: str
    exact: bool | None = None
    difference: float | None = None
    snr_db: float | None = None


@dataclass(frozen=True, slots=True)
class Versus:
    """times: how many times another contestant's cost is this one's (above 1: better than it), with its 95 %
    interval, from pairs of the same round. None where the pairs are too few for an interval."""

    other: str
    times: float
    low: float | None
    high: float | None
    pairs: int


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of one contestant. samples: in `unit`, one per round, warm-up left out. warm_up: the first run's.
    note: why there are no samples."""

    task: str
    figure: str
    unit: str
    contestant: str
    samples: tuple[float, ...]
    warm_up: float | None
    versus: tuple[Versus, ...]
    check: Check
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def spread(self) -> float:
        """Largest less smallest, as a share of the median."""
        return (max(self.samples) - min(self.samples)) / self.median


@dataclass(frozen=True, slots=True)
class Taking:
    """One contestant: what it was and how it ran. facts: versions, threads, packages that were stood in for."""

    name: str
    peer: bool
    commit: str
    settings: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """machine: in words. software: of the process that asked. conditions: of the run, for those who read it."""

    schema: int
    command: str
    date: str
    model: str
    machine: str
    software: dict[str, Any]
    conditions: dict[str, Any]
    contestants: tuple[Taking, ...]
    lines: tuple[Line, ...]

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(to_plain(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> Outcome:
    """Raises OutcomeError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutcomeError(f"{path} can't be read ({error}); give a file that a benchmark wrote.") from error
    found = data.get("schema") if isinstance(data, dict) else None
    if found != SCHEMA:
        raise OutcomeError(f"{path} has schema {found!r}, this release reads {SCHEMA}; run the benchmark again.")
    return from_plain(Outcome, data, OutcomeError, str(path), finite=False)


def versus(other: str, own: Sequence[float], others: Sequence[float]) -> Versus:
    """own, others: costs of the same rounds, at least one."""
    ratios = [math.log(theirs / mine) for mine, theirs in zip(own, others, strict=True)]
    found = estimate(ratios, np.random.default_rng(BOOTSTRAP_SEED))
    certain = len(ratios) >= PAIRS_FOR_AN_INTERVAL
    return Versus(
        other,
        found.ratio,
        found.ratio_low if certain else None,
        found.ratio_high if certain else None,
        len(ratios),
    )


def shown(unit: str, cost: float) -> float:
    return UNITS[unit](cost)
