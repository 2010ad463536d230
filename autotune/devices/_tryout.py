"""Whether a GPU really works: a small computation on it, compared with the processor's, over many lengths.

Runs in a process of its own, `python -m autotune.devices._tryout DEVICE` with the device as JSON, and answers with one
line of JSON.
"""

import itertools
import json
import statistics
import sys
from collections.abc import Callable, Sequence

from autotune import plain
from autotune.devices import kinds
from autotune.errors import ProbeError
from autotune.machine import Device

LENGTHS = tuple(range(64, 64 + 48 * 8, 8))  # 48 shapes; the first quarter is warm-up
TOLERANCE = 1e-3  # of values around 1; TF32 and other orders of summation stay below
_HALVES = ("float16", "bfloat16")


def tryout(device: Device, lengths: Sequence[int] = LENGTHS) -> dict[str, str]:
    """Facts for `Device.facts`: tryout ("works", or what is wrong), unreliable (number formats that gave NaN or
    infinity), growth_bytes (of memory for every new length)."""
    import torch
    from torch.nn import functional

    kind, processor = kinds()[device.kind], kinds()["cpu"]
    torch_name = kind.torch_name(device)
    weight = torch.sin(torch.arange(32 * 32 * 5) * 1.7).reshape(32, 32, 5) / 9
    inputs = [torch.cos(torch.arange(32 * length) * 0.3).reshape(1, 32, length) for length in lengths]

    def compute(index: int, device: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        hidden = functional.conv1d(inputs[index].to(device, dtype), weight.to(device, dtype), padding=2)
        attention = torch.softmax(hidden.transpose(1, 2) @ hidden / 32**0.5, dim=-1)
        return (hidden @ attention).float().cpu()

    furthest = max(float((compute(i, torch_name) - compute(i, "cpu")).abs().max()) for i in (0, len(lengths) // 2, -1))
    finite = {name: bool(compute(-1, torch_name, getattr(torch, name)).isfinite().all()) for name in _HALVES}
    unreliable = [name for name in _HALVES if not finite[name]]
    # What a driver keeps for each shape may lie in the process' own memory.
    held = (processor.memory_used, kind.memory_used) if device.kind != "cpu" else (processor.memory_used,)
    growth = growth_per_run(
        lambda index: compute(index, torch_name), len(lengths), lambda: sum(used(torch_name) for used in held)
    )
    right = furthest <= TOLERANCE  # false for NaN
    found = {"tryout": "works" if right else f"differs from the processor by {furthest:.2g}"}
    found |= {"unreliable": ", ".join(unreliable)} if unreliable else {}
    return {**found, "growth_bytes": f"{growth:.0f}"}


def growth_per_run(run: Callable[[int], object], count: int, memory_bytes: Callable[[], int]) -> float:
    """Bytes that memory grows by from one run to the next, after the first quarter of `count` (at least 8) runs.

    The rest is cut into four parts; of the three steps between their medians the middle one counts, so that one jump,
    as of an allocator that takes another block, does not.
    """
    seen: list[int] = []
    for index in range(count):
        run(index)
        seen.append(memory_bytes())
    later = seen[count // 4 :]
    size = len(later) // 4
    middles = [statistics.median(later[part * size : (part + 1) * size]) for part in range(4)]
    return statistics.median(after - before for before, after in itertools.pairwise(middles)) / size


if __name__ == "__main__":
    chosen = plain.from_plain(Device, json.loads(sys.argv[1]), ProbeError, "device")
    sys.stdout.write(json.dumps(tryout(chosen)) + "\n")
