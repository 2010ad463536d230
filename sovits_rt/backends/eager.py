"""Plain torch: each operation runs when it is reached."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from autotune.machine import Machine
from sovits_rt.backends import EntryPoint


@dataclass(frozen=True, slots=True)
class Eager:
    @staticmethod
    def unavailable(machine: Machine) -> str | None:
        return None

    @staticmethod
    def formats(entry_name: str) -> tuple[str, ...]:
        return ("fp32", "bf16", "fp16")

    def compile(self, entry: EntryPoint) -> Callable[..., Any]:
        return entry.function


BACKEND = Eager
