"""A subject for examinations: a knob that changes the output, one that does not, and faults."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autotune import knobs
from autotune.knobs import Choice, knob
from autotune.machine import Machine
from autotune.measure import Gate
from autotune.subject import Outputs

LIMIT = 2.0


@dataclass(frozen=True, slots=True)
class Lossy:
    bits: int = knob(Choice((32, 16, 4)), default=32, doc="Fewer cost errors.", exact=False)
    fault: str = knob(Choice(("none", "exception", "killed")), default="none", doc="What goes wrong.", exact=False)
    slots: int = knob(Choice((1, 2)), default=1, doc="Changes nothing.")


class LossyRunner:
    units = 1

    def __init__(self, settings: Lossy) -> None:
        self._settings = settings

    def run(self, unit: int) -> Outputs:
        if self._settings.fault == "exception":
            raise RuntimeError("the voice broke")
        if self._settings.fault == "killed":
            os.abort()
        return {"errors": np.array([{32: 1, 16: 2, 4: 9}[self._settings.bits]])}

    def compare(self, unit: int, reference: Outputs, output: Outputs) -> Sequence[Gate]:
        return compared(reference, output)


def compared(reference: Outputs, output: Outputs) -> list[Gate]:
    more = float(output["errors"].sum() - reference["errors"].sum())
    return [Gate("errors", more <= LIMIT, more, LIMIT, "errors more")]


class LossySubject:
    """opened: file to which a line with the settings is added at each opening. broken: even the defaults fail."""

    name = "lossy"
    settings_type = Lossy

    def __init__(self, opened: str, broken: bool = False) -> None:
        self._opened, self._broken = Path(opened), broken

    def default(self, machine: Machine) -> Lossy:
        return Lossy()

    def reject(self, settings: Lossy, machine: Machine) -> str | None:
        return None

    def environment(self, settings: Lossy, machine: Machine) -> Mapping[str, str]:
        return {"OMP_NUM_THREADS": "1"}

    def cost(self, settings: Lossy) -> tuple[float, ...]:
        return ()

    def open(self, settings: Lossy, machine: Machine) -> LossyRunner:
        with self._opened.open("a") as file:
            file.write(f"{knobs.dump(settings)}\n")
        if self._broken:
            raise FileNotFoundError("there is no voice")
        return LossyRunner(settings)
