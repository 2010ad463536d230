"""Training of SoVITS: codes, phones and a style to sound.

Upstream trains a variational autoencoder. Here encoder, flow and generator learn as one to say the codes, from the
prior as at synthesis. What they are told: spectrograms at several resolutions, and of the whole utterance also the mel
spectrum, pitch and voicing, read off the prior's mean by a linear probe (without it the encoder hears of pitch only
through what a short segment sounds like). Discriminators of spectrograms and of every n-th sample were tried for 2,300
steps: more of the speech was voiced, and fewer of its words were understood.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sovits_rt.audio.features import spectrogram
from sovits_rt.audio.reference import STYLE_RATE
from sovits_rt.audio.resample import windowed_sinc
from sovits_rt.nn.sovits import FRAMES_PER_TOKEN, Sovits, sample_prior
from sovits_rt.types import Ints
from tools.demo_voice import sizes
from tools.demo_voice.content import FFT, MELS, SAMPLES, mel_filters, pitch
from tools.demo_voice.corpus import RATE, Utterance
from tools.demo_voice.training import device, half, padded, train

BATCH, STEPS, PEAK = 8, 5200, 6e-4
SEGMENT, EDGE = 28, 14  # latent frames that are heard, and those around them that the flow may see
SAMPLES_PER_FRAME = SAMPLES // FRAMES_PER_TOKEN
NOISE_SCALE = 0.5
# FFT and hop. Short windows see the single pulses of a voice, whose places nothing can tell: what minimises their loss
# is a voice without pulses. They count where there is no voice.
RESOLUTIONS = ((512, 128), (1024, 256), (2048, 512))
SHORT = ((128, 32), (256, 64))
MOST_TOKENS = 110
STYLES, STYLE_SECONDS = 24, 3.0
PROBED = {"mel": 0.5, "pitch": 4.0, "voiced": 0.3}


def magnitudes(wave: Tensor, fft: int, hop: int) -> Tensor:
    """wave: [B, samples]. Returns [B, bins, frames]."""
    window = torch.hann_window(fft, device=wave.device)
    spectrum = torch.stft(wave, fft, hop, window=window, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square() + 1e-7).sqrt()


def spectral_loss(ours: Tensor, theirs: Tensor, voiced: Tensor) -> Tensor:
    """Logarithmic and relative linear distance of the spectrograms, over all resolutions (Yamamoto et al. 2020).

    ours, theirs: [B, samples]. voiced: [B, T], 1 or 0 for each of T equal parts.
    """
    losses = []
    for fft, hop in RESOLUTIONS:
        a, b = magnitudes(ours, fft, hop), magnitudes(theirs, fft, hop)
        far = (a - b).norm(dim=(1, 2)) / b.norm(dim=(1, 2)).clamp(min=0.3)
        losses.append(F.l1_loss((a + 1e-3).log(), (b + 1e-3).log()) + 0.5 * far.mean())
    for fft, hop in SHORT:
        a, b = magnitudes(ours, fft, hop), magnitudes(theirs, fft, hop)
        counted = 1 - F.interpolate(voiced[:, None], a.shape[2], mode="nearest")
        losses.append((((a + 1e-3).log() - (b + 1e-3).log()).abs() * counted).mean())
    return torch.stack(losses).mean()


class Probe(nn.Module):
    """Reads mel spectrum, pitch and voicing off the prior's mean; only training needs it."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.read = nn.Conv1d(latent, MELS + 2, 1)

    def forward(self, mean: Tensor, wanted: Tensor, real: Tensor) -> dict[str, Tensor]:
        """mean: [B, latent, T]; wanted: [B, MELS + 2, T] as `probed` gives it; real: bool [B, 1, T]. Losses by name."""
        found = self.read(mean)
        voiced = wanted[:, MELS + 1 :]
        frames, sounding = real.sum(), (real * voiced).sum().clamp(min=1)
        doubt = F.binary_cross_entropy_with_logits(found[:, MELS + 1 :], voiced, reduction="none")
        return {
            "mel": ((found[:, :MELS] - wanted[:, :MELS]).abs() * real).sum() / frames / MELS,
            "pitch": ((found[:, MELS : MELS + 1] - wanted[:, MELS : MELS + 1]).abs() * real * voiced).sum() / sounding,
            "voiced": (doubt * real).sum() / frames,
        }


def probed(utterance: Utterance) -> Tensor:
    """float16 [MELS + 2, frames of 20 ms]: logarithm of the mel spectrum, pitch in octaves from 128 Hz, voicing."""
    wave = torch.from_numpy(utterance.wave.astype(np.float32) / 32768)
    frames, hop = utterance.tokens * FRAMES_PER_TOKEN, SAMPLES_PER_FRAME
    edge = (FFT - hop) // 2
    padded_wave = F.pad(wave, (edge, FFT))[: frames * hop + 2 * edge]
    power = torch.stft(padded_wave, FFT, hop, window=torch.hann_window(FFT), center=False, return_complex=True)
    mel = (mel_filters().T @ power.abs().square() + 1e-4).log() / 2
    tone = pitch(wave, frames, hop)
    height = (tone[:, 0] / np.log(2) - 7) * tone[:, 1]
    return torch.cat([mel, height[None], tone[None, :, 1]]).half()


def styles(speaker: Sequence[Utterance], random: np.random.Generator) -> list[Tensor]:
    """Reference spectrograms [bins, frames] of STYLE_SECONDS each, as a reference recording is read."""
    long = [each for each in speaker if len(each.wave) >= STYLE_SECONDS * RATE]
    found = []
    for index in random.choice(len(long), STYLES, replace=False):
        wave = long[index].wave[: int(STYLE_SECONDS * RATE)].astype(np.float32) / 32768
        found.append(torch.from_numpy(spectrogram(windowed_sinc(wave, RATE, STYLE_RATE)))[0])
    return found


def train_sovits(
    path: Path,
    speakers: Sequence[Sequence[tuple[Utterance, Ints]]],
    codebook: Tensor,
    projection: dict[str, Tensor],
    steps: int = STEPS,
) -> Sovits:
    """projection: weight and bias of the content encoder's last layer, which SoVITS carries."""
    torch.manual_seed(3)
    network = Sovits(sizes.sovits())
    network.quantizer.codebook.copy_(codebook)
    network.ssl_proj.load_state_dict(projection)
    network.ssl_proj.requires_grad_(False)
    network.to(device())
    probe = Probe(sizes.sovits().text.latent).to(device())
    optimizers = {
        "network": torch.optim.AdamW(
            [p for p in (*network.parameters(), *probe.parameters()) if p.requires_grad], lr=PEAK, betas=(0.8, 0.99)
        ),
    }
    references = [styles([each for each, _ in speaker], np.random.default_rng(3)) for speaker in speakers]
    usable = [[pair for pair in speaker if SEGMENT < 2 * pair[0].tokens <= 2 * MOST_TOKENS] for speaker in speakers]
    facts = [[probed(utterance) for utterance, _ in speaker] for speaker in usable]
    shares = np.array([len(each) for each in usable]) / sum(len(each) for each in usable)

    def step_of(step: int) -> dict[str, Tensor]:
        random = np.random.default_rng([3, step])
        generator = torch.Generator().manual_seed(step)
        whose = random.choice(len(usable), BATCH, p=shares)
        drawn = [(speaker, int(random.integers(len(usable[speaker])))) for speaker in whose]
        chosen = [usable[speaker][index] for speaker, index in drawn]
        bins = sizes.VERSION.style_bins
        style = torch.stack([references[speaker][int(random.integers(STYLES))][:bins] for speaker in whose])
        codes = padded([torch.from_numpy(each[: spoken.tokens]) for spoken, each in chosen]).to(device())
        phones = padded([torch.from_numpy(spoken.phones) for spoken, _ in chosen]).to(device())
        lengths = torch.tensor([spoken.tokens for spoken, _ in chosen])
        real = (torch.arange(codes.shape[1]) < lengths[:, None])[:, None].to(device())
        texts = torch.tensor([len(spoken.phones) for spoken, _ in chosen])
        spelled = (torch.arange(phones.shape[1]) < texts[:, None])[:, None].to(device())

        voice = network.encode_reference(style.to(device()))
        mean, log_deviation = network.encode_text(codes, phones, voice, 1.0, real, spelled)
        wanted = padded([facts[speaker][index].T for speaker, index in drawn]).transpose(1, 2).float().to(device())
        told = probe(mean, wanted, real.repeat_interleave(FRAMES_PER_TOKEN, dim=2))
        noise = torch.randn(mean.shape, generator=generator).to(device())
        prior = sample_prior(mean, log_deviation.clamp(max=2.0), noise, NOISE_SCALE)
        frames = lengths.numpy() * FRAMES_PER_TOKEN
        starts = (random.random(BATCH) * (frames - SEGMENT + 1)).astype(int)
        outer = F.pad(prior, (EDGE, SEGMENT + EDGE))
        inside = F.pad(real.repeat_interleave(FRAMES_PER_TOKEN, dim=2), (EDGE, SEGMENT + EDGE))
        cut = torch.stack([outer[row, :, at : at + SEGMENT + 2 * EDGE] for row, at in enumerate(starts)])
        kept = torch.stack([inside[row, :, at : at + SEGMENT + 2 * EDGE] for row, at in enumerate(starts)])
        latent = network.latent(cut, voice, kept)[..., EDGE : EDGE + SEGMENT]
        with half():
            ours = network.generate(latent, voice)[:, 0].float()
        theirs = torch.stack(
            [
                torch.from_numpy(
                    spoken.wave[at * SAMPLES_PER_FRAME : (at + SEGMENT) * SAMPLES_PER_FRAME].astype(np.float32) / 32768
                )
                for (spoken, _), at in zip(chosen, starts, strict=True)
            ]
        ).to(device())
        voiced = torch.stack([each[-1, at : at + SEGMENT] for each, at in zip(wanted, starts, strict=True)])
        spectral = spectral_loss(ours, theirs, voiced)
        report = {"spectral": spectral.detach(), **{name: value.detach() for name, value in told.items()}}
        loss = spectral + sum(told[name] * weight for name, weight in PROBED.items())
        optimizers["network"].zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizers["network"].step()
        return report

    train(path, {"sovits": network, "probe": probe}, optimizers, step_of, steps=steps, peak=PEAK)
    return network.eval().requires_grad_(False)
