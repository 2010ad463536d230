"""Semantic tokens in, waveform out, for the SoVITS versions with their own generator (v1, v2, v2Pro, v2ProPlus).

One sentence is rendered on its own. Text encoder and flow run over all of it; the generator runs over windows that
overlap by its receptive field, which gives what one run over the whole sentence gives.

Source: upstream module/models.py, SynthesizerTrn.decode.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sovits_rt.nn.hifigan import halo_frames
from sovits_rt.nn.sovits import Sovits, sample_prior
from sovits_rt.noise import Noise
from sovits_rt.types import Floats, Ints, Voice

Generate = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Utterance:
    """tokens: [t]. phones: [n] of the text alone, without the prompt's."""

    tokens: Ints
    phones: Ints
    noise: Noise
    noise_scale: float
    speed: float


class Renderer:
    """network: on its device; its generator `dec` may be in another precision than the rest.

    generate: network.generate as the backend runs it. window: frames of 20 ms per run of the generator.
    """

    def __init__(self, network: Sovits, generate: Generate, *, window: int) -> None:
        self._network = network
        self._generate = generate
        self._window = window
        self._halo = halo_frames(network.config.generator)
        self._device = network.ssl_proj.weight.device
        self._dtype = network.dec.conv_pre.weight.dtype

    @torch.inference_mode()
    def render(self, utterance: Utterance, voice: Voice) -> Floats:
        """[samples] float32 in [-1, 1]: 40 ms per token at speed 1, 1280 samples at 32 kHz."""
        style = torch.from_numpy(voice.style).to(self._device)
        mean, log_deviation = self._network.encode_text(
            torch.from_numpy(utterance.tokens).unsqueeze(0).to(self._device),
            torch.from_numpy(utterance.phones).unsqueeze(0).to(self._device),
            torch.from_numpy(voice.style_text).to(self._device),
            utterance.speed,
        )
        noise = torch.from_numpy(utterance.noise.latent(mean.shape[2], mean.shape[1])).unsqueeze(0).to(self._device)
        prior = sample_prior(mean, log_deviation, noise, utterance.noise_scale)
        latent = self._network.latent(prior, style).to(self._dtype)
        style = style.to(self._dtype)
        parts = [self._window_samples(latent, style, start) for start in range(0, latent.shape[2], self._window)]
        return np.concatenate(parts)

    def _window_samples(self, latent: Tensor, style: Tensor, start: int) -> Floats:
        frames = latent.shape[2]
        end = min(start + self._window, frames)
        left, right = max(0, start - self._halo), min(frames, end + self._halo)
        wave = self._generate(latent[:, :, left:right], style)[0, 0]
        rate = wave.shape[0] // (right - left)
        return wave[(start - left) * rate : (end - left) * rate].float().cpu().numpy()
