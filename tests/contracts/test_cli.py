"""What the commands promise, through the entry point, with the small golden checkpoints."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml
from bad_files import HERE, RunsCode, as_checkpoint, profile
from running import Run

from autotune import store
from autotune.errors import SearchError, TrialError
from autotune.profile import profile_id
from sovits_rt import selection
from sovits_rt.checkpoints.shape import preview
from sovits_rt.cli import synth
from sovits_rt.tuning import subject_name

for needed in ("jieba", "pypinyin", "split_lang", "nltk"):
    pytest.importorskip(needed)

TEXT = "今天天气真不错，我们去公园玩吧。明天可能会下雨。"
PROMPT = "这是一段参考音频的文本，请听。"
SHORT = "今天天气真不错。"
ENGLISH = "Hello there my friend."
WAVE_TOLERANCE = 3e-5
SUMMARY = re.compile(
    r"(\d+\.\d\d) s of audio in \d+\.\d\d s, RTF \d+\.\d{3}, \d+\.\d characters/s, "
    r"device cpu, profile default -> (.+)\n"
)
RESULT_KEYS = {
    "sentences", "audio_seconds", "wall_seconds", "rtf", "characters_per_second", "device", "profile", "output",
}  # fmt: skip


@pytest.fixture(scope="module")
def voice(golden: Any) -> list[str | Path]:
    return [*models(golden), "--ref", golden.wav("zh_32k"), "--ref-text", PROMPT, "--ref-lang", "zh", "--lang", "zh"]


@pytest.fixture(scope="module")
def plain_voice(golden: Any) -> list[str | Path]:
    """English and prompt-free: two models less to load."""
    return [*models(golden)[:4], "--ref", golden.wav("en_44k"), "--lang", "en", "--text", ENGLISH, "--max-tokens", "8"]


def models(golden: Any, t2s: str = "t2s_v2", sovits: str = "sovits_v2") -> list[str | Path]:
    paths = {"--gpt": t2s, "--sovits": sovits, "--hubert": "hubert", "--bert": "bert"}
    return [word for option, name in paths.items() for word in (option, golden.checkpoint(name))]


DETERMINISTIC = ("--top-k", "1", "--noise-scale", "0", "--seed", "0", "--profile", "default")


def asked_like(case: Any, golden: Any) -> list[str | Path]:
    """The arguments for what a golden case recorded."""
    meta, request = case.meta, case.meta["request"]
    words = [*models(golden, meta["t2s"], meta["sovits"]), "--ref", golden.wav(meta["ref"])]
    for name in meta.get("aux", ()):
        words += ["--ref", golden.wav(name)]
    if request["prompt_text"]:
        words += ["--ref-text", request["prompt_text"], "--ref-lang", request["prompt_lang"]]
    words += ["--text", request["text"], "--lang", request["text_lang"], "--split", request["text_split_method"]]
    words += ["--speed", request["speed_factor"], "--repetition-penalty", request["repetition_penalty"]]
    return [*words, "--max-tokens", meta["early_stop_num"], *DETERMINISTIC]


@pytest.mark.parametrize(
    "name",
    [
        "v2_zh_greedy",
        "v2_batch1",
        "v2_multiref",
        "v2_norep_greedy",
        "v2_speed13",
        "v1_en_greedy",
    ],
)
def test_dump_equals_upstream(golden: Any, run: Run, name: str) -> None:
    case = golden.case(name)
    assert run("synth", *asked_like(case, golden), "--dump", "out.npz", "-o", "out.wav").code == 0
    dumped = np.load("out.npz")
    count = len(case.meta["norm_texts"])
    per_sentence = {f"{kind}_{i}" for kind in ("phones", "bert", "tokens", "wav") for i in range(count)}
    assert set(dumped.files) == per_sentence | {"prompt_phones", "prompt_tokens", "sample_rate"}
    assert dumped["sample_rate"] == 32_000
    np.testing.assert_array_equal(dumped["prompt_phones"], case["prompt_phones"])
    np.testing.assert_array_equal(dumped["prompt_tokens"], case["prompt_semantic"].ravel())
    for i in range(count):
        np.testing.assert_array_equal(dumped[f"phones_{i}"], case[f"seg{i}_phones"].ravel())
        np.testing.assert_array_equal(dumped[f"tokens_{i}"], case[f"seg{i}_tokens"].ravel())
        assert dumped[f"bert_{i}"].shape == (1024, len(dumped[f"phones_{i}"]))
        assert dumped[f"wav_{i}"].dtype == np.float32
    for batch, (index, *_) in enumerate(case.meta["batches"]):
        difference = case.compare(f"decode{batch}_wav", dumped[f"wav_{index}"])
        print(f"sentence {index}: largest difference of the wave {difference:.1e}")
        assert difference < WAVE_TOLERANCE


def test_dump_holds_bert_features(golden: Any, run: Run, voice: list[str | Path]) -> None:
    run("synth", *voice, "--text", TEXT, "--split", "cut1", "--max-tokens", "3", *DETERMINISTIC, "--dump", "out.npz")
    difference = golden.case("v2_zh_greedy").compare("seg0_bert", np.load("out.npz")["bert_0"])
    print(f"largest difference {difference:.1e}")
    assert difference < 1e-4


def test_without_reference_text(golden: Any, run: Run) -> None:
    """Upstream keeps one token more without a prompt."""
    case = golden.case("v2_noprompt")
    assert run("synth", *asked_like(case, golden), "--dump", "out.npz").code == 0
    dumped = np.load("out.npz")
    assert (len(dumped["prompt_phones"]), len(dumped["prompt_tokens"])) == (0, 0)
    tokens = dumped["tokens_0"]
    np.testing.assert_array_equal(tokens, case["seg0_tokens"].ravel()[: len(tokens)])
    assert len(tokens) == case.meta["early_stop_num"]


def test_a_pause_in_front_of_all_speech(run: Run, voice: list[str | Path]) -> None:
    text = f"[pause:0.5s]{SHORT}[pause:0.25s]"
    answer = run("synth", *voice, "--text", text, "--max-tokens", "5", *DETERMINISTIC, "--dump", "out.npz", "--json")
    assert answer.code == 0
    samples, rate = soundfile.read("out.wav", dtype="int16")
    assert not samples[: rate // 2].any()
    assert not samples[-rate // 4 :].any()
    dumped = np.load("out.npz")
    assert (len(dumped["tokens_0"]), len(dumped["tokens_1"]), dumped["bert_0"].shape) == (0, 5, (1024, 0))
    assert len(samples) == 0.75 * rate + len(dumped["wav_1"])
    assert answer.json["audio_seconds"] == len(samples) / rate


def spoken(run: Run, plain_voice: list[str | Path], *options: str) -> tuple[Any, Any]:
    """Tokens and wave of a short sentence."""
    assert run("synth", *plain_voice, "--profile", "default", "--dump", "one.npz", *options, "-q").code == 0
    dumped = np.load("one.npz")
    return dumped["tokens_0"].tolist(), dumped["wav_0"]


def test_sampling_options_reach_the_decoder(run: Run, plain_voice: list[str | Path]) -> None:
    greedy, _ = spoken(run, plain_voice, "--top-k", "1")
    drawn, wave = spoken(run, plain_voice)
    again, same_wave = spoken(run, plain_voice)
    assert drawn == again != greedy
    np.testing.assert_array_equal(wave, same_wave)
    assert spoken(run, plain_voice, "--top-p", "0.000001")[0] == greedy
    assert spoken(run, plain_voice, "--temperature", "0.00001")[0] == greedy
    assert spoken(run, plain_voice, "--seed", "1")[0] != drawn
    assert spoken(run, plain_voice, "--temperature", "3")[0] != drawn
    assert spoken(run, plain_voice, "--top-k", "1", "--repetition-penalty", "1")[0] != greedy


def test_noise_and_speed_reach_the_renderer(run: Run, plain_voice: list[str | Path]) -> None:
    tokens, plain = spoken(run, plain_voice, "--top-k", "1", "--noise-scale", "0")
    noisy_tokens, noisy = spoken(run, plain_voice, "--top-k", "1", "--noise-scale", "0.5")
    assert tokens == noisy_tokens
    assert np.abs(plain - noisy).max() > 1e-4
    _, fast = spoken(run, plain_voice, "--top-k", "1", "--speed", "2")
    assert len(fast) == pytest.approx(len(plain) / 2, abs=640)  # a frame


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_output_formats(run: Run, plain_voice: list[str | Path], suffix: str) -> None:
    name = f"out.{suffix}"
    answer = run("synth", *plain_voice, *DETERMINISTIC, "-o", name, "--json")
    assert answer.code == 0
    found = soundfile.info(name)
    assert (found.samplerate, found.channels, found.format.lower()) == (32_000, 1, suffix)
    told = answer.json
    assert set(told) == RESULT_KEYS
    assert (told["sentences"], told["device"], told["profile"], told["output"]) == (1, "cpu", "default", name)
    assert told["audio_seconds"] == pytest.approx(found.duration, abs=0.1)
    assert told["rtf"] == pytest.approx(told["wall_seconds"] / told["audio_seconds"])
    assert [path.name for path in Path().iterdir()] == [name]


def test_summary_and_quiet(run: Run, plain_voice: list[str | Path]) -> None:
    words = ("synth", *plain_voice, *DETERMINISTIC)
    told = run(*words)
    matched = SUMMARY.fullmatch(told.err)
    assert matched is not None
    assert (matched[2], told.out) == ("out.wav", "")
    assert float(matched[1]) == pytest.approx(soundfile.info("out.wav").duration, abs=0.01)
    quiet = run(*words, "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_an_earlier_file_survives_a_failure(run: Run, voice: list[str | Path]) -> None:
    Path("out.wav").write_text("mine")
    assert run("synth", *voice, "--text", SHORT, "--profile", "nobody").code == 1
    assert Path("out.wav").read_text() == "mine"


def test_upstream_config_and_folder(golden: Any, run: Run, voice: list[str | Path]) -> None:
    layout = Path("GPT_SoVITS/pretrained_models")
    (layout / "gsv-v2final-pretrained").mkdir(parents=True)
    for name, target in (
        ("t2s_v2", "gsv-v2final-pretrained/s1bert25hz-5kh-longer-epoch=12-step=369668.ckpt"),
        ("sovits_v2", "gsv-v2final-pretrained/s2G2333k.pth"),
        ("hubert", "chinese-hubert-base"),
        ("bert", "chinese-roberta-wwm-ext-large"),
    ):
        (layout / target).symlink_to(golden.checkpoint(name).resolve())
    section = {
        "bert_base_path": f"{layout}/chinese-roberta-wwm-ext-large",
        "cnhuhbert_base_path": f"{layout}/chinese-hubert-base",
        "device": "cuda",
        "is_half": True,
        "t2s_weights_path": f"{layout}/gsv-v2final-pretrained/s1bert25hz-5kh-longer-epoch=12-step=369668.ckpt",
        "version": "v2",
        "vits_weights_path": f"{layout}/gsv-v2final-pretrained/s2G2333k.pth",
    }
    config = Path("GPT_SoVITS/configs/tts_infer.yaml")
    config.parent.mkdir()
    config.write_text(yaml.safe_dump({"custom": section, "v2": section}))
    rest = [*voice[8:], "--text", SHORT, "--max-tokens", "5", *DETERMINISTIC]
    heard = {}
    for words in (voice[:8], ["--config", config], ["--models", "."], ["--models", layout]):
        assert run("synth", *words, *rest, "-q").code == 0
        heard[str(words)] = Path("out.wav").read_bytes()
    assert len(set(heard.values())) == 1


def test_text_from_everywhere(run: Run) -> None:
    Path("text.txt").write_text(f"\ufeff{SHORT}", encoding="utf-8")
    options = ("--lang", "zh", "--json")
    told = [
        run("text", SHORT, *options),
        run("text", "--text", SHORT, *options),
        run("text", "--text-file", "text.txt", *options),
        run("text", "--text", "-", *options, stdin=SHORT.encode()),
        run("text", "-", *options, stdin=SHORT.encode()),
    ]
    assert {each.code for each in told} == {0}
    assert len({each.out for each in told}) == 1


@pytest.mark.parametrize("symbols", ["v1", "v2"])
def test_text_json(golden: Any, run: Run, symbols: str) -> None:
    table = golden.text("symbols")[symbols]
    told = run("text", "我爱Python编程。", "--lang", "zh", "--symbols", symbols, "--json").json
    assert [segment["lang"] for segment in told["segments"]] == ["zh", "en", "zh"]
    for segment in told["segments"]:
        assert {"text", "lang", "norm_text", "phones", "ids", "word2ph"} <= set(segment)
        assert [table[number] for number in segment["ids"]] == segment["phones"]
        if segment["lang"] == "zh":
            assert sum(segment["word2ph"]) == len(segment["phones"])
            assert len(segment["word2ph"]) == len(segment["norm_text"])
    assert [each["segments"] for each in told["sentences"]] == [[0, 1, 2]]


def test_text_for_people(run: Run) -> None:
    answer = run("text", f"{SHORT}[pause:0.5s]再见。", "--lang", "zh")
    assert answer.code == 0
    for shown in ("今天天气真不错", "t ian1", "[pause:0.5s]"):
        assert shown in answer.out.replace("\n", "")


def test_a_dictionary_changes_the_phones(run: Run) -> None:
    Path("words.yaml").write_text("不错: bu4 cuo1\n", encoding="utf-8")
    plain = run("text", SHORT, "--lang", "zh", "--json").json
    changed = run("text", SHORT, "--lang", "zh", "--dictionary", "words.yaml", "--json").json
    differing = [
        (a, b) for a, b in zip(plain["segments"][0]["phones"], changed["segments"][0]["phones"], strict=True) if a != b
    ]
    assert differing[-1] == ("uo4", "uo1")


def test_probe(run: Run) -> None:
    told = run("probe", "--json").json
    assert told["cpu"]["arch"] in told["hw_class"] or told["hw_class"].startswith(("x86", "cuda", "rocm", "mps"))
    assert told["devices"][-1]["kind"] == "cpu"
    people = run("probe")
    assert people.code == 0
    assert told["hw_class"] in people.out


def test_profiles_can_be_listed_and_shown(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert "sovits-rt tune" in run("profile", "list").out
    assert run("profile", "list", "--json").json == {"profiles": []}
    made = profile("gpt-sovits-toy")
    path = store.save(made, selection.profile_folder())
    assert str(path).startswith(str(tmp_path))
    row = {"origin": "yours", "id": made.id, "status": "candidate", "hw_class": made.match.hw_class}
    assert run("profile", "list", "--json").json == {"profiles": [row]}
    assert made.match.hw_class in run("profile", "list").out
    for asked in (made.id, path):
        shown = run("profile", "show", asked, "--json").json
        assert (shown["id"], shown["settings"]) == (made.id, {"semantic": {"slots": 8}})
        assert yaml.safe_load(run("profile", "show", asked, "--yaml").out) == shown


@pytest.mark.parametrize(
    ("name", "kind", "facts"),
    [
        ("t2s_v1", "t2s", {"symbols": "v1"}),
        ("t2s_v2", "t2s", {"symbols": "v2"}),
        ("sovits_v1", "sovits", {"version": "v1"}),
        ("sovits_v2", "sovits", {"version": "v2"}),
        ("sovits_v2Pro", "sovits", {"version": "v2Pro"}),
        ("sovits_v2ProPlus", "sovits", {"version": "v2ProPlus"}),
        ("hubert", "hubert", {}),
        ("bert", "bert", {}),
    ],
)
def test_inspect(golden: Any, run: Run, name: str, kind: str, facts: dict[str, str]) -> None:
    path = golden.checkpoint(name)
    told = run("inspect", path, "--json").json
    assert (told["path"], told["kind"], told["supported"], told["safe"]) == (str(path), kind, True, True)
    assert told["parameters"] > 0
    assert {key: told[key] for key in facts} == facts
    assert run("inspect", path).code == 0


def test_inspect_of_a_hostile_file(run: Run) -> None:
    Path("malicious.ckpt").write_bytes(as_checkpoint(pickle.dumps(RunsCode(), protocol=2)))
    told = run("inspect", "malicious.ckpt", "--json").json
    assert (told["safe"], told["supported"], Path("executed").exists()) == (False, False, False)


@pytest.mark.parametrize(
    "command", ["", "synth", "text", "tune", "probe", "profile", "profile list", "inspect", "monitor"]
)
def test_help(run: Run, command: str) -> None:
    answer = run(*command.split(), "--help")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"Usage: sovits-rt {command}".rstrip())
    assert run("--version").out.startswith("sovits-rt, version ")


# The first run on a machine.


@pytest.fixture
def fresh(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_voice: list[str | Path]) -> list[str | Path]:
    """A synth command on a machine without profiles."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return ["synth", *plain_voice, "--top-k", "1", "-o", "out.wav"]


def declined() -> str:
    path = selection.profile_folder() / "declined.yaml"
    return path.read_text() if path.exists() else ""


def test_no_tune(run: Run, fresh: list[str | Path]) -> None:
    answer = run(*fresh, "--no-tune")
    assert (answer.code, declined()) == (0, "")
    assert "profile default -> out.wav" in answer.err
    assert "the defaults are used" in answer.err


@pytest.mark.parametrize(
    ("failure", "noted"),
    [(KeyboardInterrupt(), "interrupted"), (SearchError("The budget was over; give more time."), "budget was over")],
)
def test_unfinished_tuning_is_remembered_and_speech_comes(
    run: Run, fresh: list[str | Path], monkeypatch: pytest.MonkeyPatch, failure: BaseException, noted: str
) -> None:
    begun = []

    def fail(*_: object, **__: object) -> None:
        begun.append(declined())
        raise failure

    monkeypatch.setattr(synth, "tune_and_store", fail)
    for _ in range(2):
        answer = run(*fresh)
        assert answer.code == 0
        assert "profile default -> out.wav" in answer.err
    assert len(begun) == 1
    assert "did not end" in begun[0]
    assert noted in declined()


def test_tuning_that_failed_for_a_bad_model_is_not_remembered(
    run: Run, fresh: list[str | Path], golden: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise TrialError("The default settings do not run.")

    monkeypatch.setattr(synth, "tune_and_store", fail)
    content = torch.load(golden.checkpoint("t2s_v2"), weights_only=True)
    content["weight"]["model.ar_predict_layer.weight"][0, 0] = float("nan")
    torch.save(content, "nan.ckpt")
    answer = run(*fresh, "--gpt", "nan.ckpt")
    assert answer.code == 1
    assert answer.err.splitlines()[-1].startswith("sovits-rt: nan.ckpt has NaN or infinite values in")
    assert "the default settings do not run" not in declined().lower()
    assert not Path("out.wav").exists()


def test_a_home_that_can_not_be_written_costs_tuning_only(run: Run, fresh: list[str | Path], tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    answer = run(*fresh)
    assert answer.code == 0
    assert "Not tuned, since the answer could not be kept" in answer.err
    assert Path("out.wav").exists()


def test_damaged_local_profile(run: Run, fresh: list[str | Path]) -> None:
    folder = selection.profile_folder()
    folder.mkdir(parents=True)
    (folder / "old.yaml").write_text("schema: 1\nid: [")
    answer = run(*fresh)
    assert answer.code == 1
    assert answer.err.count("\n") == 1
    assert "old.yaml can't be used: it is not valid YAML (line 2); delete the file or tune again." in answer.err
    assert not Path("out.wav").exists()
    assert run(*fresh, "--profile", "default").code == 0


def test_own_profile_and_set(run: Run, fresh: list[str | Path], monkeypatch: pytest.MonkeyPatch, golden: Any) -> None:
    monkeypatch.setattr(synth, "probe", lambda: HERE)
    shape = preview(golden.checkpoint("t2s_v2"), golden.checkpoint("sovits_v2")).shape
    made = profile(subject_name(shape), settings={"semantic": {"slots": 8}})
    store.save(made, selection.profile_folder())
    told = run(*fresh, "--json").json
    assert told["profile"] == made.id == profile_id(made.match.facts, subject_name(shape), "throughput")
    told = run(*fresh, "--json", "--set", "semantic.slots=2").json
    assert told["profile"] == f"{made.id} + semantic.slots=2"


# From outside, in a process of its own.


def outside(*words: str | Path, **options: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "sovits_rt", *(str(word) for word in words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_raw_sound_into_a_pipe(run: Run, plain_voice: list[str | Path]) -> None:
    words = ["synth", *plain_voice, "--noise-scale", "0", "--top-k", "1", "--profile", "default"]
    sound, told = outside(*words, "-o", "-", "--json").communicate(timeout=120)
    assert json.loads(told.decode().splitlines()[-1])["output"] == "standard output"
    assert run(*words, "-o", "out.wav").code == 0
    expected, _ = soundfile.read("out.wav", dtype="int16")
    difference = np.abs(np.frombuffer(sound, "<i2").astype(int) - expected).max()
    print(f"largest difference {difference}")
    assert difference <= 1  # the number of threads may differ between the two processes


def test_first_run_tunes_once(fresh: list[str | Path], run: Run) -> None:
    running = outside(*fresh, "--tune-budget", "20", "--json")
    out, err = running.communicate(timeout=150)
    print(err.decode())
    assert running.returncode == 0
    assert "measuring how it runs them best, at most 20 s, once" in err.decode()
    (path,) = store.files(selection.profile_folder())
    assert json.loads(out)["profile"] == path.stem == store.load(path).id
    assert path.stem not in declined()
    assert Path("out.wav").exists()
    assert run(*fresh, "--json").json["profile"] == path.stem  # here tuning would fail the test


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a process group")
def test_interrupted_first_run_speaks_and_remembers(fresh: list[str | Path], run: Run) -> None:
    running = outside(*fresh, "--tune-budget", "60", start_new_session=True)
    assert running.stderr is not None
    for line in running.stderr:
        if b"usable cores" in line:  # the default settings are being measured now
            break
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=120)
    print(err.decode())
    assert (running.returncode, out) == (0, b"")
    assert b"Traceback" not in err
    assert b"profile default -> out.wav" in err
    assert Path("out.wav").exists()
    assert declined()
    assert run(*fresh).code == 0  # here tuning would fail the test


def test_a_reader_that_leaves(run: Run) -> None:
    running = outside("text", "Hello there. " * 500, "--lang", "en")
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    err = running.stderr.read()
    running.stderr.close()
    assert (running.wait(timeout=60), err) == (1, b"")
