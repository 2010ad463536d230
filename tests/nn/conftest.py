"""Random weights for networks whose defaults (zeros, ones) would hide mistakes."""

from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def filled(network: Network, spread: float = 1.0) -> Network:
    """Gives every weight a value of its own; `spread` 1 keeps the size of what flows through a layer."""
    random = torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        values = torch.randn(tensor.shape, generator=random)
        if name.endswith(("norm.weight", "LayerNorm.weight", "gamma", "running_var")):
            tensor.copy_(1 + 0.1 * values.abs())
        elif tensor.dim() > 1:
            tensor.copy_(values * spread / tensor[0].numel() ** 0.5)
        else:
            tensor.copy_(0.1 * values)
    return network.eval()


@pytest.fixture
def fill() -> Callable[..., nn.Module]:
    return filled


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(2)
