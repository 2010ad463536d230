"""Own code for the decoder's steps on a CPU: one call per step, built for the processor at first use.

Weights in fp32, bf16 or int8. int8 has a scale for each output and 64 inputs; what is multiplied with it is turned
into bytes too, with a scale for each row and 64 numbers. Sums are kept in fp32; key/value memory has the format that
the caller gives it. A sentence's numbers depend, to the bit, neither on what is decoded beside it nor on the number of
threads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotune.knobs import Choice, knob
from autotune.machine import Machine
from sovits_rt.backends import EntryPoint
from sovits_rt.backends._native import build
from sovits_rt.errors import SettingsError

SOURCE = Path(build.__file__).with_name("step.cpp")
_SPARED = {"nothing": (), "head": (4,), "head-and-down": (3, 4)}  # of project, combine, expand, contract, head


@dataclass(frozen=True, slots=True)
class Native:
    spared: str = knob(
        Choice(tuple(_SPARED)),
        default="head",  # the head makes most of int8's loss and is 1 % of the weights; the other brings nothing here
        doc="What int8 leaves in bf16: the layer that gives the logits, the second half of each feed-forward part.",
        exact=False,
    )
    memory: str = knob(
        Choice(("same", "bf16", "fp16")),
        default="same",
        doc="Number format of keys and values; with many sentences at once, reading them takes most of a step's time.",
        exact=False,
    )

    @staticmethod
    def unavailable(machine: Machine) -> str | None:
        if machine.software.os == "windows":
            return "the native backend needs Linux or macOS"
        if build.find_compiler() is None:
            return f"the native backend needs a C++ compiler ({', '.join(build.COMPILERS)}) and none was found"
        return None

    @staticmethod
    def formats(entry_name: str) -> tuple[str, ...]:
        return ("fp32", "bf16", "int8") if entry_name == "t2s_step" else ()

    def compile(self, entry: EntryPoint) -> Callable[..., Any]:
        """Raises SettingsError where the compiler fails, or for a network on a GPU or of an unusual width."""
        from sovits_rt.backends._native.package import NativeStep
        from sovits_rt.nn.t2s import T2S

        assert isinstance(entry.module, T2S)
        device = entry.module.bert_proj.weight.device
        if device.type != "cpu":
            raise SettingsError(
                f"semantic.backend native runs on the CPU, but the decoder is on {device}; "
                f"set process.device=cpu or choose another semantic.backend."
            )
        if entry.module.config.width % 16:
            raise SettingsError(
                f"semantic.backend native needs a decoder whose width is a multiple of 16, but this one's is "
                f"{entry.module.config.width}; choose another semantic.backend."
            )
        formats = [entry.precision] * 5
        if entry.precision == "int8":
            for matrix in _SPARED[self.spared]:
                formats[matrix] = "bf16"
        return NativeStep(build.load(SOURCE), entry.module, formats)


BACKEND = Native
