"""The normalising flow of SoVITS, in the direction that synthesis needs: prior to latent.

Source: Kim et al. 2021 (VITS), volume-preserving affine couplings; upstream: `ResidualCouplingBlock` in
`GPT_SoVITS/module/models.py`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sovits_rt.nn.attention import masked
from sovits_rt.nn.wavenet import WaveNet, WaveNetConfig


@dataclass(frozen=True, slots=True)
class FlowConfig:
    """Sizes. voice: channels of the style vector."""

    voice: int
    latent: int = 192
    hidden: int = 192
    kernel: int = 5
    dilation_rate: int = 1
    layers: int = 4
    couplings: int = 4

    def __post_init__(self) -> None:
        if self.latent % 2:
            raise ValueError(f"A coupling splits the latent in halves, but got {self.latent} channels.")

    @property
    def wavenet(self) -> WaveNetConfig:
        return WaveNetConfig(self.hidden, self.voice, self.kernel, self.dilation_rate, self.layers)


def halo_frames(config: FlowConfig) -> int:
    """Frames needed on each side of a chunk so that its result equals that of the whole: the flow's reach."""
    return config.couplings * config.wavenet.radius


class Coupling(nn.Module):
    """Subtracts from one half what a network says about the other half."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.pre = nn.Conv1d(config.latent // 2, config.hidden, 1)
        self.enc = WaveNet(config.wavenet)
        self.post = nn.Conv1d(config.hidden, config.latent // 2, 1)

    def forward(self, x: Tensor, voice: Tensor, mask: Tensor | None) -> Tensor:
        kept, changed = x.chunk(2, dim=1)
        mean = self.post(self.enc(masked(self.pre(kept), mask), voice, mask))
        return torch.cat((kept, masked(changed - masked(mean, mask), mask)), dim=1)


class Flip(nn.Module):
    """Reverses the channels. It has no parameters but holds a number in upstream's parameter names."""

    def forward(self, x: Tensor, voice: Tensor, mask: Tensor | None) -> Tensor:
        return x.flip(1)


class Flow(nn.Module):
    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        self.flows = nn.ModuleList(part for _ in range(config.couplings) for part in (Coupling(config), Flip()))

    def forward(self, prior: Tensor, voice: Tensor, mask: Tensor | None = None) -> Tensor:
        """prior: [B, latent, T], a sample of the prior; voice: [B, voice, 1]; mask: bool [B, 1, T], True for real
        frames, or None for all. Returns the latent [B, latent, T]."""
        x = prior
        for flow in reversed(self.flows):
            x = flow(x, voice, mask)
        return x
