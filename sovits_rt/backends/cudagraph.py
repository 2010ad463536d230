"""CUDA graphs: a whole decoding step, drawing of the token included, is one launch (HIP graphs on AMD's GPUs).

There is one graph per number of slots and length of key/value memory; the smallest that fits is replayed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from autotune.knobs import Choice, knob
from autotune.machine import Machine
from sovits_rt.backends import EntryPoint
from sovits_rt.errors import SettingsError

_KINDS = ("cuda", "rocm")


@dataclass(frozen=True, slots=True)
class CudaGraph:
    largest: int = knob(
        Choice((1, 4, 16, 64)),
        default=64,
        doc="Largest batch that graphs are recorded for; larger ones are launched operation by operation.",
    )
    poll: int = knob(
        Choice((1, 2, 4, 8, 16, 32)),
        default=8,
        doc="Decoding steps between two looks at which sentences have ended.",
    )
    window: int = knob(
        Choice((64, 128, 256, 512)),
        default=128,
        doc="Positions of key/value memory by which one graph reaches further than the next smaller one.",
    )

    devices: ClassVar[tuple[str, ...]] = ("cuda",)  # torch's name for both kinds

    @staticmethod
    def unavailable(machine: Machine) -> str | None:
        if any(machine.has(kind) for kind in _KINDS):
            return None
        reasons = [machine.absent[kind] for kind in _KINDS if machine.absent.get(kind)]
        why = f": {reasons[0].rstrip('.')}" if reasons else ""
        return f"graphs need a GPU of NVIDIA or AMD that torch can use{why}"

    @staticmethod
    def formats(entry_name: str) -> tuple[str, ...]:
        if entry_name == "t2s_prefill":  # each length would be recorded, and is read once
            return ()
        return ("fp32", "bf16", "fp16")

    def compile(self, entry: EntryPoint) -> Callable[..., Any]:
        from sovits_rt.backends import _recording

        device = next(entry.module.parameters()).device
        if device.type not in self.devices:
            raise SettingsError(
                f"The backend 'cudagraph' needs process.device=cuda or rocm, but the networks are on {device.type}; "
                "choose another backend."
            )
        record = _recording.CudaRecorder()
        return _recording.Replayed(entry.function, record, resident=entry.resident, largest=self.largest)


BACKEND = CudaGraph
