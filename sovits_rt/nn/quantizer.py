"""The codebook between HuBERT features and semantic tokens.

Source: nearest-neighbour vector quantisation, van den Oord et al. 2017, "Neural Discrete Representation Learning";
upstream: `GPT_SoVITS/module/core_vq.py`, of whose residual quantizer GPT-SoVITS uses one stage.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Names that a checkpoint has and only training needs.
UNUSED = tuple(f"vq.layers.0._codebook.{name}" for name in ("inited", "cluster_size", "embed_avg"))


@dataclass(frozen=True, slots=True)
class QuantizerConfig:
    channels: int = 768
    codes: int = 1024


class Codebook(nn.Module):
    embed: Tensor  # [codes, channels]

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.register_buffer("embed", torch.zeros(config.codes, config.channels))


class Stage(nn.Module):
    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self._codebook = Codebook(config)


class Stages(nn.Module):
    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Stage(config)])


class Quantizer(nn.Module):
    """Codes of features and features of codes. Keep it in float32: near ties decide which code wins."""

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.vq = Stages(config)

    @property
    def codebook(self) -> Tensor:
        """[codes, channels]"""
        return self.get_buffer("vq.layers.0._codebook.embed")

    def encode(self, features: Tensor) -> Tensor:
        """features: [B, channels, T]. Returns int64 [B, T], the nearest code of each frame."""
        x = features.transpose(1, 2)
        book = self.codebook.t()
        # Written in upstream's order of operations, so that a near tie falls on the same side.
        distance = x.pow(2).sum(-1, keepdim=True) - 2 * x @ book + book.pow(2).sum(0)
        return (-distance).argmax(dim=-1)

    def decode(self, codes: Tensor) -> Tensor:
        """codes: int64 [B, N]. Returns [B, channels, N]."""
        return F.embedding(codes, self.codebook).transpose(1, 2)
