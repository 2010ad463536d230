"""Not speech: which of many centres is nearest to each point (a step of k-means), tuned with autotune.

python docs/tune_anything.py profiles/
"""

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autotune import knobs
from autotune.decision import Decision
from autotune.knobs import Choice, OneOf, knob
from autotune.machine import Machine
from autotune.measure import Gate
from autotune.probe import probe
from autotune.subject import Outputs, SubjectName

Array = NDArray[Any]
SCENARIO, SIZES, CENTRES, DIMENSIONS = "throughput", (1024, 256), 128, 16


@dataclass(frozen=True, slots=True)
class Product:
    """|c|^2 - 2 c.p orders the centres as the distance does, and most of it is one matrix product."""

    columns: int = knob(Choice((16, 32, 128)), default=32, doc="Centres at a time.")

    def distances(self, points: Array, centres: Array) -> Array:
        found: Array = (centres * centres).sum(axis=1) - 2 * (points @ centres.T)
        return found


@dataclass(frozen=True, slots=True)
class Differences:
    columns: int = knob(Choice((4, 16, 64)), default=16, doc="Centres at a time.")

    def distances(self, points: Array, centres: Array) -> Array:
        apart = points[:, None, :] - centres[None, :, :]
        found: Array = np.einsum("pcd,pcd->pc", apart, apart)
        return found


@dataclass(frozen=True, slots=True)
class Settings:
    method: Product | Differences = knob(
        OneOf({"product": Product, "differences": Differences}), default=Product(), doc="How distances are computed."
    )
    rows: int = knob(Choice((8, 16, 64, 256, 1024)), default=64, doc="Points at a time.")
    dtype: str = knob(Choice(("float64", "float32", "float16")), default="float64", doc="Number format.", exact=False)
    order: Literal["C", "F"] = knob(
        Choice(("C", "F")), default="C", doc="Memory layout of the points: by row, or by column."
    )
    workers: int = knob(Choice((1, 2)), default=1, doc="Threads that take blocks of points.")
    blas_threads: int = knob(Choice((1, 2)), default=1, doc="Threads inside a matrix product.")


class NearestCentre:
    """A subject: see autotune.subject."""

    name, settings_type = "nearest-centre", Settings

    def reject(self, settings: Settings, machine: Machine) -> str | None:
        return None  # or why it need not be tried

    def default(self, machine: Machine) -> Settings:
        return Settings()

    def environment(self, settings: Settings, machine: Machine) -> Mapping[str, str]:
        return {"OPENBLAS_NUM_THREADS": str(settings.blas_threads)}  # read when numpy is imported

    def cost(self, settings: Settings) -> tuple[float, ...]:
        return (float(settings.dtype != "float64"), settings.workers, settings.blas_threads, settings.rows)

    def open(self, settings: Settings, machine: Machine) -> "Runner":
        return Runner(settings)


class Runner:
    units = len(SIZES)

    def __init__(self, settings: Settings) -> None:
        self._settings, generator = settings, np.random.default_rng(1)
        exact = [generator.normal(size=(size, DIMENSIONS)) for size in SIZES]
        self._centres = generator.normal(size=(CENTRES, DIMENSIONS)).astype(settings.dtype)
        self._points = [points.astype(settings.dtype, order=settings.order) for points in exact]
        self._map = map if settings.workers == 1 else ThreadPoolExecutor(settings.workers).map

    def run(self, unit: int) -> Outputs:
        blocks = range(0, SIZES[unit], self._settings.rows)
        return {"nearest": np.concatenate(list(self._map(lambda start: self._block(unit, start), blocks)))}

    def _block(self, unit: int, start: int) -> Array:
        points, step = self._points[unit][start : start + self._settings.rows], self._settings.method.columns
        parts = [self._settings.method.distances(points, self._centres[c : c + step]) for c in range(0, CENTRES, step)]
        nearest: Array = np.argmin(np.concatenate(parts, axis=1), axis=1)
        return nearest

    def compare(self, unit: int, reference: Outputs, output: Outputs) -> Sequence[Gate]:
        wrong = float(np.mean(reference["nearest"] != output["nearest"]))
        return [Gate("same", wrong == 0.0, wrong, 0.0, "share of points with another centre")]


def tune_here(folder: Path, **limits: Any) -> Decision:
    """Measure and store a profile of this machine. limits: budget_seconds, max_trials, … of autotune.tuner.tune."""
    from autotune import store, tuner  # not above: every trial imports this file, and would wait for Optuna
    from autotune.record import profile_of

    machine, name = probe(), SubjectName("tune_anything:NearestCentre")
    decision = tuner.tune(name, machine, **limits)
    what = {"objective": "seconds", "unit": "seconds per pass, less is better", "tool": "tune_anything", "version": "1"}
    environment = NearestCentre().environment(decision.settings, machine)
    made = profile_of(decision, NearestCentre(), machine, scenario=SCENARIO, environment=environment, **what)
    store.save(made, folder)
    return decision


def settings_here(folder: Path) -> Settings:
    """What a program that does the work calls when it starts: the profile of this machine, or the defaults."""
    from autotune import store

    machine = probe()
    found = store.resolve(machine, subject=NearestCentre.name, scenario=SCENARIO, user_dir=folder)
    if not found.trusted or found.profile is None:
        return NearestCentre().default(machine)
    return knobs.load(Settings, found.profile.settings, machine)


if __name__ == "__main__":
    decision = tune_here(Path(sys.argv[1]), budget_seconds=120.0, max_trials=20)
    sys.stdout.write(f"{decision.status}: {decision.reason}\n{settings_here(Path(sys.argv[1]))}\n")
