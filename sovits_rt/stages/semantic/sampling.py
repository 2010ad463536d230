"""From logits to the next token, for several sentences at once, each with its own parameters.

Order and rules are upstream's (AR/models/utils.py, logits_to_probs): repetition penalty, top-p, temperature, top-k,
softmax, then argmax(p / q) with q ~ Exponential(1), which draws from p. `sample` does that for all rows at once, on any
device; `draw` for one row in numpy, which on a CPU takes a tenth of the time: it looks only at what the top-k keep.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sovits_rt.types import Floats, Sampling

FIRST_STEP_WITH_EOS = 11
_MIN_TEMPERATURE = 1e-5


@dataclass(frozen=True, slots=True)
class SamplingRows:
    """One row per sentence: top_k int64 [B, 1], the others float32 [B, 1]."""

    top_k: Tensor
    top_p: Tensor
    temperature: Tensor
    repetition_penalty: Tensor

    @staticmethod
    def stack(rows: list[Sampling], device: torch.device) -> "SamplingRows":
        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device).unsqueeze(1)

        return SamplingRows(
            top_k=torch.tensor([row.top_k for row in rows], device=device).unsqueeze(1),
            top_p=column([row.top_p for row in rows]),
            temperature=column([max(row.temperature, _MIN_TEMPERATURE) for row in rows]),
            repetition_penalty=column([row.repetition_penalty for row in rows]),
        )


def sample(logits: Tensor, seen: Tensor, noise: Tensor, rows: SamplingRows) -> tuple[Tensor, Tensor]:
    """Draw one token per row.

    logits: [B, V] float32; a token that may not be drawn is -inf. seen: [B, V] bool, tokens so far, the prompt's
    included. noise: [B, V] Exponential(1). Returns (drawn [B], best [B]); best is the argmax after the repetition
    penalty alone, which upstream also looks at to stop.
    """
    logits = penalise(logits, seen, rows.repetition_penalty)
    best = logits.argmax(dim=-1)
    logits = keep_top_p(logits, rows.top_p)
    logits = keep_top_k(logits / rows.temperature, rows.top_k)
    return (logits.softmax(dim=-1) / noise).argmax(dim=-1), best


def sample_on_device(logits: Tensor, seen: Tensor, noise: Tensor, rows: SamplingRows) -> tuple[Tensor, Tensor]:
    """Like `sample`, without asking the device for anything on the way: one sort serves top-p and top-k."""
    logits = penalise(logits, seen, rows.repetition_penalty)
    best = logits.argmax(dim=-1)
    ordered, order = logits.sort(dim=-1, descending=True)
    beyond = beyond_top_p(ordered, rows.top_p)
    logits = logits.masked_fill(torch.zeros_like(beyond).scatter(1, order, beyond), -torch.inf) / rows.temperature
    ordered = ordered.masked_fill(beyond, -torch.inf) / rows.temperature
    pivot = ordered.gather(1, rows.top_k.clamp(max=logits.shape[-1]) - 1)
    logits = logits.masked_fill(logits < pivot, -torch.inf)
    return (logits.softmax(dim=-1) / noise).argmax(dim=-1), best


def draw(logits: Floats, seen: NDArray[np.bool_], noise: Callable[[], Floats], row: Sampling) -> tuple[int, int]:
    """Like `sample`, for one row: logits [V] and seen [V] give (drawn, best). noise: asked for the
    numbers of at least those tokens that are not -inf, and only where more than one token is left."""
    logits = logits.copy()
    said = np.flatnonzero(seen)
    penalty = np.float32(row.repetition_penalty)
    scores = logits[said]
    logits[said] = np.where(scores < 0, scores * penalty, scores / penalty)
    best = int(logits.argmax())
    if row.top_p < 1:
        _drop_beyond(logits, row.top_p)
    logits /= np.float32(max(row.temperature, _MIN_TEMPERATURE))
    last = -min(row.top_k, len(logits))
    pivot = np.partition(logits, last)[last]
    candidates = np.flatnonzero((logits >= pivot) & (logits > -np.inf))
    if len(candidates) < 2:
        return best, best
    weights = np.exp(logits[candidates] - logits[best])
    return int(candidates[(weights / noise()[candidates]).argmax()]), best


def _drop_beyond(logits: Floats, top_p: float) -> None:
    """`keep_top_p` for one row, in place."""
    order = np.argsort(-logits, kind="stable")
    weights = np.exp(logits[order] - logits[order[0]])
    beyond = np.cumsum(weights / weights.sum(), dtype=np.float64).astype(np.float32) > np.float32(top_p)
    beyond[0] = False
    logits[order[beyond]] = -np.inf


def penalise(logits: Tensor, seen: Tensor, penalty: Tensor) -> Tensor:
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def keep_top_p(logits: Tensor, top_p: Tensor) -> Tensor:
    """Drop what lies beyond cumulative probability p, the token that crosses p included; the best always stays."""
    if bool((top_p >= 1).all()):
        return logits
    ordered, order = logits.sort(dim=-1, descending=True)
    beyond = beyond_top_p(ordered, top_p)
    return logits.masked_fill(torch.zeros_like(beyond).scatter(1, order, beyond), -torch.inf)


def beyond_top_p(ordered: Tensor, top_p: Tensor) -> Tensor:
    """[B, V] bool: which of the logits, the largest first, top-p drops."""
    beyond = (ordered.softmax(dim=-1).cumsum(dim=-1) > top_p) & (top_p < 1)
    beyond[:, 0] = False
    return beyond


def keep_top_k(logits: Tensor, top_k: Tensor) -> Tensor:
    """Keep the k best; ties with the k-th stay."""
    size = logits.shape[-1]
    largest = int(top_k.max().clamp(max=size))
    pivot = logits.topk(largest, dim=-1).values.gather(1, top_k.clamp(max=size) - 1)
    return logits.masked_fill(logits < pivot, -torch.inf)
