"""How fast a device copies memory and multiplies matrices: what to hold achieved speeds against.

Source: Williams, Waterman and Patterson, "Roofline: an insightful visual performance model", CACM 52(4), 2009.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

BUFFER_BYTES = 256 * 1024**2  # more than the caches of most machines
_SIDE = 1024
_SECONDS = 0.15


@dataclass(frozen=True, slots=True)
class Roofline:
    """bandwidth: bytes per second, read and written, of a copy. arithmetic: operations per second of a product."""

    bandwidth: float
    arithmetic: float


def measure_roofline(
    synchronize: Callable[[str], None], torch_name: str, precision: str, *, buffer_bytes: int = BUFFER_BYTES
) -> Roofline | None:
    """Takes about 0.3 s and twice `buffer_bytes` of the device's memory; None if there is not so much.

    precision: torch's name of a number format, such as "float32". The best of several runs counts.
    """
    import torch

    def best_seconds(work: Callable[[], object]) -> float:
        best, ends_at = float("inf"), time.perf_counter() + _SECONDS
        while best == float("inf") or time.perf_counter() < ends_at:
            synchronize(torch_name)
            started = time.perf_counter()
            work()
            synchronize(torch_name)
            best = min(best, time.perf_counter() - started)
        return max(best, 1e-9)

    try:
        source = torch.ones(buffer_bytes // 4, device=torch_name)
        target = torch.zeros_like(source)
        matrix = torch.ones(_SIDE, _SIDE, device=torch_name, dtype=getattr(torch, precision))
        copy_seconds = best_seconds(lambda: target.copy_(source))
        product_seconds = best_seconds(lambda: matrix @ matrix)
    except RuntimeError:  # out of memory
        return None
    return Roofline(2 * buffer_bytes / copy_seconds, 2 * _SIDE**3 / product_seconds)
