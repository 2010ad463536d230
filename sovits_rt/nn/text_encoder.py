"""The prior encoder of SoVITS: semantic tokens and phones to the mean and spread of the latent.

Source: Kim et al. 2021, "Conditional Variational Autoencoder with Adversarial Learning for End-to-End Text-to-Speech"
(VITS), with relative attention after Shaw et al. 2018; upstream: `TextEncoder` in `GPT_SoVITS/module/models.py`,
`module/attentions.py`, `module/mrte_model.py`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sovits_rt.nn.attention import attend, masked


@dataclass(frozen=True, slots=True)
class TextEncoderConfig:
    """Sizes. phones: rows of the symbol table. layers: of the phone encoder; the two others have half as many.
    mixer and mixer_heads: width and heads of the cross attention between tokens and phones."""

    phones: int
    semantic: int = 768
    latent: int = 192
    hidden: int = 192
    feed_forward: int = 768
    heads: int = 2
    layers: int = 6
    kernel: int = 3
    window: int = 4
    mixer: int = 512
    mixer_heads: int = 4

    def __post_init__(self) -> None:
        if self.hidden % self.heads or self.mixer % self.mixer_heads:
            raise ValueError(
                f"Channels must divide by heads, but got {self.hidden} by {self.heads} and {self.mixer} by "
                f"{self.mixer_heads}."
            )
        if self.kernel % 2 == 0:
            raise ValueError(f"The feed-forward kernel must be odd, but got {self.kernel}.")


@dataclass(frozen=True, slots=True)
class Band:
    """Where each frame's neighbours within the window are; depends on the number of frames only.

    keys: [T, T], number of the relative position of key j for query i, or 2 * window + 1 when it is outside.
    values: [T, 2 * window + 1], column of that neighbour in attention weights that got `window` columns on both sides.
    """

    keys: Tensor
    values: Tensor


def band(frames: int, window: int, device: torch.device) -> Band:
    frame = torch.arange(frames, device=device)
    offset = frame[None, :] - frame[:, None] + window
    width = 2 * window + 1
    inside = (offset >= 0) & (offset < width)
    return Band(
        keys=torch.where(inside, offset, width),
        values=frame[:, None] + torch.arange(width, device=device)[None, :],
    )


class ChannelNorm(nn.Module):
    """Layer norm over the channels of [B, C, T]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.transpose(1, 2), self.gamma.shape, self.gamma, self.beta).transpose(1, 2)


class RelativeAttention(nn.Module):
    """Self attention in which near keys and values carry an embedding of their distance, shared by all heads."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        channels, width, head = config.hidden, 2 * config.window + 1, config.hidden // config.heads
        self.heads, self.window = config.heads, config.window
        self.conv_q = nn.Conv1d(channels, channels, 1)
        self.conv_k = nn.Conv1d(channels, channels, 1)
        self.conv_v = nn.Conv1d(channels, channels, 1)
        self.conv_o = nn.Conv1d(channels, channels, 1)
        self.emb_rel_k = nn.Parameter(torch.zeros(1, width, head))
        self.emb_rel_v = nn.Parameter(torch.zeros(1, width, head))

    def forward(self, x: Tensor, near: Band, mask: Tensor | None) -> Tensor:
        # x: [B, C, T] -> query, key, value: [B, H, T, D]
        query, key, value = (
            projection(x).view(x.shape[0], self.heads, -1, x.shape[2]).transpose(2, 3)
            for projection in (self.conv_q, self.conv_k, self.conv_v)
        )
        query = query / math.sqrt(query.shape[-1])
        scores = query @ key.transpose(2, 3)  # [B, H, T, T]
        # One extra column of zeros is what every key outside the window picks.
        by_distance = F.pad(query @ self.emb_rel_k.transpose(1, 2), (0, 1))
        scores = scores + by_distance.gather(3, near.keys.expand_as(scores))
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None], float("-inf"))
        weights = scores.softmax(dim=3)
        padded = F.pad(weights, (self.window, self.window))
        near_weights = padded.gather(3, near.values.expand(*weights.shape[:3], -1))  # [B, H, T, width]
        mixed = weights @ value + near_weights @ self.emb_rel_v
        out: Tensor = self.conv_o(mixed.transpose(2, 3).flatten(1, 2))
        return out


class FeedForward(nn.Module):
    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        padding = config.kernel // 2
        self.conv_1 = nn.Conv1d(config.hidden, config.feed_forward, config.kernel, padding=padding)
        self.conv_2 = nn.Conv1d(config.feed_forward, config.hidden, config.kernel, padding=padding)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = F.relu(self.conv_1(masked(x, mask)))
        return masked(self.conv_2(masked(x, mask)), mask)


class Encoder(nn.Module):
    def __init__(self, config: TextEncoderConfig, layers: int) -> None:
        super().__init__()
        self.window = config.window
        self.attn_layers = nn.ModuleList(RelativeAttention(config) for _ in range(layers))
        self.norm_layers_1 = nn.ModuleList(ChannelNorm(config.hidden) for _ in range(layers))
        self.ffn_layers = nn.ModuleList(FeedForward(config) for _ in range(layers))
        self.norm_layers_2 = nn.ModuleList(ChannelNorm(config.hidden) for _ in range(layers))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        # x: [B, C, T], mask: bool [B, 1, T] or None
        near = band(x.shape[2], self.window, x.device)
        x = masked(x, mask)
        for attention, norm_1, feed_forward, norm_2 in zip(
            self.attn_layers, self.norm_layers_1, self.ffn_layers, self.norm_layers_2, strict=True
        ):
            x = norm_1(x + attention(x, near, mask))
            x = norm_2(x + feed_forward(x, mask))
        return masked(x, mask)


class CrossAttention(nn.Module):
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.conv_q = nn.Conv1d(channels, channels, 1)
        self.conv_k = nn.Conv1d(channels, channels, 1)
        self.conv_v = nn.Conv1d(channels, channels, 1)
        self.conv_o = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, memory: Tensor, memory_mask: Tensor | None) -> Tensor:
        # x: [B, C, T], memory: [B, C, S], memory_mask: bool [B, 1, S] or None
        query, key, value = (y.transpose(1, 2) for y in (self.conv_q(x), self.conv_k(memory), self.conv_v(memory)))
        key_mask = None if memory_mask is None else memory_mask[:, 0]
        out: Tensor = self.conv_o(attend(query, key, value, self.heads, key_mask=key_mask).transpose(1, 2))
        return out


class Mixer(nn.Module):
    """Lets the tokens look at the phones and adds the voice (upstream: MRTE)."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.cross_attention = CrossAttention(config.mixer, config.mixer_heads)
        self.c_pre = nn.Conv1d(config.hidden, config.mixer, 1)
        self.text_pre = nn.Conv1d(config.hidden, config.mixer, 1)
        self.c_post = nn.Conv1d(config.mixer, config.hidden, 1)

    def forward(self, tokens: Tensor, phones: Tensor, voice: Tensor, phones_mask: Tensor | None) -> Tensor:
        # tokens: [B, C, T], phones: [B, C, n], voice: [B, mixer, 1]
        tokens = self.c_pre(tokens)
        mixed = self.cross_attention(tokens, self.text_pre(phones), phones_mask) + tokens + voice
        out: Tensor = self.c_post(mixed)
        return out


def stretched_frames(frames: int, speed: float) -> int:
    """How many latent frames remain of `frames` at a speed other than 1: upstream adds one."""
    return int(frames / speed) + 1


def stretch(y: Tensor, speed: float) -> Tensor:
    """y: [B, C, T]. Returns [B, C, T'] spoken `speed` times as fast; unchanged at exactly 1."""
    if speed == 1:
        return y
    return F.interpolate(y, size=stretched_frames(y.shape[2], speed), mode="linear")


class TextEncoder(nn.Module):
    """Tokens, phones and voice to the prior of the latent.

    Attention spans the whole sentence, so its output can't be made in chunks. Masks are bool [B, 1, T] and [B, 1, n],
    True for real frames and phones; None means that all are real. With masks, the real frames of every row equal
    those of that row alone.
    """

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.ssl_proj = nn.Conv1d(config.semantic, config.hidden, 1)
        self.encoder_ssl = Encoder(config, config.layers // 2)
        self.encoder_text = Encoder(config, config.layers)
        self.text_embedding = nn.Embedding(config.phones, config.hidden)
        self.mrte = Mixer(config)
        self.encoder2 = Encoder(config, config.layers // 2)
        self.proj = nn.Conv1d(config.hidden, 2 * config.latent, 1)

    def encode(
        self,
        semantic: Tensor,
        phones: Tensor,
        voice: Tensor,
        mask: Tensor | None = None,
        phones_mask: Tensor | None = None,
    ) -> Tensor:
        """semantic: [B, semantic, T], 50 frames per second (each token's codebook row twice); phones: int64 [B, n];
        voice: [B, mixer, 1]. Returns [B, hidden, T]."""
        tokens = self.encoder_ssl(self.ssl_proj(semantic), mask)
        text = self.encoder_text(self.text_embedding(phones).transpose(1, 2), phones_mask)
        encoded: Tensor = self.encoder2(self.mrte(tokens, text, voice, phones_mask), mask)
        return encoded

    def project(self, y: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """y: [B, hidden, T]. Returns mean and logarithm of the standard deviation, each [B, latent, T]."""
        mean, log_deviation = masked(self.proj(y), mask).chunk(2, dim=1)
        return mean, log_deviation

    def forward(
        self,
        semantic: Tensor,
        phones: Tensor,
        voice: Tensor,
        speed: float = 1.0,
        mask: Tensor | None = None,
        phones_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encodes, stretches, projects. Returns y [B, hidden, T'], mean and log deviation [B, latent, T'].

        Raises ValueError for a mask together with a speed other than 1: rows of different length stretch differently.
        """
        if speed != 1 and mask is not None:
            raise ValueError(f"Speed {speed} needs sentences one by one, but got a batch with a mask.")
        y = stretch(self.encode(semantic, phones, voice, mask, phones_mask), speed)
        return (y, *self.project(y, mask))
