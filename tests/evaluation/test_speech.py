"""Where recordings come from: an engine, or a folder."""

from collections.abc import Iterator

import numpy as np
import pytest
import soundfile

from sovits_rt.errors import AudioError
from sovits_rt.evaluation.speech import load, recorded, spoken
from sovits_rt.types import AudioChunk, Sentence


class Counting:
    """A speaker whose sentence number n is n times the number n."""

    def speak(self, sentences, request) -> Iterator[AudioChunk]:
        for index, sentence in enumerate(sentences):
            wave = np.full(index, index, np.float32)
            yield AudioChunk(index, sentence, np.zeros(0, np.int64), wave, wave, 16_000)


def test_a_text_of_several_sentences_is_one_recording(request_of_nobody):
    sentence = Sentence("", ())
    texts = [[sentence, sentence], [sentence], [sentence, sentence, sentence]]
    found = list(spoken(Counting(), texts, request_of_nobody))
    assert [samples.tolist() for samples, _ in found] == [[1], [2, 2], [3] * 3 + [4] * 4 + [5] * 5]
    assert {rate for _, rate in found} == {16_000}


@pytest.fixture
def folder(tmp_path):
    for name in ("001.wav", "002.flac", "003.wav"):
        soundfile.write(tmp_path / name, np.full((100, 2), [0.5, 0.25]), 16_000)
    (tmp_path / "notes.txt").write_text("x")
    return tmp_path


def test_a_folder_is_read_in_order(folder):
    paths = recorded(folder, 3, all_of_them=True)
    assert [path.name for path in paths] == ["001.wav", "002.flac", "003.wav"]
    (samples, rate), *_ = load(paths)
    assert (rate, samples.shape) == (16_000, (100,))
    assert samples[0] == pytest.approx(0.375, abs=1e-4)


def test_folders_that_do_not_fit_the_list(folder, tmp_path):
    with pytest.raises(AudioError, match="There is no folder"):
        recorded(tmp_path / "gone", 3, all_of_them=True)
    with pytest.raises(AudioError, match=r"has no 004.wav; 4 recordings are needed"):
        recorded(folder, 4, all_of_them=True)
    with pytest.raises(AudioError, match=r"has 003.wav, but the list ends with sentence 2"):
        recorded(folder, 2, all_of_them=True)
    assert len(recorded(folder, 2, all_of_them=False)) == 2


def test_a_file_that_is_no_recording(folder):
    (folder / "001.wav").write_text("no sound")
    with pytest.raises(AudioError, match=r"001.wav is no recording"):
        next(load(recorded(folder, 3, all_of_them=True)))
