"""Reading: every usual format comes back as [channels, n] float32, everything else is refused in one sentence."""

import struct
import sys
from fractions import Fraction

import numpy as np
import pytest
import soundfile

from sovits_rt.audio.files import read
from sovits_rt.errors import AudioError, MissingExtraError


def tone(seconds: float = 0.5, rate: int = 16_000, channels: int = 1) -> np.ndarray:
    """[n, channels] a sine per channel, each of another pitch."""
    time = np.arange(int(seconds * rate)) / rate
    pitches = 220.0 * (1 + np.arange(channels))
    return (0.5 * np.sin(2 * np.pi * time[:, None] * pitches)).astype(np.float32)


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        ("wav", "PCM_U8", 1 / 128),
        ("wav", "PCM_16", 1 / 32768),
        ("wav", "PCM_24", 1e-6),
        ("wav", "FLOAT", 0.0),
        ("flac", "PCM_16", 1 / 32768),
        ("ogg", "VORBIS", 0.05),
    ],
)
def test_formats_of_libsndfile(tmp_path, suffix, subtype, tolerance):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(), 16_000, subtype=subtype)
    samples, rate = read(path)
    difference = float(np.abs(samples[0] - tone()[:, 0]).max())
    print(f"{suffix} {subtype}: largest difference {difference:.1e}")
    assert (samples.dtype, samples.shape, rate) == (np.float32, (1, 8000), 16_000)
    assert difference <= tolerance


def test_mp3(tmp_path):
    path = tmp_path / "tone.mp3"
    soundfile.write(path, tone(), 16_000)
    samples, rate = read(path)
    assert rate == 16_000
    assert abs(samples.shape[1] - 8000) < 1200  # the decoder keeps a part of the encoder's delay
    assert 0.4 < np.abs(samples).max() < 0.6


@pytest.mark.parametrize("channels", [2, 5])
def test_channels_come_first(tmp_path, channels):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(channels=channels), 16_000, subtype="FLOAT")
    samples, _ = read(path)
    assert np.array_equal(samples, tone(channels=channels).T)


def write_m4a(path, samples: np.ndarray, rate: int) -> None:
    """[channels, n] as AAC in an MP4 container."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=rate, layout="stereo" if samples.shape[0] == 2 else "mono")
        for start in range(0, samples.shape[1], 1024):
            block = np.ascontiguousarray(samples[:, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=stream.layout.name)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("channels", [1, 2])
def test_m4a(tmp_path, channels):
    path = tmp_path / "tone.m4a"
    original = tone(seconds=1.0, rate=44_100, channels=channels).T
    write_m4a(path, original, 44_100)
    samples, rate = read(path)
    assert (samples.dtype, samples.shape[0], rate) == (np.float32, channels, 44_100)
    assert abs(samples.shape[1] - 44_100) <= 2048
    for decoded, want in zip(samples, original, strict=True):
        spectrum, expected = (np.abs(np.fft.rfft(signal[4096:36_864])) for signal in (decoded, want))
        assert spectrum.argmax() == expected.argmax()
        assert spectrum.max() == pytest.approx(expected.max(), rel=0.1)


def test_m4a_without_pyav_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "voice.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(64))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sovits-rt\[m4a\]'"):
        read(path)


@pytest.mark.parametrize("with_pyav", [True, False])
def test_text_is_not_audio(tmp_path, monkeypatch, with_pyav):
    path = tmp_path / "voice.wav"
    path.write_text("This is not a recording. " * 40)
    if not with_pyav:
        monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        AudioError, match=r"voice\.wav is no recording that can be read \(.+\); give a wav, flac, ogg or mp3"
    ):
        read(path)


def test_missing_file(tmp_path):
    with pytest.raises(AudioError, match=r"There is no recording .*gone\.wav; check the path\."):
        read(tmp_path / "gone.wav")


def test_folder(tmp_path):
    with pytest.raises(AudioError, match="is a folder; give the path of one sound file"):
        read(tmp_path)


def test_name_that_no_system_accepts(tmp_path):
    with pytest.raises(AudioError, match=r"can't be opened \(.+\); check the path"):
        read(tmp_path / ("x" * 5000))


def test_empty_file(tmp_path):
    (tmp_path / "voice.wav").touch()
    with pytest.raises(AudioError, match=r"is empty \(0 bytes\)"):
        read(tmp_path / "voice.wav")


def test_no_samples(tmp_path):
    soundfile.write(tmp_path / "voice.wav", np.zeros((0, 1), np.float32), 16_000)
    with pytest.raises(AudioError, match="has no samples"):
        read(tmp_path / "voice.wav")


@pytest.mark.parametrize("rate", [1, 3_000, 500_000])
def test_absurd_rate(tmp_path, rate):
    soundfile.write(tmp_path / "voice.wav", tone(), rate)
    with pytest.raises(AudioError, match=f"its sample rate is {rate:,} Hz; expected 4,000 to 384,000 Hz"):
        read(tmp_path / "voice.wav")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers(tmp_path, value):
    samples = tone()
    samples[100] = value
    soundfile.write(tmp_path / "voice.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"samples that are no numbers \(NaN or infinite\)"):
        read(tmp_path / "voice.wav")


def test_truncated_wav_gives_what_is_there(tmp_path):
    path = tmp_path / "voice.wav"
    soundfile.write(path, tone(), 16_000, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[: 44 + 2 * 1000])
    samples, _ = read(path)
    assert samples.shape == (1, 1000)


def test_wav_header_alone(tmp_path):
    path = tmp_path / "voice.wav"
    path.write_bytes(struct.pack("<4sI4s", b"RIFF", 36, b"WAVE"))
    with pytest.raises(AudioError, match="is no recording that can be read"):
        read(path)
