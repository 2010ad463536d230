"""Gated convolutions with skip connections and a condition.

Source: van den Oord et al. 2016, "WaveNet: A Generative Model for Raw Audio", in the non-causal form of WaveGlow;
upstream: `WN` in `GPT_SoVITS/module/modules.py`. Weight norm is folded into plain weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sovits_rt.nn.attention import masked


@dataclass(frozen=True, slots=True)
class WaveNetConfig:
    """Sizes. voice: channels of the condition. Layer i has dilation dilation_rate ** i."""

    hidden: int
    voice: int
    kernel: int
    dilation_rate: int
    layers: int

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0:
            raise ValueError(f"The kernel must be odd, but got {self.kernel}.")

    @property
    def radius(self) -> int:
        """How many frames to each side an output frame depends on."""
        return sum(self.kernel // 2 * self.dilation_rate**layer for layer in range(self.layers))


class WaveNet(nn.Module):
    def __init__(self, config: WaveNetConfig) -> None:
        super().__init__()
        hidden, last = config.hidden, config.layers - 1
        self.hidden, self.last = hidden, last
        self.cond_layer = nn.Conv1d(config.voice, 2 * hidden * config.layers, 1)
        self.in_layers = nn.ModuleList()
        self.res_skip_layers = nn.ModuleList()
        for layer in range(config.layers):
            dilation = config.dilation_rate**layer
            padding = config.kernel // 2 * dilation
            self.in_layers.append(nn.Conv1d(hidden, 2 * hidden, config.kernel, dilation=dilation, padding=padding))
            # Nothing follows the last layer, so it has no residual half.
            self.res_skip_layers.append(nn.Conv1d(hidden, hidden if layer == last else 2 * hidden, 1))

    def forward(self, x: Tensor, voice: Tensor, mask: Tensor | None) -> Tensor:
        """x: [B, hidden, T]; voice: [B, voice, 1]; mask: bool [B, 1, T] or None. Returns [B, hidden, T]."""
        conditions = self.cond_layer(voice).chunk(self.last + 1, dim=1)
        output = torch.zeros_like(x)
        layers = zip(self.in_layers, self.res_skip_layers, conditions, strict=True)
        for number, (in_layer, res_skip_layer, condition) in enumerate(layers):
            tanh_in, sigmoid_in = (in_layer(x) + condition).chunk(2, dim=1)
            y = res_skip_layer(tanh_in.tanh() * sigmoid_in.sigmoid())
            if number == self.last:
                output = output + y
            else:
                residual, skip = y.chunk(2, dim=1)
                x = masked(x + residual, mask)
                output = output + skip
        return masked(output, mask)
