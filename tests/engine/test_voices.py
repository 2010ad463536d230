"""Prepared voices: found again by content, made again when damaged, refused by other checkpoints."""

import logging
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest

from sovits_rt.engine import Engine
from sovits_rt.errors import AudioError, RequestError
from sovits_rt.types import Request, Voice
from sovits_rt.voices import VoiceCache, voice_key

TEXT = "这是一段参考音频的文本，请听。"


@pytest.fixture
def case(speaker):
    return speaker.pack.case("v2_zh_greedy")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "voices"


@pytest.fixture
def engine(speaker, case, folder):
    return Engine.load(speaker.paths(case), voice_folder=folder)


@pytest.fixture
def wav(speaker, case, tmp_path):
    return shutil.copy(speaker.pack.wav(case.meta["ref"]), tmp_path / "reference.wav")


@pytest.fixture
def made(monkeypatch):
    """Counts how often a style is really computed."""
    from sovits_rt.stages.reference import ReferenceEncoder

    calls = []
    original = ReferenceEncoder.style

    def counted(self, waves, network):
        calls.append(len(waves))
        return original(self, waves, network)

    monkeypatch.setattr(ReferenceEncoder, "style", counted)
    return calls


def assert_equal(first: Voice, second: Voice):
    for each in fields(Voice):
        np.testing.assert_array_equal(getattr(first, each.name), getattr(second, each.name))
        assert type(getattr(first, each.name)) is type(getattr(second, each.name))


def test_content_counts_and_not_the_path(engine, wav, tmp_path, made):
    first = engine.prepare([wav], text=TEXT, language="zh")
    moved = shutil.move(wav, tmp_path / "another name.wav")
    assert_equal(engine.prepare([moved], text=TEXT, language="zh"), first)
    assert made == [1]
    samples = bytearray(moved.read_bytes())
    samples[-200] ^= 0x40
    moved.write_bytes(samples)
    engine.prepare([moved], text=TEXT, language="zh")
    assert made == [1, 1]


def test_text_and_further_references_count(engine, wav, speaker, made):
    other = speaker.pack.wav("en_24k")
    for references, text in (([wav], TEXT), ([wav], "我们明天见。"), ([wav], ""), ([wav, other], TEXT), ([other], "")):
        engine.prepare(references, text=text, language="zh")
    assert made == [1, 1, 1, 2, 1]


def test_a_voice_of_another_run_speaks_the_same(speaker, case, folder, wav, made):
    spoken = []
    for _ in range(2):
        engine = Engine.load(speaker.paths(case), voice_folder=folder)
        voice = engine.prepare([wav], text=TEXT, language="zh")
        request = speaker.request(case, voice)
        spoken.append([chunk.wave for chunk in engine.synth(request)])
    assert made == [1]
    np.testing.assert_array_equal(spoken[0], spoken[1])


def test_a_damaged_file_is_made_again(engine, wav, folder, made, caplog):
    expected = engine.prepare([wav], text=TEXT, language="zh")
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    with caplog.at_level(logging.WARNING):
        assert_equal(engine.prepare([wav], text=TEXT, language="zh"), expected)
    assert made == [1, 1]
    assert str(path) in caplog.text
    assert_equal(engine.prepare([wav], text=TEXT, language="zh"), expected)
    assert made == [1, 1]


def example():
    arrays = {
        "prompt_phones": np.arange(3),
        "prompt_bert": np.zeros((3, 4), np.float32),
        "prompt_tokens": np.arange(4),
        "style": np.ones((1, 2, 1), np.float32),
        "style_text": np.ones((1, 2, 1), np.float32),
    }
    return Voice(made_for="0" * 64, **arrays)


def test_no_damage_of_a_file_gets_through(folder):
    """Every byte inverted in turn, and every length."""
    cache, voice = VoiceCache(folder), example()
    cache.save("key", voice)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    assert_equal(cache.load("key"), voice)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        for wrong in (damaged, content[:place]):
            path.write_bytes(wrong)
            assert cache.load("key") is None


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY", b"not a voice at all" * 9], ids=repr)
def test_other_files_are_no_voices(folder, content):
    folder.mkdir(parents=True)
    (folder / "key.voice").write_bytes(content)
    assert VoiceCache(folder).load("key") is None


def test_a_folder_that_cannot_be_made_only_warns(speaker, case, wav, tmp_path, caplog):
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    engine = Engine.load(speaker.paths(case), voice_folder=blocker / "voices")
    with caplog.at_level(logging.WARNING):
        voice = engine.prepare([wav], text=TEXT, language="zh")
    assert voice.prompt_tokens.size
    assert str(blocker) in caplog.text


def test_a_full_disk_leaves_nothing_behind(folder, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with caplog.at_level(logging.WARNING):
        VoiceCache(folder).save("key", example())
    assert "No space left" in caplog.text
    assert list(folder.iterdir()) == []


def test_keys_do_not_run_together():
    assert voice_key(["ab", "c"]) != voice_key(["a", "bc"])
    assert voice_key(["a"]) != voice_key(["a", ""])


def test_a_voice_of_another_checkpoint_is_refused(engine, wav):
    voice = replace(engine.prepare([wav]), made_for="another")
    with pytest.raises(RequestError, match="another SoVITS checkpoint"):
        next(engine.synth(Request("你好。", "zh", voice)))


def test_without_a_recording_there_is_no_voice(engine, tmp_path):
    with pytest.raises(RequestError, match="No reference"):
        engine.prepare([])
    with pytest.raises(AudioError, match="missing"):
        engine.prepare([tmp_path / "missing.wav"])
