"""The style encoder: a reference spectrogram to one vector that says who speaks.

Source: Min et al. 2021, "Meta-StyleSpeech: Multi-Speaker Adaptive Text-to-Speech Generation"; upstream:
`MelStyleEncoder` in `GPT_SoVITS/module/modules.py`, which is fed linear spectrograms.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from sovits_rt.nn.attention import attend


@dataclass(frozen=True, slots=True)
class StyleConfig:
    """Sizes. bins: spectrogram bins that are read, from the lowest; voice: channels of the style vector."""

    bins: int
    voice: int
    hidden: int = 128
    kernel: int = 5
    heads: int = 2


class Projection(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(x)
        return out


class Convolution(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class GatedConvolution(nn.Module):
    def __init__(self, config: StyleConfig) -> None:
        super().__init__()
        self.conv1 = Convolution(config.hidden, 2 * config.hidden, config.kernel)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.conv1(x).chunk(2, dim=1)
        gated: Tensor = x + value * gate.sigmoid()
        return gated


class SelfAttention(nn.Module):
    def __init__(self, config: StyleConfig) -> None:
        super().__init__()
        self.heads = config.heads
        # By the width of the model, not of a head.
        self.scale = config.hidden**-0.5
        self.w_qs = nn.Linear(config.hidden, config.hidden)
        self.w_ks = nn.Linear(config.hidden, config.hidden)
        self.w_vs = nn.Linear(config.hidden, config.hidden)
        self.fc = nn.Linear(config.hidden, config.hidden)

    def forward(self, x: Tensor) -> Tensor:
        mixed = attend(self.w_qs(x), self.w_ks(x), self.w_vs(x), self.heads, scale=self.scale)
        out: Tensor = self.fc(mixed) + x
        return out


class StyleEncoder(nn.Module):
    """One vector per reference. References of one batch must have one length."""

    def __init__(self, config: StyleConfig) -> None:
        super().__init__()
        self.config = config
        # Upstream's dropout layers hold the numbers 2 and 5 in the parameter names.
        self.spectral = nn.Sequential(
            Projection(config.bins, config.hidden),
            nn.Mish(),
            nn.Identity(),
            Projection(config.hidden, config.hidden),
            nn.Mish(),
        )
        self.temporal = nn.Sequential(GatedConvolution(config), GatedConvolution(config))
        self.slf_attn = SelfAttention(config)
        self.fc = Projection(config.hidden, config.voice)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """spectrogram: [B, bins, T] linear magnitudes. Returns [B, voice, 1].

        Raises ValueError when the number of bins is another.
        """
        if spectrogram.shape[1] != self.config.bins:
            raise ValueError(f"The style encoder reads {self.config.bins} bins, but got {spectrogram.shape[1]}.")
        x = self.spectral(spectrogram.transpose(1, 2))
        x = self.temporal(x.transpose(1, 2)).transpose(1, 2)
        x = self.fc(self.slf_attn(x))  # [B, T, voice]
        voice: Tensor = x.mean(dim=1)[:, :, None]
        return voice
