"""The rules for a reference recording."""

import numpy as np
import pytest
import soundfile

from sovits_rt.audio.reference import TRAILING_ZEROS, load_auxiliary, load_reference
from sovits_rt.errors import AudioError


@pytest.fixture
def recording(tmp_path):
    """Write noise of a given shape [n, channels] to a float wav and return its path."""

    def write(frames: int, channels: int = 1, rate: int = 16_000, peak: float = 0.5):
        noise = np.random.default_rng(7).uniform(-1, 1, (frames, channels)).astype(np.float32)
        path = tmp_path / "voice.wav"
        soundfile.write(path, noise / np.abs(noise).max() * np.float32(peak), rate, subtype="FLOAT")
        return path

    return write


@pytest.mark.parametrize("frames", [48_000, 160_000])
def test_shortest_and_longest(recording, frames):
    reference = load_reference(recording(frames))
    assert reference.wav16k.shape == (frames + TRAILING_ZEROS,)
    assert not reference.wav16k[frames:].any()
    assert reference.wav16k[:frames].any()
    assert reference.wav32k.shape == (2 * frames,)
    assert reference.duration_seconds == frames / 16_000


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        (47_999, r"lasts 3\.00 s; it must last 3 to 10 s: give a longer recording\."),
        (32_000, r"voice\.wav lasts 2\.00 s; it must last 3 to 10 s: give a longer recording\."),
        (160_001, r"lasts 10\.00 s; it must last 3 to 10 s: cut out a shorter stretch\."),
    ],
)
def test_wrong_length(recording, frames, sentence):
    with pytest.raises(AudioError, match=sentence):
        load_reference(recording(frames))


def test_auxiliary_may_have_any_length(recording):
    assert load_auxiliary(recording(16_000)).shape == (32_000,)
    assert load_auxiliary(recording(200_000)).shape == (400_000,)


def test_auxiliary_of_a_few_samples(recording):
    with pytest.raises(AudioError, match=r"lasts 0\.062 s; it must last 0\.1 s at least"):
        load_auxiliary(recording(1000))


@pytest.mark.parametrize("load", [load_reference, load_auxiliary])
def test_silence(recording, load):
    with pytest.raises(AudioError, match="is silent from start to end; give a recording of speech"):
        load(recording(64_000, peak=0.0))


@pytest.mark.parametrize("channels", [2, 5])
def test_channels_are_averaged(recording, channels):
    path = recording(128_000, channels, rate=32_000)
    samples, _ = soundfile.read(path, dtype="float32")
    difference = float(np.abs(load_reference(path).wav32k - samples.mean(axis=1)).max())
    print(f"largest difference {difference:.1e}")
    assert difference < 1e-6


@pytest.mark.parametrize(("peak", "scaled"), [(0.9, 0.9), (1.5, 1.0), (4.0, 2.0)])
def test_loud_recordings_are_scaled_by_two_at_most(recording, peak, scaled):
    wave = load_reference(recording(128_000, rate=32_000, peak=peak)).wav32k
    assert np.abs(wave).max() == pytest.approx(scaled, rel=1e-6)
