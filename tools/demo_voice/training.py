"""What every training of the recipe shares: steps that can be cut at any time, a learning rate, lines of progress."""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

WARM_UP_STEPS = 300
SAVE_SECONDS = 120.0
REPORT_STEPS = 50


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def half() -> torch.autocast:
    """Matrices and convolutions in bfloat16 where the hardware has it: nearly twice as fast."""
    where = device().type
    native = where != "cpu" or any("bf16" in name and has for name, has in torch.cpu.get_capabilities().items())
    return torch.autocast(where, torch.bfloat16, enabled=native)


def save_atomically(content: Mapping[str, Any], path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(dict(content), temporary)
    os.replace(temporary, path)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Rises for WARM_UP_STEPS, stays, and falls to a twentieth over the last half."""
    if step < WARM_UP_STEPS:
        return peak * (step + 1) / WARM_UP_STEPS
    past_half = max(0.0, 2 * step / steps - 1)
    return peak * (1.0 - 0.95 * min(1.0, past_half))


def train(
    path: Path,
    parts: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    step_of: Callable[[int], Mapping[str, Tensor]],
    *,
    steps: int,
    peak: float,
) -> None:
    """Call step_of(step) until `steps`, going on from `path` if it exists.

    step_of does one update and returns what to report. Batches are drawn from the step's number, so that a run that
    was cut goes on as if it had not been. The state is saved every SAVE_SECONDS and at the end.
    """
    first = 0
    if path.exists():
        stored = torch.load(path, map_location=device(), weights_only=True)
        first = stored["step"]
        for name, part in parts.items():
            if name in stored["parts"]:
                part.load_state_dict(stored["parts"][name])
        for name, optimizer in optimizers.items():
            if name in stored["optimizers"]:  # not in a state that was made from published weights
                optimizer.load_state_dict(stored["optimizers"][name])

    def save(step: int) -> None:
        save_atomically(
            {
                "step": step,
                "parts": {name: part.state_dict() for name, part in parts.items()},
                "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
            },
            path,
        )

    begun = saved = time.monotonic()
    sums: dict[str, float] = {}
    for step in range(first, steps):
        for optimizer in optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, peak)
        for name, value in step_of(step).items():
            sums[name] = sums.get(name, 0.0) + float(value)
        now = time.monotonic()
        if (step + 1) % REPORT_STEPS == 0:
            seconds = (now - begun) / (step + 1 - first)
            means = {name: round(value / REPORT_STEPS, 4) for name, value in sums.items()}
            left = round((steps - step - 1) * seconds / 60, 1)
            line = {"step": step + 1, "of": steps, "minutes_left": left, "seconds": round(seconds, 3), **means}
            print(path.stem, json.dumps(line), flush=True)
            with path.with_suffix(".jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            sums = {}
        if now - saved > SAVE_SECONDS:
            save(step + 1)
            saved = now
    if first < steps:
        save(steps)


def padded(rows: list[Tensor], value: float = 0) -> Tensor:
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)
