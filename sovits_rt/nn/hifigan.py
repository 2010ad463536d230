"""The HiFi-GAN generator: latent frames to samples.

Source: Kong et al. 2020, "HiFi-GAN: Generative Adversarial Networks for Efficient and High Fidelity Speech Synthesis";
upstream: `Generator` in `GPT_SoVITS/module/models.py`. Weight norm is folded into plain weights.

It sees a limited stretch of its input, so a sentence can be rendered in chunks: give each chunk `halo_frames` more
latent frames on both sides (fewer only where the sentence begins or ends) and drop what they render.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sovits_rt.nn.attention import masked

INNER_SLOPE = 0.1
LAST_SLOPE = 0.01
EDGE_KERNEL = 7


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """Sizes; the defaults are those of v1, v2 and v2Pro. voice: channels of the style vector.

    channels: after the first convolution; halved by every upsampling. upsample_rates and upsample_kernels: one per
    stage. block_kernels and block_dilations: the residual blocks whose mean ends every stage.
    """

    voice: int
    latent: int = 192
    channels: int = 512
    upsample_rates: tuple[int, ...] = (10, 8, 2, 2, 2)
    upsample_kernels: tuple[int, ...] = (16, 16, 8, 2, 2)
    block_kernels: tuple[int, ...] = (3, 7, 11)
    block_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))

    def __post_init__(self) -> None:
        if len(self.upsample_rates) != len(self.upsample_kernels):
            raise ValueError(
                f"Each upsampling needs a rate and a kernel, but got {self.upsample_rates} and {self.upsample_kernels}."
            )
        if len(self.block_kernels) != len(self.block_dilations):
            raise ValueError(
                f"Each block needs a kernel and dilations, but got {self.block_kernels} and {self.block_dilations}."
            )
        if any(k < u or (k - u) % 2 for u, k in zip(self.upsample_rates, self.upsample_kernels, strict=True)):
            raise ValueError(
                "An upsampling kernel must exceed its rate by an even number, but got rates "
                f"{self.upsample_rates} and kernels {self.upsample_kernels}."
            )

    @property
    def samples_per_frame(self) -> int:
        return math.prod(self.upsample_rates)


def halo_frames(config: GeneratorConfig) -> int:
    """Latent frames needed on each side of a chunk so that its samples equal those of the whole: the generator's reach.

    Follows the samples of one frame, [first, last], from the output back to the latent.
    """
    edge = EDGE_KERNEL // 2
    blocks = zip(config.block_kernels, config.block_dilations, strict=True)
    # Each dilated convolution is followed by one of dilation 1.
    block_reach = max(kernel // 2 * sum(dilation + 1 for dilation in dilations) for kernel, dilations in blocks)
    first, last = -edge, config.samples_per_frame - 1 + edge
    for rate, kernel in zip(reversed(config.upsample_rates), reversed(config.upsample_kernels), strict=True):
        padding = (kernel - rate) // 2
        first = -((kernel - 1 - padding - (first - block_reach)) // rate)
        last = (last + block_reach + padding) // rate
    return max(edge - first, last + edge)


class ResidualBlock(nn.Module):
    """Values that nothing reads again are overwritten, here and below: the largest of them decide the memory."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=kernel // 2 * dilation)
            for dilation in dilations
        )
        self.convs2 = nn.ModuleList(nn.Conv1d(channels, channels, kernel, padding=kernel // 2) for _ in dilations)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            y = dilated(masked(F.leaky_relu(x, INNER_SLOPE), mask))
            x = plain(masked(F.leaky_relu_(y, INNER_SLOPE), mask)).add_(x)
        return x


class Generator(nn.Module):
    """Latent frames of any stretch of a sentence to samples. It knows nothing of sentences or chunks."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.conv_pre = nn.Conv1d(config.latent, config.channels, EDGE_KERNEL, padding=EDGE_KERNEL // 2)
        self.cond = nn.Conv1d(config.voice, config.channels, 1)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        channels = config.channels
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernels, strict=True):
            self.ups.append(nn.ConvTranspose1d(channels, channels // 2, kernel, rate, padding=(kernel - rate) // 2))
            channels //= 2
            for block_kernel, dilations in zip(config.block_kernels, config.block_dilations, strict=True):
                self.resblocks.append(ResidualBlock(channels, block_kernel, dilations))
        self.conv_post = nn.Conv1d(channels, 1, EDGE_KERNEL, padding=EDGE_KERNEL // 2, bias=False)

    def forward(self, latent: Tensor, voice: Tensor, mask: Tensor | None = None) -> Tensor:
        """latent: [B, latent, T]; voice: [B, voice, 1]; mask: bool [B, 1, T], True for real frames, or None for all.

        Returns [B, 1, samples_per_frame * T] in [-1, 1]. With a mask, the samples of the real frames equal those of
        the real frames alone.
        """
        x = self.conv_pre(masked(latent, mask)) + self.cond(voice)
        blocks_per_stage = len(self.config.block_kernels)
        for stage, (up, rate) in enumerate(zip(self.ups, self.config.upsample_rates, strict=True)):
            x = up(masked(F.leaky_relu_(x, INNER_SLOPE), mask))
            mask = None if mask is None else mask.repeat_interleave(rate, dim=2)
            first, *others = range(stage * blocks_per_stage, (stage + 1) * blocks_per_stage)
            total = self.resblocks[first](x, mask)
            for block in others:
                total.add_(self.resblocks[block](x, mask))
            x = total.div_(blocks_per_stage)
        return torch.tanh(self.conv_post(masked(F.leaky_relu_(x, LAST_SLOPE), mask)))
