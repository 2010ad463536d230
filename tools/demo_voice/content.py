"""The content encoder and its codebook: a small HuBERT that is told what to hear, and clusters of what it hears.

Upstream's HuBERT learnt from thousands of hours. This one is trained, from wave alone, to give for every 40 ms what is
known of the teacher's speech: which phones sound, the spectral envelope and its movement, and the pitch, the latter two
relative to the speaker. k-means over its output makes the 1024 codes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sovits_rt.audio.reference import TRAILING_ZEROS
from sovits_rt.nn.hubert import Hubert
from sovits_rt.text.symbols import phone_ids
from sovits_rt.types import Ints
from tools.demo_voice import sizes
from tools.demo_voice.corpus import EDGE_SECONDS, RATE, SILENCE, TOKEN_SECONDS, VOWELS, Utterance, plain
from tools.demo_voice.training import device, save_atomically, train

SAMPLES = int(RATE * TOKEN_SECONDS)  # 640, of one token
PARTS_PER_TOKEN, FFT, MELS, CEPSTRA = 4, 512, 40, 13
LOWEST_HZ, HIGHEST_HZ, VOICED, NEARLY = 60.0, 400.0, 0.5, 0.85
CONSONANTS = [
    "b",
    "ch",
    "d",
    "dh",
    "f",
    "g",
    "hh",
    "jh",
    "k",
    "l",
    "m",
    "n",
    "ng",
    "p",
    "r",
    "s",
    "sh",
    "t",
    "th",
    "v",
    "w",
    "y",
    "z",
    "zh",
]
CLASSES = [SILENCE, *sorted(VOWELS - {"ax"}), *CONSONANTS]
PHONE_WEIGHT, SHAPE_WEIGHT, PITCH_WEIGHT, VOICED_WEIGHT = 2.0, 0.35, 0.8, 0.7
BATCH, STEPS, PEAK = 12, 1200, 2e-3
ROUNDS, BEGINNING = 20, 30_000  # of k-means: rounds, and points from which the first centres are drawn


def classes_of_ids() -> Ints:
    """[phone ids] class of each symbol, -1 for those that English does not use."""
    index = {name: number for number, name in enumerate(CLASSES)}
    return np.array([index.get(plain(symbol), -1) for symbol in phone_ids("v2")], np.int64)


def mel_filters() -> Tensor:
    """[257, MELS] triangles, even on the mel scale from 0 to 8 kHz."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, MELS + 2) / 2595) - 1)
    bins = np.linspace(0, RATE / 2, FFT // 2 + 1)[:, None]
    rise, fall = (bins - hertz[:-2]) / np.diff(hertz)[:-1], (hertz[2:] - bins) / np.diff(hertz)[1:]
    return torch.from_numpy(np.clip(np.minimum(rise, fall), 0, None).astype(np.float32))


def envelope(wave: Tensor, tokens: int) -> Tensor:
    """wave: [samples]. Returns [tokens, 2 * CEPSTRA]: cepstrum of each token, and how it moves within."""
    hop = SAMPLES // PARTS_PER_TOKEN
    wave = F.pad(wave, (FFT // 2 - hop // 2, FFT))[: tokens * SAMPLES + FFT - hop]
    power = torch.stft(wave, FFT, hop, window=torch.hann_window(FFT), center=False, return_complex=True).abs().square()
    mel = (mel_filters().T @ power + 1e-4).log()[:, : tokens * PARTS_PER_TOKEN]
    order = torch.arange(CEPSTRA)[:, None] * (torch.arange(MELS)[None] + 0.5) * torch.pi / MELS
    cepstra = (torch.cos(order) @ mel / MELS**0.5).T.reshape(tokens, 2, PARTS_PER_TOKEN // 2, CEPSTRA).mean(dim=2)
    return torch.cat([cepstra.mean(dim=1), cepstra[:, 1] - cepstra[:, 0]], dim=1)


def pitch(wave: Tensor, tokens: int, hop: int = SAMPLES) -> Tensor:
    """wave: [samples]. Returns [tokens, 2], one row each `hop` samples: logarithm of the fundamental in Hz (0 where
    unvoiced), and 1 where voiced.

    By the first high peak of the normalised autocorrelation (Boersma 1993).
    """
    size = 2 * SAMPLES
    frames = F.pad(wave, ((size - hop) // 2, size))[: (tokens - 1) * hop + size].unfold(0, size, hop)
    frames = (frames - frames.mean(dim=1, keepdim=True)) * torch.hann_window(size)
    spectrum = torch.fft.rfft(frames, 2 * size)
    correlation = torch.fft.irfft(spectrum.abs().square())[:, :size]
    window = torch.hann_window(size)
    shape = torch.fft.irfft(torch.fft.rfft(window, 2 * size).abs().square())[:size]
    normal = correlation / (correlation[:, :1] + 1e-6) / (shape / shape[0]).clamp(min=1e-3)
    low, high = int(RATE / HIGHEST_HZ), int(RATE / LOWEST_HZ)
    inner = normal[:, low:high]
    best = inner.max(dim=1).values
    # Multiples of the period peak as high: the first peak that comes near counts.
    peaks = (inner >= normal[:, low - 1 : high - 1]) & (inner >= normal[:, low + 1 : high + 1])
    at = (peaks & (inner >= NEARLY * best[:, None])).float().argmax(dim=1)
    loud = correlation[:, 0] > 0.05
    voiced = ((best > VOICED) & loud).float()
    return torch.stack([(RATE / (at + low)).log() * voiced, voiced], dim=1)


def phones(utterance: Utterance, tokens: int, classes: Ints) -> Tensor:
    """[tokens, classes]: the share of each token that each class of phones has."""
    shares = np.zeros((tokens, len(CLASSES)), np.float32)
    parts = 8
    time = (np.arange(tokens * parts) + 0.5) * TOKEN_SECONDS / parts
    phone = np.searchsorted(utterance.ends, time, side="right")
    symbols = np.append(classes[utterance.phones], 0)  # behind the last phone there is silence
    sounding = symbols[phone]
    sounding[time < EDGE_SECONDS * 0.8] = 0
    np.add.at(shares, (np.arange(tokens * parts) // parts, sounding), 1 / parts)
    return torch.from_numpy(shares)


def with_tail(utterance: Utterance) -> Tensor:
    """[samples]: the wave as a reference is read, with zeros behind it."""
    return F.pad(torch.from_numpy(utterance.wave.astype(np.float32) / 32768), (0, TRAILING_ZEROS))


def targets(utterances: Sequence[Utterance]) -> list[Tensor]:
    """[tokens, features] of each utterance of one speaker, the zeros behind it included."""
    classes = classes_of_ids()
    shapes, pitches, shares = [], [], []
    for each in utterances:
        wave = with_tail(each)
        tokens = len(wave) // SAMPLES
        shapes.append(envelope(wave, tokens))
        pitches.append(pitch(wave, tokens))
        shares.append(phones(each, tokens, classes))
    spoken = torch.cat([shape[:-15] for shape in shapes])
    mean, spread = spoken.mean(dim=0), spoken.std(dim=0)
    tone = torch.cat(pitches)
    tone = tone[tone[:, 1] > 0, 0]
    found = []
    for shape, height, share in zip(shapes, pitches, shares, strict=True):
        relative = ((height[:, :1] - tone.mean()) / tone.std()).clamp(-3, 3) * height[:, 1:]
        found.append(
            torch.cat(
                [
                    share * PHONE_WEIGHT,
                    ((shape - mean) / spread).clamp(-4, 4) * SHAPE_WEIGHT,
                    relative * PITCH_WEIGHT,
                    height[:, 1:] * VOICED_WEIGHT,
                ],
                dim=1,
            )
        )
    return found


class ContentEncoder(nn.Module):
    """HuBERT and the projection of SoVITS that reads it: wave [B, samples] to [B, ssl_dim, tokens]."""

    def __init__(self) -> None:
        super().__init__()
        self.hubert = Hubert(sizes.hubert())
        width = sizes.hubert().hidden
        self.ssl_proj = nn.Conv1d(width, width, 2, stride=2)

    def forward(self, wave: Tensor) -> Tensor:
        out: Tensor = self.ssl_proj(self.hubert(wave).transpose(1, 2))
        return out


def train_encoder(path: Path, speakers: Sequence[Sequence[Utterance]], steps: int = STEPS) -> ContentEncoder:
    wanted = [target for speaker in speakers for target in targets(speaker)]
    utterances = [utterance for speaker in speakers for utterance in speaker]
    by_length = np.argsort([utterance.tokens for utterance in utterances], kind="stable")
    encoder = ContentEncoder().to(device())
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=PEAK, betas=(0.9, 0.98), weight_decay=0.01)

    def step_of(step: int) -> dict[str, Tensor]:
        random = np.random.default_rng([1, step])
        start = int(random.integers(0, len(by_length) - BATCH))
        chosen = by_length[start : start + BATCH]
        tokens = min(len(wanted[each]) for each in chosen)
        waves = torch.stack([with_tail(utterances[each])[: tokens * SAMPLES] for each in chosen])
        gain = torch.from_numpy(random.uniform(0.25, 1.5, (BATCH, 1)).astype(np.float32))
        noise = torch.from_numpy(random.standard_normal(waves.shape, np.float32))
        level = torch.from_numpy((10 ** random.uniform(-6, -2.3, (BATCH, 1))).astype(np.float32))
        heard = encoder((waves * gain + noise * level).to(device())).transpose(1, 2)
        target = torch.stack([wanted[each][: heard.shape[1]] for each in chosen]).to(device())
        known = F.mse_loss(heard[..., : target.shape[2]], target) * target.shape[2]
        loss = known + heard[..., target.shape[2] :].square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        right = heard[..., : len(CLASSES)].argmax(dim=2) == target[..., : len(CLASSES)].argmax(dim=2)
        return {"loss": known.detach(), "phones_right": right.float().mean()}

    train(path, {"encoder": encoder}, {"optimizer": optimizer}, step_of, steps=steps, peak=PEAK)
    return encoder.eval().requires_grad_(False)


@torch.inference_mode()
def hear(encoder: ContentEncoder, utterance: Utterance) -> Tensor:
    """[tokens, ssl_dim], the zeros behind the utterance included."""
    return encoder(with_tail(utterance)[None].to(device()))[0].T


def cluster(points: Tensor, codes: int, rounds: int = ROUNDS, seed: int = 0) -> Tensor:
    """k-means. points: [n, d]. Returns [codes, d]; a centre that nobody is near moves to a point far from its own.

    Begins as k-means++ does (Arthur and Vassilvitskii 2007), on a part of the points.
    """
    generator = torch.Generator().manual_seed(seed)
    part = points[torch.randperm(len(points), generator=generator)[:BEGINNING]]
    centres = part[:1].repeat(codes, 1)
    distance = (part - centres[0]).square().sum(dim=1)
    for number in range(1, codes):
        centres[number] = part[torch.multinomial(distance.clamp(min=1e-12), 1, generator=generator)[0]]
        distance = torch.minimum(distance, (part - centres[number]).square().sum(dim=1))
    for _ in range(rounds):
        nearest, far = nearest_centres(points, centres)
        counts = torch.bincount(nearest, minlength=codes)
        centres = torch.zeros_like(centres).index_add_(0, nearest, points) / counts.clamp(min=1)[:, None]
        empty = torch.nonzero(counts == 0).flatten()
        centres[empty] = points[far.topk(max(len(empty), 1)).indices[: len(empty)]]
    return centres


def nearest_centres(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """[n] number of the nearest centre, [n] the square of its distance."""
    nearest, distance = [], []
    for part in points.split(16_384):
        square = part.square().sum(1, keepdim=True) - 2 * part @ centres.T + centres.square().sum(1)
        low, index = square.min(dim=1)
        nearest.append(index)
        distance.append(low)
    return torch.cat(nearest), torch.cat(distance)


def make_codes(
    path: Path, encoder: ContentEncoder, speakers: Sequence[Sequence[Utterance]], book: Tensor | None = None
) -> None:
    """Write the codebook and every utterance's codes, tail included, in the order of the speakers.

    book: [codes, ssl_dim], one that is there already; else it is made.
    """
    heard = [hear(encoder, utterance).cpu() for speaker in speakers for utterance in speaker]
    points = torch.cat(heard)
    book = cluster(points, sizes.CODES) if book is None else book
    codes = nearest_centres(points, book)[0]
    lengths = torch.tensor([len(each) for each in heard])
    save_atomically({"codebook": book, "codes": codes, "lengths": lengths}, path)


def load_codes(path: Path) -> tuple[Tensor, list[Ints]]:
    stored = torch.load(path, weights_only=True)
    return stored["codebook"], [each.numpy() for each in stored["codes"].split(stored["lengths"].tolist())]
