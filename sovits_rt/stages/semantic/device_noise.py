"""The numbers of `SentenceNoise.token`, computed on the device for several turns and sentences at once.

The generator is numpy's (Philox 4x64-10, Salmon et al. 2011: multipliers and key increments from there), so the bits
are the same; the logarithm is the device's own, in float64, before numbers are rounded to float32. torch has no
unsigned 64-bit arithmetic: products are put together from halves of 32 bits, and right shifts are masked.
"""

import torch
from torch import Tensor

_ROUNDS = 10
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_INCREMENTS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_LOW = 0xFFFFFFFF
_NUMBERS_PER_COUNTER = 4


def signed(value: int) -> int:
    """The 64 bits of an unsigned number as torch holds them."""
    return value - (1 << 64) if value >> 63 else value


def exponential(keys: Tensor, steps: Tensor, turns: int, size: int) -> Tensor:
    """[turns, B, size] float32 for steps steps[b], steps[b] + 1 … of the sentences with keys [B, 2], both int64."""
    counters = torch.arange(1, -(-size // _NUMBERS_PER_COUNTER) + 1, device=keys.device)
    turn = torch.arange(turns, device=keys.device).view(turns, 1, 1)
    shape = (turns, len(keys), len(counters))
    step = (steps.view(1, -1, 1) + turn).expand(shape)
    zero = torch.zeros((), dtype=torch.int64, device=keys.device).expand(shape)
    bits = _philox((counters.expand(shape), zero, step, zero), (keys[:, 0].view(1, -1, 1), keys[:, 1].view(1, -1, 1)))
    raw = torch.stack(bits, dim=-1).flatten(2)[:, :, :size]
    uniform = (((raw >> 12) & ((1 << 52) - 1)).double() + 0.5) * 2.0**-52
    return -uniform.log().float()


def _philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    first, second, third, fourth = counter
    for number in range(_ROUNDS):
        high, low = _product(_MULTIPLIERS[0], first)
        other_high, other_low = _product(_MULTIPLIERS[1], third)
        bumped = [each + signed(number * add % (1 << 64)) for each, add in zip(key, _INCREMENTS, strict=True)]
        first, second = other_high ^ second ^ bumped[0], other_low
        third, fourth = high ^ fourth ^ bumped[1], low
    return first, second, third, fourth


def _product(factor: int, value: Tensor) -> tuple[Tensor, Tensor]:
    """High and low 64 bits of an unsigned product."""
    factor_high, factor_low = factor >> 32, factor & _LOW
    value_high, value_low = _upper(value), value & _LOW
    lowest = value_low * factor_low
    middle = value_low * factor_high + _upper(lowest)
    other = value_high * factor_low + (middle & _LOW)
    return value_high * factor_high + _upper(middle) + _upper(other), value * signed(factor)


def _upper(value: Tensor) -> Tensor:
    return (value >> 32) & _LOW
