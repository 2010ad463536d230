"""Semantic tokens in, waveform out, for the SoVITS versions with their own generator (v1, v2, v2Pro, v2ProPlus).

One sentence is rendered on its own. Text encoder and flow run over all of it; the generator runs over windows that
overlap by its receptive field, which gives what one run over the whole sentence gives: a window's samples can be heard
before the next one is rendered.

Source: upstream module/models.py, SynthesizerTrn.decode.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sovits_rt.errors import OutOfMemoryError
from sovits_rt.memory import give_back, is_out_of_memory
from sovits_rt.nn.hifigan import halo_frames
from sovits_rt.nn.sovits import Sovits, sample_prior
from sovits_rt.noise import Noise
from sovits_rt.types import Floats, Ints, Voice

Generate = Callable[[Tensor, Tensor], Tensor]
LEAST_WINDOW = 25  # frames: with the halo on both sides already twice the work
# The second window is rendered while the first one is heard, and so on; fewer windows overlap less.
_GROWTH = 4
_log = logging.getLogger(__name__)


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

    generate: network.generate as the backend runs it. window: frames of 20 ms per run of the generator; halved for good
    when memory runs out.
    """

    def __init__(self, network: Sovits, generate: Generate, *, window: int) -> None:
        self._network = network
        self._generate = generate
        self._window = window
        self._halo = halo_frames(network.config.generator)
        self._device = network.ssl_proj.weight.device
        self._dtype = network.dec.conv_pre.weight.dtype

    def render(self, utterance: Utterance, voice: Voice) -> Floats:
        """[samples] float32 in [-1, 1]: 40 ms per token at speed 1, 1280 samples at 32 kHz."""
        return np.concatenate([wave for wave, _ in self.parts(utterance, voice, first=self._window)])

    @torch.inference_mode()
    def parts(self, utterance: Utterance, voice: Voice, *, first: int) -> Iterator[tuple[Floats, bool]]:
        """What `render` gives, window by window, each with whether it is the last.

        first: most frames of the first window; the following ones grow.

        Raises OutOfMemoryError if not even a short window fits.
        """
        latent, style = self._latent(utterance, voice)
        start, window = 0, first
        while start < latent.shape[2]:
            end = min(start + min(window, self._window), latent.shape[2])
            wave = self._samples(latent, style, start, end)
            if wave is None:
                self._halve(end - start)
                continue
            start, window = end, window * _GROWTH
            yield wave, end == latent.shape[2]

    def _latent(self, utterance: Utterance, voice: Voice) -> tuple[Tensor, Tensor]:
        """[1, latent, frames] and the style, as the generator takes them."""
        style = torch.from_numpy(voice.style).to(self._device)
        mean, log_deviation = self._network.encode_text(
            torch.from_numpy(utterance.tokens).unsqueeze(0).to(self._device),
            torch.from_numpy(utterance.phones).unsqueeze(0).to(self._device),
            torch.from_numpy(voice.style_text).to(self._device),
            utterance.speed,
        )
        noise = torch.from_numpy(utterance.noise.latent(mean.shape[2], mean.shape[1])).unsqueeze(0).to(self._device)
        prior = sample_prior(mean, log_deviation, noise, utterance.noise_scale)
        return self._network.latent(prior, style).to(self._dtype), style.to(self._dtype)

    def _samples(self, latent: Tensor, style: Tensor, start: int, end: int) -> Floats | None:
        """[samples] of the frames from start to end; None if memory ran out."""
        left, right = max(0, start - self._halo), min(latent.shape[2], end + self._halo)
        try:
            wave = self._generate(latent[:, :, left:right], style)[0, 0]
            rate = wave.shape[0] // (right - left)
            return wave[(start - left) * rate : (end - left) * rate].float().cpu().numpy()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if end - start <= LEAST_WINDOW:
                raise OutOfMemoryError(
                    f"The memory is too small to render even {LEAST_WINDOW / 50:g} s of speech at a time; choose a "
                    "smaller acoustic.precision or another device."
                ) from error
            return None

    def _halve(self, frames: int) -> None:
        """After so many frames did not fit."""
        self._window = max(LEAST_WINDOW, frames // 2)
        give_back(self._device)
        _log.warning(
            "Out of memory: going on with acoustic.window=%d; a profile that says so saves the try.", self._window
        )
