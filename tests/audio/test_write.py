"""Writing: 16-bit values as upstream makes them, every format reads back, nothing half-written is left."""

import io
import os
import sys
import wave

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sovits_rt.audio.join import finish_sentence, limit_peak, pause, pcm16
from sovits_rt.audio.write import AudioWriter, wav_header, write
from sovits_rt.errors import AudioError

RATE = 32_000


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(3).uniform(-0.5, 0.5, int(seconds * RATE)).astype(np.float32)


def test_integers_are_those_of_upstream(golden):
    case = golden.case("v2_zh_greedy")
    ours = pcm16(finish_sentence(case["decode0_wav"][0, 0], RATE, case.meta["request"]["fragment_interval"]))
    difference = case.compare("wav_int16", ours)
    print(f"largest difference {difference:.0f}")
    assert difference == 0


def test_integers_drop_the_fraction_and_saturate():
    values = np.array([0.0, 1.9, -1.9, 32766.9, 32767.5, -32768.0]) / 32768
    assert pcm16(values.astype(np.float32)).tolist() == [0, 1, -1, 32766, 32767, -32768]
    assert pcm16(np.array([1.0, 1.5, -1.5], np.float32)).tolist() == [32767, 32767, -32768]


def test_nan_is_refused():
    with pytest.raises(AudioError, match="NaN or infinite"):
        pcm16(np.array([0.0, np.nan], np.float32))


@given(st.lists(st.floats(-4, 4, width=32), max_size=20))
def test_limit_peak_never_leaves_more_than_one(values):
    samples = np.array(values, np.float32)
    limited = limit_peak(samples)
    assert np.abs(limited).max(initial=0.0) <= 1
    if np.abs(samples).max(initial=0.0) <= 1:
        assert limited is samples


def test_pause_is_rounded_down():
    assert pause(RATE, 0.3).shape == (9600,)
    assert pause(RATE, 0.00001).shape == (0,)
    assert finish_sentence(np.full(10, 2.0, np.float32), 100, 0.05).tolist() == [1.0] * 10 + [0.0] * 5


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_lossless_formats_keep_the_integers(tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    write(path, noise(0.5), RATE)
    integers, rate = soundfile.read(path, dtype="int16")
    assert rate == RATE
    assert np.array_equal(integers, pcm16(noise(0.5)))
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "pcm"])
def test_chunks_give_the_file_of_the_whole(tmp_path, suffix):
    samples = noise(2.5)
    write(tmp_path / f"whole.{suffix}", samples, RATE)
    with AudioWriter(tmp_path / f"chunks.{suffix}", RATE) as writer:
        for start in range(0, samples.shape[0], RATE):  # the writer itself cuts into seconds
            writer.write(samples[start : start + RATE])
    whole, chunks = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("whole", "chunks"))
    assert len(whole) == len(chunks)
    if suffix != "ogg":  # its stream carries a random serial number
        assert whole == chunks


@pytest.mark.parametrize("suffix", ["ogg", "mp3"])
def test_ninety_seconds_at_once(tmp_path, suffix):
    time = np.arange(90 * RATE) / RATE
    write(tmp_path / f"long.{suffix}", (0.3 * np.sin(2 * np.pi * 300 * time)).astype(np.float32), RATE)
    samples, rate = soundfile.read(tmp_path / f"long.{suffix}", dtype="float32")
    assert rate == RATE
    assert abs(samples.shape[0] / RATE - 90) < 0.1
    assert 0.25 < np.abs(samples).max() < 0.35


@pytest.mark.parametrize("suffix", ["ogg", "mp3"])
def test_lossy_formats_saturate(tmp_path, suffix):
    tone = np.sin(2 * np.pi * 300 * np.arange(RATE) / RATE).astype(np.float32)
    write(tmp_path / f"loud.{suffix}", 4 * tone, RATE)
    samples, _ = soundfile.read(tmp_path / f"loud.{suffix}")
    peak = float(np.abs(samples).max())
    print(f"{suffix}: peak {peak:.2f}")
    assert 0.9 < peak < 1.5


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "pcm"])
def test_no_samples_at_all(tmp_path, suffix):
    write(tmp_path / f"out.{suffix}", np.zeros(0, np.float32), RATE)
    assert (tmp_path / f"out.{suffix}").exists()


def test_stream_in_memory():
    stream = io.BytesIO()
    with AudioWriter(stream, RATE, "flac") as writer:
        writer.write(noise(0.2))
    stream.seek(0)
    assert np.array_equal(soundfile.read(stream, dtype="int16")[0], pcm16(noise(0.2)))


class Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


def test_pipe_takes_pcm_and_wav():
    pcm, wav = Pipe(), Pipe()
    for stream, name in ((pcm, "pcm"), (wav, "wav")):
        with AudioWriter(stream, RATE, name) as writer:
            writer.write(noise(0.1))
            writer.write(noise(0.1))
    assert np.array_equal(np.frombuffer(pcm.getvalue(), "<i2"), np.tile(pcm16(noise(0.1)), 2))
    assert wav.getvalue() == wav_header(RATE) + pcm.getvalue()
    read_back, rate = soundfile.read(io.BytesIO(wav.getvalue()), dtype="int16")
    assert rate == RATE
    assert np.array_equal(read_back, np.tile(pcm16(noise(0.1)), 2))


def test_pipe_refuses_flac():
    with pytest.raises(AudioError, match=r"FLAC can't go to the stream, as it can't seek; ask for wav or pcm\."):
        AudioWriter(Pipe(), RATE, "flac")


def test_wav_header_with_length():
    content = io.BytesIO(wav_header(RATE, 3) + bytes(6))
    with wave.open(content) as reader:
        assert reader.getparams()[:4] == (1, 2, RATE, 3)


@pytest.mark.parametrize("name", ["out.aac", "out"])
def test_unknown_suffix(tmp_path, name):
    with pytest.raises(AudioError, match="these can be written: wav, flac, ogg, mp3, pcm"):
        write(tmp_path / name, noise(0.1), RATE)
    assert os.listdir(tmp_path) == []


def test_folder_that_does_not_exist(tmp_path):
    with pytest.raises(AudioError, match=r"can't be written \(No such file or directory\); choose an existing folder"):
        write(tmp_path / "none" / "out.wav", noise(0.1), RATE)


def test_folder_instead_of_file(tmp_path):
    (tmp_path / "out.wav").mkdir()
    with pytest.raises(AudioError, match="is a folder; give a file name in it"):
        write(tmp_path / "out.wav", noise(0.1), RATE)


def test_rate_that_a_format_can_not_hold(tmp_path):
    with pytest.raises(AudioError, match=r"out\.mp3 can't be written as MP3 at 50,001 Hz"):
        write(tmp_path / "out.mp3", noise(0.1), 50_001)
    assert os.listdir(tmp_path) == []


def test_error_on_the_way_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "out.wav"
    write(path, noise(0.1), RATE)
    before = path.read_bytes()
    chunks = [noise(0.1), np.array([np.nan], np.float32)]
    with pytest.raises(AudioError, match="NaN"), AudioWriter(path, RATE) as writer:
        [writer.write(chunk) for chunk in chunks]
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["out.wav"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full")
@pytest.mark.parametrize("format", ["wav", "flac", "pcm"])
def test_full_disk(format):
    with pytest.raises(AudioError, match="Writing /dev/full stopped"), AudioWriter("/dev/full", RATE, format) as writer:
        writer.write(noise(2))
