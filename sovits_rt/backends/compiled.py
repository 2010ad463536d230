"""torch.compile: operations fused and translated to machine code at first use."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from autotune.knobs import Choice, knob
from autotune.machine import Machine
from sovits_rt.backends import EntryPoint


def _modes(machine: Machine) -> Choice:
    # the other modes tune GPU kernels or capture CUDA graphs; on a CPU they only compile longer
    return Choice(("default", "max-autotune") if machine.accelerators else ("default",))


@dataclass(frozen=True, slots=True)
class Compiled:
    mode: str = knob(_modes, default="default", doc="torch.compile's mode.")

    @staticmethod
    def unavailable(machine: Machine) -> str | None:
        if machine.accelerators and find_spec("triton") is None:
            return "torch.compile needs the triton package on a GPU"
        if not any(shutil.which(name) for name in ("g++", "c++", "clang++", "cl")):
            return "torch.compile needs a C++ compiler and none was found"
        return None

    @staticmethod
    def formats(entry_name: str) -> tuple[str, ...]:
        if entry_name == "t2s_prefill":  # each length would be compiled anew, and is read once
            return ()
        return ("fp32", "bf16", "fp16")

    def compile(self, entry: EntryPoint) -> Callable[..., Any]:
        import torch

        return torch.compile(entry.function, mode=self.mode, dynamic=bool(entry.varying))


BACKEND = Compiled
