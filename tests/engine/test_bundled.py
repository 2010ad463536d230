"""Voices that come with the package: read strictly, spoken with, refused when damaged; networks of other sizes."""

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_voice import HUBERT, PROMPT, RATE, SAMPLING, write_table

from sovits_rt import bundled, voices
from sovits_rt.checkpoints import inspect
from sovits_rt.checkpoints.shape import check_companions, preview
from sovits_rt.engine import Engine
from sovits_rt.errors import CheckpointError, RequestError, TextError
from sovits_rt.rehearsal import BRIEF
from sovits_rt.settings import AcousticSettings, Settings
from sovits_rt.tuning import SpeechRunner
from sovits_rt.types import Request, Sampling, Segment, Sentence, Voice

TEXT = "Hello there. How are you today?"


@pytest.fixture
def root(small_voices, tmp_path, monkeypatch):
    """A copy of the bundle that a test may damage."""
    copy = tmp_path / "voices"
    shutil.copytree(small_voices, copy)
    monkeypatch.setattr(bundled, "folder", lambda: copy)
    return copy


@pytest.fixture
def shared(small_voices, monkeypatch):
    monkeypatch.setattr(bundled, "folder", lambda: small_voices)
    return bundled.default()


def test_the_default_comes_first(shared):
    assert [voice.name for voice in bundled.voices()] == ["en-second", "en-first"]
    assert bundled.find("en-second") == shared
    other = bundled.find("en-first")
    assert (other.about, other.language, other.licence) == ("A random voice", "en", "as this project")
    assert other.sampling == Sampling(**SAMPLING)
    assert other.paths == shared.paths
    assert other.prepared != shared.prepared
    files = [path for path in shared.prepared.parent.rglob("*") if path.is_file() and path.suffix != ".yaml"]
    assert shared.size_bytes == sum(path.stat().st_size for path in files) - other.prepared.stat().st_size


def test_sampling_may_be_left_out(root):
    write_table(root / "small", sampling=None)
    assert bundled.default().sampling == Sampling()


def test_without_voices(tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "folder", lambda: tmp_path / "none")
    assert bundled.voices() == ()
    for ask in (bundled.default, lambda: bundled.find("en-first")):
        with pytest.raises(CheckpointError, match=r"No voice comes with this build .* --gpt and --sovits, or --models"):
            ask()


def test_an_unknown_name_lists_those_there_are(shared):
    with pytest.raises(RequestError, match="no bundled voice 'en-fist'; there is en-second, en-first"):
        bundled.find("en-fist")


def test_a_name_in_two_folders(root):
    shutil.copytree(root / "small", root / "twin")
    with pytest.raises(CheckpointError, match="two bundled voices en-second in"):
        bundled.voices()


def test_folders_by_name(root):
    shutil.copytree(root / "small", root / "another")
    write_table(root / "another", voices={"a": {"file": "first.voice", "about": ""}}, default="a")
    assert [voice.name for voice in bundled.voices()] == ["a", "en-second", "en-first"]
    assert bundled.default().paths.gpt == root / "another" / "t2s.ckpt"


DAMAGE = {
    "unknown key": ({"license": "MIT"}, "unknown key 'license'; did you mean 'licence'"),
    "unknown model": ({"models": {"gtp": "t2s.ckpt"}}, r"models: unknown key 'gtp'; did you mean 'gpt'"),
    "no licence": ({"licence": None}, "the key 'licence' is missing"),
    "no model": ({"models": {"gpt": "t2s.ckpt"}}, "the key 'sovits' is missing"),
    "a newer schema": ({"schema": 2}, "it is of schema 2, this release reads 1"),
    "no schema": ({"schema": None}, "it is of schema None"),
    "unknown language": ({"language": "tlh"}, "its language is 'tlh', expected one of en, zh"),
    "unknown default": ({"default": "en-secnd"}, "its default is 'en-secnd', did you mean 'en-second'; install"),
    "words for a number": ({"sampling": {"top_k": "five"}}, "sampling.top_k: expected int, got str 'five'"),
    "out of range": ({"sampling": {"top_k": 0}}, "top_k is 0, but it must be a whole number of at least 1"),
    "missing voice": ({"voices": {"en-second": {"file": "gone.voice", "about": ""}}}, "it names gone.voice, which is"),
    "missing model": ({"models": {"gpt": "t2s.ckpt", "sovits": "gone.pth"}}, "it names gone.pth, which is not there"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_table(root, name):
    changed, sentence = DAMAGE[name]
    write_table(root / "small", **changed)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        bundled.voices()
    print(caught.value)
    assert str(root / "small" / "voices.yaml") in str(caught.value)
    assert str(caught.value).endswith("; install sovits-rt again.")


@pytest.mark.parametrize("content", [b"schema: [", b"\xff\xfe", b"- 1\n", b""])
def test_what_is_no_table(root, content):
    (root / "small" / "voices.yaml").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"can't be used: .*; install sovits-rt again\."):
        bundled.voices()


def test_a_voice_of_another_model_is_refused(root):
    voice = bundled.default()
    with voice.paths.sovits.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(CheckpointError, match=r"second\.voice was not prepared with .*sovits\.pth, beside which"):
        voice.load()


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"", lambda content: b"x" * 99])
def test_a_damaged_voice_is_refused(root, damage):
    path = bundled.default().prepared
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"second\.voice is (damaged or is no prepared voice|empty)"):
        bundled.default().load()


def test_a_voice_of_another_release_is_refused(root, monkeypatch):
    voice = bundled.default()
    current, kept = voice.load(), [each for each in fields(Voice) if each.name != "style"]
    with monkeypatch.context() as patch:
        patch.setattr(voices, "fields", lambda _: kept)
        older = voices.pack(current)
    voice.prepared.write_bytes(older)
    with pytest.raises(CheckpointError, match="no prepared voice of this release"):
        voice.load()


def test_it_speaks_at_its_own_rate(shared):
    engine = Engine.load(shared.paths)
    assert engine.sample_rate == RATE == preview(shared.paths.gpt, shared.paths.sovits).sample_rate
    request = Request(TEXT, shared.language, shared.load(), sampling=shared.sampling, max_tokens=10, noise_scale=0)
    chunks = list(engine.synth(request))
    assert len(chunks) == 2
    for chunk in chunks:
        assert chunk.sample_rate == RATE
        assert len(chunk.wave) == len(chunk.tokens) * RATE // 25
        assert len(chunk.samples) - len(chunk.wave) == int(0.3 * RATE)
        assert np.abs(chunk.wave).max() > 0.01


def test_the_prepared_voice_is_that_of_its_recording(shared, golden):
    engine = Engine.load(shared.paths)
    made, kept = engine.prepare([golden.wav("en_44k")], text=PROMPT, language="en"), shared.load()
    for each in fields(made):
        np.testing.assert_array_equal(getattr(made, each.name), getattr(kept, each.name))
    gin = inspect(shared.paths.sovits)["config"]["gin_channels"]
    assert (kept.style.shape, kept.style_text.shape) == ((1, gin, 1), (1, gin, 1))
    assert gin != 512
    assert len(kept.prompt_tokens) > 60


def test_its_models_can_be_tuned(shared):
    """The work of a trial, at the models' own rate."""
    output = SpeechRunner(shared.paths, Settings(), brief=True).run(0)
    assert output["wave"].shape == (BRIEF.sentences * BRIEF.tokens * RATE // 25,)
    assert np.isfinite(output["read"]).all()
    assert np.isfinite(output["stepped"]).all()


def test_windows_of_the_small_generator_join_without_a_trace(shared):
    request = Request(TEXT, "en", shared.load(), sampling=Sampling(top_k=1), max_tokens=60, end_of_speech=False)
    whole, cut = (
        np.concatenate([chunk.wave for chunk in Engine.load(shared.paths, settings).synth(request)])
        for settings in (Settings(), Settings(acoustic=AcousticSettings(window=50)))
    )
    print(f"largest difference {np.abs(whole - cut).max():.1e}")
    np.testing.assert_allclose(cut, whole, atol=1e-4)


def test_hubert_must_fit_the_sovits_model(shared, golden):
    """Before anything is loaded, and when it is."""
    paths = replace(shared.paths, hubert=golden.checkpoint("hubert"))
    models = preview(paths.gpt, paths.sovits)
    sentence = (
        r"chinese-hubert-base \(HuBERT, features of 768 channels\) does not go with .*sovits\.pth \(SoVITS, reads 20"
    )
    with pytest.raises(CheckpointError, match=sentence):
        check_companions(paths, models, prompted=True, chinese=False)
    check_companions(paths, models, prompted=False, chinese=False)
    with pytest.raises(CheckpointError, match=sentence):
        Engine.load(paths).prepare([golden.wav("en_44k")], text=PROMPT, language="en")


@pytest.mark.parametrize(
    ("part", "changed", "sentence"),
    [
        ("data", {"sampling_rate": 32_000}, "10x8x2x2 make 320 samples of a frame, expected 640, as sampling_rate is"),
        ("data", {"sampling_rate": 16_001}, "make 320 samples of a frame, expected 320.02"),
        ("model", {"upsample_rates": [10, 8, 2, 1]}, "10x8x2x1 make 160 samples of a frame, expected 320"),
        ("model", {"n_heads": 3}, r"n_heads is '3', expected a divisor of hidden_channels \(16\)"),
        ("model", {"ssl_dim": 0}, "ssl_dim is '0', expected a whole number from 1"),
        ("model", {"gin_channels": 26}, "Channels must divide by heads, but got 16 by 2 and 26 by 4"),
        ("model", {"ssl_dim": 24}, r"of another shape .* where float32 \[.*24"),
    ],
)
def test_sizes_that_do_not_go_together(root, part, changed, sentence):
    paths = bundled.default().paths
    content = torch.load(paths.sovits, weights_only=True)
    content["config"][part] |= changed
    torch.save(content, paths.sovits)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        Engine.load(paths)
    print(caught.value)
    assert str(paths.sovits) in str(caught.value)


@pytest.mark.parametrize("key", ["num_attention_heads", "num_conv_pos_embedding_groups"])
def test_heads_and_groups_of_hubert_divide_its_width(root, golden, key):
    paths = bundled.default().paths
    (paths.hubert / "config.json").write_text(json.dumps({**HUBERT, key: 3}))
    with pytest.raises(CheckpointError, match=rf"{key} is '3', expected a divisor of hidden_size \(20\)"):
        check_companions(paths, preview(paths.gpt, paths.sovits), prompted=True, chinese=False)


@pytest.mark.parametrize(
    ("text", "language", "sentence"),
    [
        ("今天天气真不错。", "en", "The text has '今', but the bundled voice en-second speaks only English"),
        ("Hello Мир.", "auto", "The text has 'М', but"),
        ("カタカナ", "en", "The text has 'カ', but"),
        ("Hello.", "zh", "The language of the text is given as 'zh', but the bundled voice"),
        ("Hello.", "klingon", "The text language 'klingon' is not known"),
    ],
)
def test_languages_that_it_does_not_speak(shared, text, language, sentence):
    with pytest.raises(TextError, match=sentence) as caught:
        shared.check_text(text, language)
    print(caught.value)


@pytest.mark.parametrize("text", ["Zoë’s café — “naïve”, 5 °C, 3 µm, πr².", "Ｏｋ。", "[pause:1s]Hi."])
def test_english_with_its_signs_is_no_foreign_text(shared, text):
    shared.check_text(text, "en")
    shared.check_text(text, "auto")


def test_a_piece_that_was_read_in_another_language(shared):
    piece = Segment("bonjour", "zh", "bonjour", (), (), None)
    with pytest.raises(TextError, match="'bonjour' was read as 'zh', but the bundled voice en-second speaks only"):
        shared.check_sentences([Sentence("Bonjour.", (piece,))])


def test_the_package_itself_is_whole():
    """Whatever voices this checkout has are usable."""
    for voice in bundled.voices():
        assert voice.load().made_for
        assert Path(voice.prepared.parent / "README.md").is_file()
