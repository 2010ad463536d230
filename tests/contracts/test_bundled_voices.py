"""The commands with voices that come with the package, through the entry point, with small random networks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from bad_files import HERE
from running import Run
from small_voice import PROMPT, RATE, SAMPLING

from sovits_rt import bundled
from sovits_rt.checkpoints.shape import preview
from sovits_rt.cli import synth, tune
from sovits_rt.cli.job import Job
from sovits_rt.cli.main import cli
from sovits_rt.types import Sampling

pytest.importorskip("nltk")

TEXT = "Hello, this machine can talk."
SHORT = ("--max-tokens", "12", "--profile", "default")


@pytest.fixture
def speak(run: Run, small_voices: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """sovits-rt with those voices."""
    monkeypatch.setattr(bundled, "folder", lambda: small_voices)
    return run


def heard(name: str) -> Any:
    samples, rate = soundfile.read(name, dtype="int16")
    assert rate == RATE
    return samples


def job(*words: str | Path) -> Job:
    command = cli.commands["synth"]
    return Job.of(command.make_context("synth", [str(word) for word in words]).params)


def test_a_text_is_all_it_takes(speak: Run) -> None:
    answer = speak("synth", TEXT, *SHORT)
    assert (answer.code, answer.out) == (0, "")
    assert "profile default -> out.wav" in answer.err
    samples = heard("out.wav")
    assert np.abs(samples).max() > 100
    assert speak("synth", TEXT, *SHORT, "--voice", "en-second", "-o", "same.wav").code == 0
    assert speak("synth", TEXT, *SHORT, "--voice", "en-first", "-o", "other.wav").code == 0
    np.testing.assert_array_equal(heard("same.wav"), samples)
    assert len(heard("other.wav")) != len(samples) or (heard("other.wav") != samples).any()


def test_the_prepared_voice_sounds_like_its_recording(speak: Run, golden: Any) -> None:
    told = speak("synth", TEXT, *SHORT, "--ref", golden.wav("en_44k"), "--ref-text", PROMPT, "--dump", "cloned.npz")
    assert told.code == 0
    note, *_ = told.err.splitlines()
    assert note.startswith("The models of the bundled voice en-second speak with this recording's voice, as a demo")
    quiet = speak("synth", TEXT, *SHORT, "--ref", golden.wav("en_44k"), "--ref-text", PROMPT, "-q", "-o", "cloned.wav")
    assert (quiet.code, quiet.err) == (0, "")
    assert speak("synth", TEXT, *SHORT, "--dump", "prepared.npz", "-o", "prepared.wav").code == 0
    cloned, prepared = np.load("cloned.npz"), np.load("prepared.npz")
    assert set(cloned.files) == set(prepared.files)
    for name in prepared.files:
        np.testing.assert_array_equal(cloned[name], prepared[name])
    np.testing.assert_array_equal(heard("cloned.wav"), heard("prepared.wav"))


def test_the_same_models_given_one_by_one(speak: Run, small_voices: Path, golden: Any) -> None:
    """What the bundle adds is only where things are, the language and the sampling."""
    folder = small_voices / "small"
    models = ["--gpt", folder / "t2s.ckpt", "--sovits", folder / "sovits.pth", "--hubert", folder / "hubert"]
    sampling = [word for name, value in SAMPLING.items() for word in (f"--{name.replace('_', '-')}", value)]
    reference = ["--ref", golden.wav("en_44k"), "--ref-text", PROMPT, "--ref-lang", "en", "--lang", "en"]
    assert speak("synth", TEXT, *SHORT, *models, *sampling, *reference, "-o", "own.wav").code == 0
    assert speak("synth", TEXT, *SHORT, "-o", "bundled.wav").code == 0
    np.testing.assert_array_equal(heard("own.wav"), heard("bundled.wav"))


def test_no_model_of_another_kind_is_loaded(speak: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """HuBERT has done its work when the voice was prepared."""
    from sovits_rt.models import Models

    def not_needed(_: Models) -> None:
        raise AssertionError("HuBERT was loaded")

    monkeypatch.setattr(Models, "hubert", property(not_needed))
    assert speak("synth", TEXT, *SHORT).code == 0


def test_sampling_is_the_options_then_the_voices_then_upstreams(speak: Run, golden: Any, small_voices: Path) -> None:
    assert job(TEXT).request["sampling"] == Sampling(**SAMPLING)
    assert job(TEXT, "--top-k", "9", "--top-p", "1").request["sampling"] == Sampling(
        **{**SAMPLING, "top_k": 9, "top_p": 1}
    )
    assert job(TEXT, "--ref", golden.wav("en_44k")).request["sampling"] == Sampling(**SAMPLING)
    folder = small_voices / "small"
    own = ("--gpt", folder / "t2s.ckpt", "--sovits", folder / "sovits.pth", "--ref", golden.wav("en_44k"))
    assert job(TEXT, *own, "--lang", "en").request["sampling"] == Sampling()
    assert job(TEXT, *own, "--lang", "en", "--temperature", "0.5").request["sampling"] == Sampling(temperature=0.5)


def test_the_language_is_the_voices(speak: Run) -> None:
    assert job(TEXT).request["language"] == "en"
    assert job(TEXT, "--lang", "en").request["language"] == "en"


def test_list_voices(speak: Run, small_voices: Path) -> None:
    told = speak("synth", "--list-voices", "--json").json["voices"]
    second, first = told
    assert first == {
        "name": "en-first",
        "language": "en",
        "about": "A random voice",
        "sample_rate": RATE,
        "size_bytes": bundled.find("en-first").size_bytes,
        "licence": "as this project",
    }
    assert second["name"] == "en-second"
    people = speak("synth", "--list-voices")
    assert (people.code, people.err) == (0, "")
    for shown in ("en-second (default)", "en-first", "16000 Hz", "MB", "Another [one]"):
        assert shown in people.out


def test_list_of_no_voices(run: Run) -> None:
    assert run("synth", "--list-voices", "--json").json == {"voices": []}
    assert run("synth", "--list-voices").out.startswith("No voice comes with this build of sovits-rt: give models")


def test_without_voices_the_first_command_says_what_is_missing(run: Run) -> None:
    answer = run("synth", TEXT)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == (
        "sovits-rt: No voice comes with this build of sovits-rt: give models of your own with --gpt and --sovits, or "
        "--models, and for speech a recording with --ref.\n"
    )


@pytest.mark.parametrize("words", [(), ("--voice", "en-first")])
def test_tune_takes_the_bundled_models(
    speak: Run, small_voices: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    asked = []

    def stop(paths: Any, shape: str, *_: object, **__: object) -> None:
        asked.append((paths, shape))
        raise KeyboardInterrupt

    monkeypatch.setattr(tune, "tune_and_store", stop)
    assert speak("tune", *words).code == 130
    ((paths, shape),) = asked
    assert paths == bundled.default().paths
    assert shape == preview(paths.gpt, paths.sovits).shape == "2x16-32"


def test_the_first_run_is_tuned_for_the_bundled_models(
    speak: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(synth, "probe", lambda: HERE)

    def stop(paths: Any, shape: str, *_: object, **__: object) -> None:
        asked.append((paths, shape))
        raise KeyboardInterrupt

    monkeypatch.setattr(synth, "tune_and_store", stop)
    for _ in range(2):
        answer = speak("synth", TEXT, "--max-tokens", "12")
        assert answer.code == 0
    assert asked == [(bundled.default().paths, "2x16-32")]


def test_damaged_weights_are_one_sentence(
    run: Run, small_voices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NaN is only found when all weights are read, which listing does not do."""
    folder = tmp_path / "voices" / "small"
    folder.mkdir(parents=True)
    for path in (small_voices / "small").iterdir():
        (folder / path.name).symlink_to(path)
    content = torch.load(folder / "t2s.ckpt", weights_only=True)
    content["weight"]["model.ar_predict_layer.weight"][0, 0] = float("nan")
    (folder / "t2s.ckpt").unlink()
    torch.save(content, folder / "t2s.ckpt")
    monkeypatch.setattr(bundled, "folder", lambda: tmp_path / "voices")
    answer = run("synth", TEXT, *SHORT)
    assert answer.code == 1
    assert "t2s.ckpt has NaN or infinite values in" in answer.err
    assert len(run("synth", "--list-voices", "--json").json["voices"]) == 2
