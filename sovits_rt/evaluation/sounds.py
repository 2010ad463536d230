"""Measures of one recording, and of two of the same sentence: level, length, pitch, distance. numpy only.

Distance: both at one loudness, at 16 kHz, as 40 mel bands (0 to 8 kHz, 25 ms Hann windows every 10 ms) in dB, with a
floor 60 dB below the loudest. Between two frames it is the root mean square over the bands; along the best alignment
by dynamic time warping (Sakoe and Chiba 1978: symmetric, no slope limit, a diagonal step counts twice) it is the mean.

Pitch: YIN (de Cheveigné and Kawahara 2002), steps 1 to 5.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sovits_rt.audio.resample import soxr_hq
from sovits_rt.types import Floats

RATE = 16_000  # Hz of everything that is compared
FRAME, STEP = 400, 160  # samples: 25 ms every 10 ms
FFT, BANDS = 512, 40
FLOOR_DECIBELS = 60.0
SPEECH_DECIBELS = 40.0  # frames that are quieter than the loudest by more are no speech
LEVEL = 0.05  # root mean square of the speech after `levelled`
LOWEST_HZ, HIGHEST_HZ = 60.0, 400.0
YIN_WINDOW, YIN_THRESHOLD = 512, 0.15
SILENT_DECIBELS = -60.0  # of full scale
CLIPPED, CLIPPED_SHARE = 0.999, 1e-3
SHORTEST_RATIO, LONGEST_RATIO = 0.7, 1.4


@dataclass(frozen=True, slots=True)
class Sound:
    """seconds: from the first to the last frame of speech. level_decibels: root mean square of the speech, of full
    scale. pitch_hz: median of the voiced frames, 0 if there are none. voiced: share of the frames of speech, 0 to 1.
    problems: of "silent" and "clipped" those that hold."""

    seconds: float
    level_decibels: float
    pitch_hz: float
    voiced: float
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Likeness:
    """One recording against another of the same sentence. distance_decibels: see the module. length_ratio,
    pitch_ratio: this one's over the other's; pitch_ratio is 0 if one of them has no voiced frame."""

    distance_decibels: float
    length_ratio: float
    pitch_ratio: float

    @property
    def length_is_sane(self) -> bool:
        """Neither cut off nor running on."""
        return SHORTEST_RATIO <= self.length_ratio <= LONGEST_RATIO


def sound_of(samples: Floats, rate: int) -> Sound:
    """samples: [n] in [-1, 1] at `rate` Hz."""
    wave = soxr_hq(samples, rate, RATE)
    frames = _speech(wave)
    level = 10 * np.log10(np.mean(np.square(frames, dtype=np.float64)) + 1e-12) if len(frames) else -120.0
    if level < SILENT_DECIBELS:
        return Sound(0.0, float(level), 0.0, 0.0, ("silent",))
    pitches = pitch(wave)
    voiced = pitches[pitches > 0]
    clipped = float(np.mean(np.abs(samples) >= CLIPPED)) > CLIPPED_SHARE
    return Sound(
        seconds=len(frames) * STEP / RATE,
        level_decibels=float(level),
        pitch_hz=float(np.median(voiced)) if len(voiced) else 0.0,
        voiced=len(voiced) / len(pitches),
        problems=("clipped",) if clipped else (),
    )


def likeness(samples: Floats, rate: int, other: Floats, other_rate: int) -> Likeness | None:
    """Of two recordings of one sentence, [n] and [m]; None if one of them is silent."""
    mine, its = sound_of(samples, rate), sound_of(other, other_rate)
    if "silent" in (*mine.problems, *its.problems):
        return None
    return Likeness(
        distance_decibels=distance(soxr_hq(samples, rate, RATE), soxr_hq(other, other_rate, RATE)),
        length_ratio=mine.seconds / its.seconds,
        pitch_ratio=mine.pitch_hz / its.pitch_hz if its.pitch_hz else 0.0,
    )


def levelled(wave: Floats, rate: int) -> Floats:
    """[n] scaled so that its speech has the root mean square LEVEL, or less where it would clip."""
    assert rate == RATE, "framing is in samples at 16 kHz"
    frames = _speech(wave)
    if not len(frames):
        return wave
    level = float(np.sqrt(np.mean(np.square(frames, dtype=np.float64))))
    return np.asarray(wave * min(LEVEL / level, 0.99 / float(np.abs(wave).max())), np.float32)


def distance(wave: Floats, other: Floats) -> float:
    """[n] and [m] at 16 kHz, with speech in both: dB, 0 for equal ones; see the module."""
    mine, its = (_log_mel(_speech(levelled(each, RATE))) for each in (wave, other))
    return warped(np.sqrt(np.square(mine[:, None, :] - its[None, :, :]).mean(axis=2)))


def warped(costs: NDArray[np.float64]) -> float:
    """[n, m] costs of frame pairs to their mean along the cheapest path from corner to corner; see the module."""
    total = np.cumsum(costs[0]) + costs[0, 0]  # the first cell counts twice, as a diagonal step into it
    for row in costs[1:]:
        entered = np.minimum(total + row, np.concatenate([[np.inf], total[:-1]]) + 2 * row)
        travelled = np.cumsum(row)  # of steps to the right, so that the cheapest of them is a running minimum
        total = travelled + np.minimum.accumulate(entered - travelled)
    return float(total[-1] / sum(costs.shape))


def pitch(wave: Floats) -> NDArray[np.float64]:
    """[frames of speech] fundamental frequency in Hz every 10 ms, 0 where it is not voiced; wave: [n] at 16 kHz."""
    longest, shortest = int(RATE / LOWEST_HZ), int(RATE / HIGHEST_HZ)
    start, end = _bounds(wave)
    span = YIN_WINDOW + longest
    padded = np.pad(wave.astype(np.float64), (span // 2, span))
    frames = np.lib.stride_tricks.sliding_window_view(padded, span)[start:end:STEP]
    if not len(frames):
        return np.zeros(0)
    size = 2 * span
    heads = np.fft.rfft(frames[:, :YIN_WINDOW], size)
    products = np.fft.irfft(np.conj(heads) * np.fft.rfft(frames, size), size)[:, : longest + 1]
    powers = np.cumsum(np.pad(np.square(frames), ((0, 0), (1, 0))), axis=1)
    energies = powers[:, YIN_WINDOW:][:, : longest + 1] - powers[:, : longest + 1]
    differences = np.maximum(energies[:, :1] + energies - 2 * products, 0.0)[:, 1:]
    lags = np.arange(1, longest + 1)
    normalised = differences * lags / np.maximum(np.cumsum(differences, axis=1), 1e-12)
    return np.array([_first_dip(row, shortest) for row in normalised])


def _first_dip(normalised: NDArray[np.float64], shortest: int) -> float:
    """normalised: [lags] from lag 1. The first dip below the threshold, refined by a parabola; 0 if there is none."""
    below = np.flatnonzero(normalised[shortest - 1 :] < YIN_THRESHOLD)
    if not below.size:
        return 0.0
    lag = shortest - 1 + int(below[0])
    while lag + 1 < len(normalised) and normalised[lag + 1] < normalised[lag]:
        lag += 1
    if lag + 1 == len(normalised) or lag == 0:
        return RATE / (lag + 1)
    left, middle, right = normalised[lag - 1 : lag + 2]
    curve = left - 2 * middle + right
    return float(RATE / (lag + 1 + (0.5 * (left - right) / curve if curve > 0 else 0.0)))


def _frames(wave: Floats) -> Floats:
    """[n] to [frames, 400]."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(wave, (0, max(0, FRAME - len(wave)))), FRAME)[::STEP]


def _bounds(wave: Floats) -> tuple[int, int]:
    """Sample numbers between which there is speech; equal ones for silence."""
    powers = np.square(_frames(wave), dtype=np.float64).mean(axis=1)
    loud = np.flatnonzero(powers > powers.max() * 10 ** (-SPEECH_DECIBELS / 10))
    return (int(loud[0]) * STEP, (int(loud[-1]) + 1) * STEP) if loud.size else (0, 0)


def _speech(wave: Floats) -> Floats:
    """[frames, 400] from the first to the last that is speech."""
    start, end = _bounds(wave)
    return _frames(wave)[start // STEP : end // STEP]


def _log_mel(frames: Floats) -> NDArray[np.float64]:
    """[frames, 400] to [frames, 40] dB, the loudest at 0, none below the floor."""
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(FRAME + 2)[1:-1], FFT)))
    decibels = 10 * np.log10(power @ _mel_filters().T + 1e-10)
    return np.asarray(np.maximum(decibels, decibels.max() - FLOOR_DECIBELS))


@lru_cache(maxsize=1)
def _mel_filters() -> NDArray[np.float64]:
    """[40, 257] triangles, evenly spaced on the mel scale 2595 log10(1 + f / 700)."""
    hertz = np.arange(FFT // 2 + 1) * RATE / FFT
    mels = 2595 * np.log10(1 + hertz / 700)
    corners = np.linspace(0, mels[-1], BANDS + 2)
    rising = (mels - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - mels) / (corners[2:] - corners[1:-1])[:, None]
    return np.asarray(np.maximum(np.minimum(rising, falling), 0.0))
