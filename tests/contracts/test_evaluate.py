"""`sovits-rt evaluate` through the entry point: recordings that are there, and speech of random networks."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import soundfile
from running import Run
from small_voice import RATE

from sovits_rt import bundled
from sovits_rt.evaluation import recogniser

SPEECH = Path(__file__).resolve().parent.parent / "data" / "speech"
LIST = ("--sentences", SPEECH / "sentences.txt")
SHORT = ("--max-tokens", "12", "--profile", "default")


def test_recordings_are_judged_against_a_teacher(run: Run) -> None:
    answer = run(
        "evaluate", *LIST, "--count", "2", "--digits", "1",
        "--recordings", SPEECH / "slt", "--against", SPEECH / "rms", "--save", "saved", "--json",
    )  # fmt: skip
    assert (answer.code, answer.err) == (0, "")
    found = answer.json
    assert set(found) == {"sentences", "digits"}
    sentences, digits = found["sentences"], found["digits"]
    assert (sentences["recordings"], sentences["words"]) == (2, 18)
    taught = sentences["teacher"]["word_error_rate"]["value"]
    assert 0 <= taught < sentences["word_error_rate"]["value"] < 0.5
    assert sentences["teacher"]["difference"]["value"] == pytest.approx(sentences["word_error_rate"]["value"] - taught)
    assert 5 < sentences["teacher"]["log_mel_distance_decibels"] < 12
    assert (digits["recordings"], digits["word_error_rate"]["value"]) == (1, 0)
    assert json.loads(Path("saved/results.json").read_text()) == found
    assert not list(Path("saved").rglob("*.wav"))  # they are where they came from


def test_the_table_says_the_same(run: Run) -> None:
    answer = run("evaluate", *LIST, "--count", "1", "--digits", "1", "--recordings", SPEECH / "rms")
    assert answer.code == 0
    print(answer.out)
    assert "1 read, 9 words; pocketsphinx" in answer.out
    assert "0.0% (0.0% to 0.0%)" in answer.out
    assert "100.0% (100.0% to 100.0%)" in answer.out


@pytest.fixture
def speak(run: Run, small_voices: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(bundled, "folder", lambda: small_voices)
    return run


def evaluate(speak: Run, *words: str | Path) -> Any:
    answer = speak("evaluate", *LIST, "--count", "2", *SHORT, *words, "--json")
    assert answer.code == 0
    return answer.json


def test_a_bundled_voice_is_spoken_and_kept(speak: Run) -> None:
    found = evaluate(speak, "--digits", "1", "--save", "kept")
    assert (found["profile"], found["device"], found["seed"]) == ("default", "cpu", 0)
    assert found["sentences"]["word_error_rate"]["value"] > 0.8  # random networks say nothing
    names = sorted(str(path.relative_to("kept")) for path in Path("kept").rglob("*.wav"))
    assert names == ["001.wav", "002.wav", "digits/001.wav"]
    assert soundfile.info("kept/001.wav").samplerate == RATE
    again = speak("evaluate", *LIST, "--count", "2", "--recordings", "kept", "--json").json
    assert [each["heard"] for each in again["sentences"]["each"]] == [
        each["heard"] for each in found["sentences"]["each"]
    ]


def test_voice_settings_and_recording_are_obeyed(speak: Run, golden: Any) -> None:
    lengths = {
        name: [each["sound"]["seconds"] for each in evaluate(speak, *words)["sentences"]["each"]]
        for name, words in {
            "default": (),
            "same": ("--voice", "en-second"),
            "faster": ("--speed", "2"),
            "recording": ("--ref", golden.wav("en_24k")),
        }.items()
    }
    print(lengths)
    assert lengths["default"] == lengths["same"]
    assert sum(lengths["faster"]) < 0.7 * sum(lengths["default"])
    chosen = evaluate(speak, "--set", "semantic.slots=8")
    assert chosen["profile"] == "default + semantic.slots=8"


def test_without_the_extra_it_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recogniser, "missing", lambda: "pocketsphinx")
    answer = run("evaluate")
    assert (answer.code, answer.out) == (1, "")
    assert "pip install 'sovits-rt[quality]'" in answer.err


def test_a_folder_that_does_not_fit_the_list(run: Run) -> None:
    shutil.copytree(SPEECH / "rms", "some")
    Path("some/002.ogg").unlink()
    answer = run("evaluate", *LIST, "--recordings", "some")
    assert (answer.code, answer.out) == (1, "")
    assert "has no 002.wav" in answer.err
    assert run("evaluate", *LIST, "--recordings", SPEECH / "rms", "--against", "some").code == 1
    shutil.copy(SPEECH / "rms" / "001.ogg", "some/002.ogg")
    shutil.copy(SPEECH / "rms" / "001.ogg", "some/004.ogg")
    answer = run("evaluate", *LIST, "--recordings", "some")
    assert (answer.code, answer.out) == (1, "")
    assert "004.ogg, but the list ends with sentence 3" in answer.err


def test_a_place_for_results_that_can_not_be_made(run: Run) -> None:
    Path("file").write_text("x")
    for place in ("file", "gone/deeper", "file/inside"):
        answer = run("evaluate", *LIST, "--recordings", SPEECH / "rms", "--save", place)
        assert (answer.code, answer.out) == (1, "")
        assert f"--save {place} can't be made a folder" in answer.err
    assert Path("file").read_text() == "x"
