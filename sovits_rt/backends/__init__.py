"""How a network is run. One file here is one backend: a frozen dataclass whose fields are its knobs.

A file defines BACKEND, a class with
    unavailable(machine) -> str | None      why it can't be used here, or None
    formats(entry_name) -> names            the number formats in which it runs that entry point; none if it can't
    compile(entry) -> Callable              the entry point, run this backend's way
and perhaps a knob
    memory                                  the number format of the key/value memory that its steps are given
Entry points: "t2s_step" and "t2s_prefill" (nn/t2s.py; without the second, prefill is run plainly), "vocoder"; for a
backend that is `Looping`, "t2s_turn" and "t2s_noise" (stages/semantic/turn.py) too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from autotune.machine import Machine

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """What a network offers to a backend: one of its methods, a function of tensors.

    precision: number format that is asked for. "fp32", "bf16" and "fp16" are also the format of the module's weights;
    other formats are the backend's to make, from weights in fp32. varying: names of the arguments' dimensions that
    change from call to call. resident: numbers of the arguments that are written, or too large to copy: they are to be
    used where they lie. The first argument's first dimension is the batch. A call may be made twice without harm.
    """

    name: str
    module: "nn.Module"
    method: str
    precision: str = "fp32"
    varying: tuple[str, ...] = ()
    resident: tuple[int, ...] = ()

    @property
    def function(self) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(self.module, self.method)
        return function


class Backend(Protocol):
    @staticmethod
    def unavailable(machine: Machine) -> str | None: ...

    @staticmethod
    def formats(entry_name: str) -> tuple[str, ...]: ...

    def compile(self, entry: EntryPoint) -> Callable[..., Any]: ...


def memory_format(backend: Backend) -> str:
    """ "fp32", "bf16" or "fp16"; "same" is that of the network's weights."""
    wanted: str = getattr(backend, "memory", "same")
    return wanted


@runtime_checkable
class Looping(Protocol):
    """A backend for which decoding steps follow each other on the device, drawing of tokens included; the host looks at
    them now and then.

    poll: steps between two looks. window: the memory that a step reads is rounded up to a multiple of it.
    """

    @property
    def poll(self) -> int: ...

    @property
    def window(self) -> int: ...
