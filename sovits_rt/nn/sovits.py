"""SoVITS as one module: what a v1, v2, v2Pro or v2ProPlus checkpoint holds, under upstream's names.

Upstream: `SynthesizerTrn` in `GPT_SoVITS/module/models.py`, without the posterior encoder, which only training needs.

    voice      spectrogram -> encode_reference -> style (with the speaker network's features in the Pro versions)
    prompt     HuBERT features -> codes
    speech     codes, phones -> encode_text -> sample_prior -> latent -> generate
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from sovits_rt.nn.flow import Flow, FlowConfig
from sovits_rt.nn.hifigan import Generator, GeneratorConfig
from sovits_rt.nn.quantizer import UNUSED as UNUSED_BY_QUANTIZER
from sovits_rt.nn.quantizer import Quantizer, QuantizerConfig
from sovits_rt.nn.style import StyleConfig, StyleEncoder
from sovits_rt.nn.text_encoder import TextEncoder, TextEncoderConfig

# Names that a checkpoint may have and inference does not need; "enc_q." stands for all names below it.
UNUSED = ("enc_q.", *(f"quantizer.{name}" for name in UNUSED_BY_QUANTIZER))

FRAMES_PER_TOKEN = 2
MIXER_WITH_SPEAKER = 512


@dataclass(frozen=True, slots=True)
class SovitsNetConfig:
    """Sizes. speaker_features: length of the speaker network's result, or 0 for the versions that take none."""

    text: TextEncoderConfig
    flow: FlowConfig
    generator: GeneratorConfig
    style: StyleConfig
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    speaker_features: int = 0

    def __post_init__(self) -> None:
        if not self.style.voice == self.flow.voice == self.generator.voice:
            raise ValueError(
                "Style encoder, flow and generator must agree on the channels of a voice, but got "
                f"{self.style.voice}, {self.flow.voice} and {self.generator.voice}."
            )
        if not self.speaker_features and self.style.voice != self.text.mixer:
            raise ValueError(
                f"Without speaker features the text encoder reads the voice itself, so {self.text.mixer} channels are "
                f"needed, but got {self.style.voice}."
            )

    @classmethod
    def from_upstream(
        cls, model: Mapping[str, Any], *, phones: int, style_bins: int, speaker_features: int = 0
    ) -> "SovitsNetConfig":
        """model: the `model` part of a checkpoint's config, or the same names in another mapping. The rest is what it
        does not carry: rows of the symbol table, bins the style encoder reads, length of the speaker features (20480
        in the Pro versions, else 0).

        `ssl_dim`, the channels of the speech encoder's features, may be missing: upstream fixes it at 768. Where the
        text encoder reads the voice itself (no speaker features), its mixer is as wide as the voice.

        Raises ValueError for the variants that this network is not, KeyError for a missing size.
        """
        if str(model.get("resblock", "1")) != "1":
            raise ValueError(f"This checkpoint has resblock {model['resblock']!r}, but only '1' is supported.")
        voice, latent, hidden = model["gin_channels"], model["inter_channels"], model["hidden_channels"]
        semantic = model.get("ssl_dim", QuantizerConfig().channels)
        return cls(
            text=TextEncoderConfig(
                phones=phones,
                semantic=semantic,
                mixer=MIXER_WITH_SPEAKER if speaker_features else voice,
                latent=latent,
                hidden=hidden,
                feed_forward=model["filter_channels"],
                heads=model["n_heads"],
                layers=model["n_layers"],
                kernel=model["kernel_size"],
            ),
            flow=FlowConfig(voice=voice, latent=latent, hidden=hidden),
            generator=GeneratorConfig(
                voice=voice,
                latent=latent,
                channels=model["upsample_initial_channel"],
                upsample_rates=tuple(model["upsample_rates"]),
                upsample_kernels=tuple(model["upsample_kernel_sizes"]),
                block_kernels=tuple(model["resblock_kernel_sizes"]),
                block_dilations=tuple(tuple(dilations) for dilations in model["resblock_dilation_sizes"]),
            ),
            style=StyleConfig(bins=style_bins, voice=voice),
            quantizer=QuantizerConfig(channels=semantic),
            speaker_features=speaker_features,
        )


def sample_prior(mean: Tensor, log_deviation: Tensor, noise: Tensor, noise_scale: float) -> Tensor:
    """mean, log_deviation, noise: [B, latent, T], noise standard normal. Returns a sample of the prior."""
    return mean + noise * log_deviation.exp() * noise_scale


class Sovits(nn.Module):
    """Every network of one SoVITS checkpoint. It draws no random numbers: noise is an argument."""

    def __init__(self, config: SovitsNetConfig) -> None:
        super().__init__()
        self.config = config
        voice, semantic = config.style.voice, config.quantizer.channels
        self.enc_p = TextEncoder(config.text)
        self.flow = Flow(config.flow)
        self.dec = Generator(config.generator)
        self.ref_enc = StyleEncoder(config.style)
        # Two HuBERT frames to one token; an odd last frame is dropped.
        self.ssl_proj = nn.Conv1d(semantic, semantic, FRAMES_PER_TOKEN, stride=FRAMES_PER_TOKEN)
        self.quantizer = Quantizer(config.quantizer)
        if config.speaker_features:
            self.sv_emb = nn.Linear(config.speaker_features, voice)
            self.ge_to512 = nn.Linear(voice, config.text.mixer)
            self.prelu = nn.PReLU(num_parameters=voice)

    def encode_reference(self, spectrogram: Tensor) -> Tensor:
        """spectrogram: [B, bins, T] linear magnitudes; bins above those the style encoder reads are ignored.

        Returns [B, voice, 1].
        """
        out: Tensor = self.ref_enc(spectrogram[:, : self.config.style.bins])
        return out

    def style(self, references: Tensor, speaker_features: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """references: [R, voice, 1] of `encode_reference`, one row per reference; speaker_features: [R, features] in
        the versions that take them, else None. Returns the voice [1, voice, 1], mean over the references, and the form
        of it that the text encoder reads [1, mixer, 1].

        Raises ValueError when speaker features are missing or not wanted.
        """
        if (speaker_features is None) == (self.config.speaker_features > 0):
            wanted = "needs speaker features" if self.config.speaker_features else "takes no speaker features"
            raise ValueError(f"This SoVITS {wanted}, but got {'none' if speaker_features is None else 'some'}.")
        if speaker_features is None:
            voice = references.mean(dim=0, keepdim=True)
            return voice, voice
        voices = self.prelu(references + self.sv_emb(speaker_features)[:, :, None])
        voice = voices.mean(dim=0, keepdim=True)
        return voice, self.ge_to512(voice.transpose(1, 2)).transpose(1, 2)

    def codes(self, hubert: Tensor) -> Tensor:
        """hubert: [B, T, semantic], 50 frames per second. Returns int64 [B, T // 2], 25 tokens per second."""
        return self.quantizer.encode(self.ssl_proj(hubert.transpose(1, 2)))

    def encode_text(
        self,
        codes: Tensor,
        phones: Tensor,
        text_voice: Tensor,
        speed: float = 1.0,
        codes_mask: Tensor | None = None,
        phones_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """codes: int64 [B, N]; phones: int64 [B, n]; text_voice: [B, mixer, 1]; masks: bool [B, 1, N] and [B, 1, n].

        Returns mean and log deviation of the prior, [B, latent, T] with T = 2 N at speed 1. A mask with another speed
        raises ValueError.
        """
        semantic = self.quantizer.decode(codes).repeat_interleave(FRAMES_PER_TOKEN, dim=2)
        mask = None if codes_mask is None else codes_mask.repeat_interleave(FRAMES_PER_TOKEN, dim=2)
        _, mean, log_deviation = self.enc_p(semantic, phones, text_voice, speed, mask, phones_mask)
        return mean, log_deviation

    def latent(self, prior: Tensor, voice: Tensor, mask: Tensor | None = None) -> Tensor:
        """prior: [B, latent, T]; voice: [B, voice, 1]. Returns [B, latent, T]."""
        out: Tensor = self.flow(prior, voice, mask)
        return out

    def generate(self, latent: Tensor, voice: Tensor, mask: Tensor | None = None) -> Tensor:
        """latent: [B, latent, T]; voice: [B, voice, 1]. Returns [B, 1, samples_per_frame * T] in [-1, 1]."""
        out: Tensor = self.dec(latent, voice, mask)
        return out
