"""Convolutions over time as two-dimensional ones whose channels lie next to each other in memory.

Kernel libraries are at their best in that layout: they read all channels of a moment at once, where one-dimensional
convolutions get a layout that has to be rearranged around every call. The numbers are the same up to rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autotune.machine import Machine
from sovits_rt.backends import EntryPoint

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class ChannelsLast:
    @staticmethod
    def unavailable(machine: Machine) -> str | None:
        return None

    @staticmethod
    def formats(entry_name: str) -> tuple[str, ...]:
        return ("fp32", "bf16") if entry_name == "vocoder" else ()

    def compile(self, entry: EntryPoint) -> Callable[..., Any]:
        import copy

        # A copy of the structure only: every weight is the module's own.
        kept = {id(each): each for each in (*entry.module.parameters(), *entry.module.buffers())}
        twin = copy.deepcopy(entry.module, kept)
        _rearrange(twin)
        function: Callable[..., Any] = getattr(twin, entry.method)
        return function


def _rearrange(module: "nn.Module") -> None:
    """Puts a `_wide` function into the place of every convolution's own."""
    from torch import nn

    for child in module.modules():
        if isinstance(child, nn.Conv1d | nn.ConvTranspose1d):
            vars(child)["forward"] = _wide(child)  # found before the method of its class


def _wide(convolution: "nn.Conv1d | nn.ConvTranspose1d") -> "Callable[[Tensor], Tensor]":
    """The convolution as a function of x: [B, channels, T]. Its weight moves to the new layout, of which the module's
    own parameter is a view from then on, so that it is kept once."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    given = convolution.weight
    weight = given.detach().unsqueeze(2).contiguous(memory_format=torch.channels_last)
    given.data = weight.squeeze(2)
    stride, dilation = (1, convolution.stride[0]), (1, convolution.dilation[0])
    assert isinstance(convolution.padding, tuple)
    padding = (0, convolution.padding[0])
    groups = convolution.groups
    if isinstance(convolution, nn.ConvTranspose1d):
        assert convolution.output_padding == (0,)

        def transposed(x: "Tensor") -> "Tensor":
            wide = F.conv_transpose2d(x.unsqueeze(2), weight, convolution.bias, stride, padding, 0, groups, dilation)
            return wide.squeeze(2)

        return transposed

    def plain(x: "Tensor") -> "Tensor":
        wide = F.conv2d(x.unsqueeze(2), weight, convolution.bias, stride, padding, dilation, groups)
        return wide.squeeze(2)

    return plain


BACKEND = ChannelsLast
