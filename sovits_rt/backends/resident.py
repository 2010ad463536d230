"""Decoding steps that stay on the GPU, each operation launched by itself: for GPUs without graphs, such as Apple's.

Slots and key/value memory come in few shapes and newcomers are padded to few lengths, since Apple's framework keeps
something for every shape that it has seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from autotune.knobs import Choice, knob
from autotune.machine import Machine
from sovits_rt.backends import EntryPoint

_STEPS = ("t2s_step", "t2s_turn", "t2s_noise")


@dataclass(frozen=True, slots=True)
class Resident:
    poll: int = knob(
        Choice((1, 2, 4, 8, 16, 32)),
        default=8,
        doc="Decoding steps between two looks at which sentences have ended.",
    )
    window: int = knob(
        Choice((64, 128, 256, 512)),
        default=256,
        doc="Key/value memory is read in multiples of so many positions.",
    )

    @staticmethod
    def unavailable(machine: Machine) -> str | None:
        return None if machine.accelerators else "it saves waiting for a GPU, and there is none that torch can use"

    @staticmethod
    def formats(entry_name: str) -> tuple[str, ...]:
        return ("fp32", "bf16", "fp16") if entry_name in _STEPS else ()

    def compile(self, entry: EntryPoint) -> Callable[..., Any]:
        return entry.function


BACKEND = Resident
