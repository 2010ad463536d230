"""ERes2NetV2, the speaker network whose features join the style vector in the Pro versions.

Source: Chen et al. 2024, "ERes2NetV2: Boosting Short-Duration Speaker Verification Performance with Computational
Efficiency"; upstream: `forward3` in `GPT_SoVITS/eres2net/ERes2NetV2.py`, which averages the fused feature map over
time instead of computing the network's own embedding.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Names that a checkpoint has and the features do not need: all below the embedding layer.
UNUSED = ("seg_1.",)

CLIP = 20.0  # the activation inside the blocks is cut here
FUSION_REDUCTION = 4


@dataclass(frozen=True, slots=True)
class SpeakerConfig:
    """Sizes of the published w24s4ep4 network. mels: bins of the filter bank. blocks: per stage; the last two stages
    fuse their splits by attention."""

    mels: int = 80
    channels: int = 64
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    base_width: int = 24
    splits: int = 4
    expansion: int = 4

    @property
    def features(self) -> int:
        """Length of the result: channels of the last stage times the bins that are left of mels."""
        bins = self.mels
        for _ in range(3):
            bins = (bins + 1) // 2
        return self.channels * 8 * self.expansion * bins


class BatchNorm(nn.BatchNorm2d):
    """Always with the stored statistics, whatever mode the module is in."""

    def forward(self, input: Tensor) -> Tensor:
        return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def clipped(x: Tensor) -> Tensor:
    return x.clamp(0.0, CLIP)


class Fusion(nn.Module):
    """Weighs two feature maps against each other, position by position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // FUSION_REDUCTION
        self.local_att = nn.Sequential(
            nn.Conv2d(2 * channels, inner, 1),
            BatchNorm(inner),
            nn.SiLU(),
            nn.Conv2d(inner, channels, 1),
            BatchNorm(channels),
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        weight = 1.0 + self.local_att(torch.cat((x, y), dim=1)).tanh()
        fused: Tensor = x * weight + y * (2.0 - weight)
        return fused


class Block(nn.Module):
    """A bottleneck whose middle is a chain of small convolutions over splits of the channels."""

    def __init__(self, inputs: int, planes: int, stride: int, config: SpeakerConfig, *, fused: bool) -> None:
        super().__init__()
        width = planes * config.base_width // 64
        middle, outputs = width * config.splits, planes * config.expansion
        self.splits = config.splits
        self.conv1 = nn.Conv2d(inputs, middle, 1, stride, bias=False)
        self.bn1 = BatchNorm(middle)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(config.splits))
        self.bns = nn.ModuleList(BatchNorm(width) for _ in range(config.splits))
        self.conv3 = nn.Conv2d(middle, outputs, 1, bias=False)
        self.bn3 = BatchNorm(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), BatchNorm(outputs))
        self.fuse_models = nn.ModuleList(Fusion(width) for _ in range(config.splits - 1)) if fused else None

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, inputs, mel bins, T]
        parts = clipped(self.bn1(self.conv1(x))).chunk(self.splits, dim=1)
        done: list[Tensor] = []
        for number, (part, conv, norm) in enumerate(zip(parts, self.convs, self.bns, strict=True)):
            if number == 0:
                mixed = part
            elif self.fuse_models is None:
                mixed = done[-1] + part
            else:
                mixed = self.fuse_models[number - 1](done[-1], part)
            done.append(clipped(norm(conv(mixed))))
        joined: Tensor = self.bn3(self.conv3(torch.cat(done, dim=1)))
        return clipped(joined + self.shortcut(x))


def stage(inputs: int, planes: int, stride: int, blocks: int, config: SpeakerConfig, *, fused: bool) -> nn.Sequential:
    """`blocks` blocks, of which only the first changes channels and size."""
    outputs = planes * config.expansion
    first = Block(inputs, planes, stride, config, fused=fused)
    rest = (Block(outputs, planes, 1, config, fused=fused) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


class SpeakerNet(nn.Module):
    """Filter bank to speaker features. Recordings of one batch must have one length."""

    def __init__(self, config: SpeakerConfig) -> None:
        super().__init__()
        self.config = config
        base, wide = config.channels, config.channels * config.expansion
        self.conv1 = nn.Conv2d(1, base, 3, padding=1, bias=False)
        self.bn1 = BatchNorm(base)
        self.layer1 = stage(base, base, 1, config.blocks[0], config, fused=False)
        self.layer2 = stage(wide, base * 2, 2, config.blocks[1], config, fused=False)
        self.layer3 = stage(wide * 2, base * 4, 2, config.blocks[2], config, fused=True)
        self.layer4 = stage(wide * 4, base * 8, 2, config.blocks[3], config, fused=True)
        self.layer3_ds = nn.Conv2d(wide * 4, wide * 8, 3, 2, padding=1, bias=False)
        self.fuse34 = Fusion(wide * 8)

    def forward(self, fbank: Tensor) -> Tensor:
        """fbank: [B, m, mels] logarithmic Kaldi filter bank, 100 frames per second, mean not removed.

        Returns [B, features] (20480 for the published sizes). Raises ValueError for another number of bins.
        """
        if fbank.shape[2] != self.config.mels:
            raise ValueError(f"The speaker network reads {self.config.mels} mel bins, but got {fbank.shape[2]}.")
        x = fbank.transpose(1, 2)[:, None]  # [B, 1, mels, m]
        x = F.relu(self.bn1(self.conv1(x)))
        third = self.layer3(self.layer2(self.layer1(x)))
        fused = self.fuse34(self.layer4(third), self.layer3_ds(third))  # [B, 8 * wide, mels / 8, m / 8]
        features: Tensor = fused.flatten(1, 2).mean(dim=-1)
        return features
