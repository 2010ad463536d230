"""A reference recording, loaded twice as upstream does: resampled by soxr for HuBERT, by a windowed sinc for the style.

Source: `_set_prompt_semantic` and `_get_ref_spec` in upstream's GPT_SoVITS/TTS_infer_pack/TTS.py.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sovits_rt.audio.files import read
from sovits_rt.audio.resample import check_rates, soxr_hq, windowed_sinc
from sovits_rt.errors import AudioError
from sovits_rt.types import Floats

CONTENT_RATE = 16_000
STYLE_RATE = 32_000
SHORTEST, LONGEST = 48_000, 160_000  # samples at 16 kHz: 3 to 10 seconds, both ends allowed
# Upstream counts 0.3 s at 32 kHz but appends them to the 16 kHz wave, where they last 0.6 s; prompts depend on it.
TRAILING_ZEROS = 9_600
SHORTEST_STYLE = 3_200  # samples at 32 kHz: 0.1 s, below which the speaker network has too few frames


@dataclass(frozen=True, slots=True)
class Reference:
    """wav16k: [n + 9600] for HuBERT, zeros at the end. wav32k: [m] for spectrogram and speaker network.

    duration_seconds: of the recording, without the zeros.
    """

    wav16k: Floats
    wav32k: Floats
    duration_seconds: float


def load_reference(path: str | Path) -> Reference:
    """The main reference of a voice.

    Raises:
        AudioError: unreadable (see files.read), silent, or not between 3 and 10 seconds long.
    """
    samples, rate = read_speech(path)
    return Reference(
        wav16k=np.concatenate([content_wave(path, samples, rate), np.zeros(TRAILING_ZEROS, np.float32)]),
        wav32k=style_wave(path, samples, rate),
        duration_seconds=samples.shape[1] / rate,
    )


def check_reference(path: str | Path) -> None:
    """Raises AudioError if `load_reference` would refuse the recording. Needs no torch."""
    samples, rate = read_speech(path)
    content_wave(path, samples, rate)
    check_rates(rate, STYLE_RATE)


def check_auxiliary(path: str | Path) -> None:
    """Raises AudioError if `load_auxiliary` would refuse the recording. Needs no torch."""
    samples, rate = read_speech(path)
    check_rates(rate, STYLE_RATE)
    require_style_length(path, math.ceil(samples.shape[1] * STYLE_RATE / rate))


def content_wave(path: str | Path, samples: Floats, rate: int) -> Floats:
    """[channels, n] at `rate` to [m] at 16 kHz, 3 to 10 seconds long."""
    wav16k = soxr_hq(samples.mean(axis=0), rate, CONTENT_RATE)
    if not SHORTEST <= wav16k.shape[0] <= LONGEST:
        raise AudioError(
            f"The reference {path} lasts {wav16k.shape[0] / CONTENT_RATE:.2f} s; it must last 3 to 10 s: "
            f"{'give a longer recording' if wav16k.shape[0] < SHORTEST else 'cut out a shorter stretch'}."
        )
    return wav16k


def load_auxiliary(path: str | Path) -> Floats:
    """[m] at 32 kHz: a further recording of the speaker, of any length; only its style is used.

    Raises:
        AudioError: unreadable (see files.read), silent, or shorter than 0.1 s.
    """
    samples, rate = read_speech(path)
    return style_wave(path, samples, rate)


def read_speech(path: str | Path) -> tuple[Floats, int]:
    """[channels, n] and rate of a recording that is not silent."""
    samples, rate = read(path)
    if not samples.any():
        raise AudioError(f"The reference {path} is silent from start to end; give a recording of speech.")
    return samples, rate


def style_wave(path: str | Path, samples: Floats, rate: int) -> Floats:
    """[channels, n] at `rate` to [m] at 32 kHz: channels averaged, resampled, loud recordings scaled down.

    Upstream averages exactly two channels and can't use more; here any number is averaged.
    """
    wave = windowed_sinc(samples.mean(axis=0), rate, STYLE_RATE)
    require_style_length(path, wave.shape[0])
    peak = float(np.abs(wave).max())
    return wave / np.float32(min(2.0, peak)) if peak > 1 else wave


def require_style_length(path: str | Path, samples: int) -> None:
    """samples: of the recording at 32 kHz."""
    if samples < SHORTEST_STYLE:
        raise AudioError(
            f"The reference {path} lasts {samples / STYLE_RATE:.3f} s; it must last "
            f"{SHORTEST_STYLE / STYLE_RATE} s at least: give a longer recording."
        )


def speaker_wave(wav32k: Floats) -> Floats:
    """[m] at 32 kHz to [ceil(m / 2)] at 16 kHz: what the filter bank of the speaker network is made from."""
    return windowed_sinc(wav32k, STYLE_RATE, CONTENT_RATE)
