"""What the style encoder and the speaker network see of a reference.

spectrogram: `spectrogram_torch` in upstream's GPT_SoVITS/module/mel_processing.py. It is made from 32 kHz with the
published sizes for every checkpoint, also for one that speaks at another sampling rate: what the style encoder sees of
a recording does not depend on what the generator renders.
fbank80: the filter bank of Kaldi's compute-fbank-feats with the options that upstream's GPT_SoVITS/sv.py sets.
"""

import math
from functools import lru_cache

import torch

from sovits_rt.errors import AudioError
from sovits_rt.types import Floats

FFT, HOP = 2048, 640  # samples at 32 kHz; every published version is trained with these, any other must be
BINS = FFT // 2 + 1
POWER_FLOOR = 1e-8  # below the square root

SPEECH_RATE = 16_000
FRAME, FRAME_STEP, FRAME_FFT = 400, 160, 512  # 25 ms every 10 ms
MELS = 80
LOWEST_HZ = 20.0
PREEMPHASIS = 0.97


def spectrogram(wave32k: Floats) -> Floats:
    """[n] wave at 32 kHz to [1, 1025, n // 640] linear magnitudes.

    Raises:
        AudioError: fewer samples than the mirrored edge needs (704).
    """
    edge = (FFT - HOP) // 2
    if wave32k.shape[0] <= edge:
        raise AudioError(f"A recording of {wave32k.shape[0]} samples at 32 kHz is too short; give {edge + 1} or more.")
    wave = torch.nn.functional.pad(torch.from_numpy(wave32k)[None, None], (edge, edge), mode="reflect")[0]
    spectrum = torch.stft(wave, FFT, HOP, window=torch.hann_window(FFT), center=False, return_complex=True)
    power = torch.view_as_real(spectrum).square().sum(-1)
    magnitudes: Floats = torch.sqrt(power + POWER_FLOOR).numpy()
    return magnitudes


def fbank80(wave16k: Floats) -> Floats:
    """[n] wave at 16 kHz in [-1, 1] to [m, 80] logarithmic mel energies, 100 frames per second; the mean stays in.

    Only whole frames count: m = (n - 400) // 160 + 1.

    Raises:
        AudioError: not even one frame.
    """
    if wave16k.shape[0] < FRAME:
        raise AudioError(f"A recording of {wave16k.shape[0]} samples at 16 kHz is too short; give {FRAME} or more.")
    frames = torch.from_numpy(wave16k).unfold(0, FRAME, FRAME_STEP)
    frames = frames - frames.mean(dim=1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    frames = (frames - PREEMPHASIS * before) * povey_window()
    power = torch.fft.rfft(frames, n=FRAME_FFT).abs().square()
    energies = power[:, : FRAME_FFT // 2] @ mel_filters().T
    out: Floats = energies.clamp(min=torch.finfo(torch.float32).eps).log().numpy()
    return out


def povey_window() -> torch.Tensor:
    """[400] Kaldi's default window: a Hann window that does not go to zero as fast."""
    return torch.hann_window(FRAME, periodic=False).pow(0.85)


@lru_cache(maxsize=1)
def mel_filters() -> torch.Tensor:
    """[80, 256] triangles that are straight on the mel scale, from 20 Hz to 8 kHz; the Nyquist bin has no weight.

    The order of the float32 steps is Kaldi's port's: a tidier formula moves quiet bands by 1e-4.
    """
    lowest, highest = (1127.0 * math.log(1 + hertz / 700.0) for hertz in (LOWEST_HZ, SPEECH_RATE / 2))
    width = (highest - lowest) / (MELS + 1)
    left, top, right = (lowest + (torch.arange(MELS)[:, None] + foot) * width for foot in (0.0, 1.0, 2.0))
    hertz = torch.arange(FRAME_FFT // 2, dtype=torch.float32) * (SPEECH_RATE / FRAME_FFT)
    mel = 1127.0 * torch.log(1 + hertz / 700.0)
    return torch.minimum((mel - left) / (top - left), (right - mel) / (right - top)).clamp(min=0.0)
