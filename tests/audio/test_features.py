"""Resamplers and features against what upstream computed from the same four recordings."""

import math

import numpy as np
import pytest

from sovits_rt.audio.features import fbank80, spectrogram
from sovits_rt.audio.reference import load_reference, speaker_wave
from sovits_rt.audio.resample import soxr_hq, windowed_sinc
from sovits_rt.errors import AudioError

RECORDINGS = ["zh_32k", "en_24k", "en_44k", "zh_48k_stereo"]  # upstream's rate, below, above by an odd ratio, stereo


@pytest.mark.parametrize("name", RECORDINGS)
def test_content_wave(golden, name):
    recorded = golden.ref(name)
    wave = load_reference(golden.wav(name)).wav16k
    difference = recorded.compare("wav16k", wave)
    total = float(wave.astype(np.float64).sum() - recorded["wav16k_sum"])
    print(f"{name}: largest difference {difference:.1e}, of the sum {total:.1e}")
    assert wave.shape == (int(recorded["wav16k_len"]),)
    assert difference < 1e-7
    assert abs(total) < 1e-5


@pytest.mark.parametrize("name", RECORDINGS)
def test_spectrogram(golden, name):
    recorded = golden.ref(name)
    spectrum = spectrogram(load_reference(golden.wav(name)).wav32k)
    difference = recorded.compare("spec", spectrum)
    frames = np.abs(spectrum.astype(np.float64).sum(axis=1)[0] / recorded["spec_frame_sum"] - 1).max()
    print(f"{name}: largest difference {difference:.1e} of {spectrum.max():.0f}, of a frame's sum {frames:.1e}")
    assert difference < 1e-5 * spectrum.max()
    assert frames < 1e-5


@pytest.mark.parametrize("name", RECORDINGS)
def test_speaker_wave(golden, name):
    recorded = golden.ref(name)
    wave = speaker_wave(load_reference(golden.wav(name)).wav32k)
    difference = recorded.compare("audio16k", wave)
    print(f"{name}: largest difference {difference:.1e}")
    assert wave.shape == (int(recorded["audio16k_len"]),)
    assert difference < 1e-6


def test_fbank(golden):
    recorded = golden.ref("zh_32k")
    energies = fbank80(speaker_wave(load_reference(golden.wav("zh_32k")).wav32k))
    difference = recorded.compare("fbank", energies)
    print(f"largest difference {difference:.1e} of a logarithm")
    assert difference < 1e-4


@pytest.mark.parametrize("resample", [soxr_hq, windowed_sinc])
@pytest.mark.parametrize(("rate", "target"), [(48_000, 32_000), (44_100, 16_000), (8_000, 32_000), (11_025, 16_000)])
def test_resampled_tone_is_the_tone(resample, rate, target):
    samples = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    out = resample(samples, rate, target)
    want = np.sin(2 * np.pi * 440 * np.arange(target) / target)
    middle = slice(target // 4, -target // 4)
    difference = float(np.abs(out[middle] - want[middle]).max())
    print(f"{resample.__name__} {rate} -> {target}: {difference:.1e}")
    assert (out.dtype, out.shape) == (np.float32, (target,))
    assert difference < 2e-3


@pytest.mark.parametrize("resample", [soxr_hq, windowed_sinc])
def test_length_is_rounded_up(resample):
    for length in (1, 2, 99, 1001):
        assert resample(np.ones(length, np.float32), 44_100, 32_000).shape == (math.ceil(length * 32_000 / 44_100),)


@pytest.mark.parametrize("resample", [soxr_hq, windowed_sinc])
def test_equal_rates_change_nothing(resample):
    samples = np.ones(5, np.float32)
    assert resample(samples, 32_000, 32_000) is samples


def test_rate_without_common_factors_is_refused():
    with pytest.raises(AudioError, match=r"A recording at 44,101 Hz can't be resampled to 32,000 Hz exactly"):
        windowed_sinc(np.ones(44_101, np.float32), 44_101, 32_000)


def test_too_short_for_a_frame():
    with pytest.raises(AudioError, match=r"704 samples at 32 kHz is too short; give 705 or more"):
        spectrogram(np.zeros(704, np.float32))
    with pytest.raises(AudioError, match=r"399 samples at 16 kHz is too short; give 400 or more"):
        fbank80(np.zeros(399, np.float32))
    assert spectrogram(np.zeros(705, np.float32)).shape == (1, 1025, 1)
    assert fbank80(np.zeros(400, np.float32)).shape == (1, 80)
