"""`synth --stats` and `monitor`, through the entry point."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from running import Answer, Run

pytest.importorskip("nltk")

STAGES = {"load", "text", "reference", "features", "prefill", "decode", "vocoder", "output"}
STOPPED = re.compile(r"(limit|Nothing|held down).*\.$")


@pytest.fixture
def spoken(golden: Any) -> list[str | Path]:
    """English and prompt-free: two models less to load."""
    models = ["--gpt", golden.checkpoint("t2s_v2"), "--sovits", golden.checkpoint("sovits_v2")]
    voice = ["--hubert", golden.checkpoint("hubert"), "--ref", golden.wav("en_44k"), "--lang", "en"]
    return ["synth", *models, *voice, "Hello there my friend.", "--max-tokens", "8", "--profile", "default"]


def lines(answer: Answer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.out.splitlines()]


def test_stats_change_no_sound_and_say_everything(run: Run, spoken: list[str | Path]) -> None:
    plain = run(*spoken, "-o", "plain.wav", "--json")
    timed = run(*spoken, "-o", "timed.wav", "--json", "--stats")
    assert (plain.code, timed.code) == (0, 0)
    assert Path("plain.wav").read_bytes() == Path("timed.wav").read_bytes()
    assert set(timed.json) == {*plain.json, "stats"}
    told = timed.json["stats"]
    assert {each["stage"] for each in told["stages"]} == STAGES
    assert (told["device"], told["device_peak_bytes"], told["usage"]["devices"]) == ("cpu", None, [])
    assert sum(told["busy_seconds"].values()) + told["other_seconds"] == pytest.approx(told["wall_seconds"], rel=0.05)
    assert told["decoding"]["tokens"] == 8
    assert told["decoding"]["tokens_per_second"] == pytest.approx(8 / told["busy_seconds"]["decode"])
    assert 0 < told["first_audio_seconds"] <= timed.json["wall_seconds"] < told["wall_seconds"]
    assert told["audio_seconds"] == timed.json["audio_seconds"]
    assert told["usage"]["peak_memory_bytes"] > 1e8
    assert told["roofline"]["bandwidth"] > 0
    assert told["sampling_seconds"] < 0.1 * told["wall_seconds"]
    assert told["limit"].endswith(".")


def test_stats_for_people(run: Run, spoken: list[str | Path]) -> None:
    answer = run(*spoken, "-o", "out.wav", "--stats", "--stats-sync", "-q")
    assert (answer.code, answer.out) == (0, "")
    for shown in (*STAGES, "other", "in all", "first audio", "tokens/s", "peak", "cores"):
        assert shown in answer.err
    assert STOPPED.search(answer.err.rstrip().splitlines()[-1])


def test_without_stats_nothing_is_shown(run: Run, spoken: list[str | Path]) -> None:
    answer = run(*spoken, "-o", "out.wav")
    assert answer.code == 0
    assert answer.err.count("\n") <= 2
    assert "vocoder" not in answer.err


def test_monitor_of_a_command(run: Run) -> None:
    code = "import time; block = bytearray(50_000_000); time.sleep(1.5); raise SystemExit(7)"
    answer = run("monitor", "--json", "--", sys.executable, "-c", code)
    assert answer.code == 7
    *readings, summary = lines(answer)
    assert {each["kind"] for each in readings} == {"reading"}
    assert summary["kind"] == "summary"
    assert readings[0]["at_seconds"] >= 1
    assert all(0 <= share <= 1 for each in readings for share in each["cores"])
    assert max(each["memory_bytes"] for each in readings) > 50e6
    assert summary["peak_memory_bytes"] > 50e6
    assert summary["seconds"] >= readings[-1]["at_seconds"]
    assert summary["limit"].endswith(".")


def test_monitor_of_a_short_command(run: Run) -> None:
    """Shorter than an interval: the summary still counts its work."""
    code = "import time\nwhile time.process_time() < 0.4: pass"
    answer = run("monitor", "--json", sys.executable, "-c", code)
    assert answer.code == 0
    summary = lines(answer)[-1]
    assert summary["own_cores"] * summary["seconds"] > 0.2


def test_plain_lines_without_a_terminal(run: Run) -> None:
    answer = run("monitor", "--", sys.executable, "-c", "import time; time.sleep(1.2)")
    assert answer.code == 0
    first, *rest = answer.out.splitlines()
    assert re.match(r" +\d+ s  cores \[.+\] \d\.\d\d own \d+\.\d\d others  memory \d", first)
    assert any(line.startswith("peak memory: ") for line in rest)
    assert STOPPED.search(rest[-1])


def outside(*words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "sovits_rt", "monitor", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_ends_with_the_sentence() -> None:
    """The watched process goes on."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as watched:
        monitor = outside("--pid", str(watched.pid))
        assert monitor.stdout is not None
        assert "cores [" in monitor.stdout.readline()
        monitor.send_signal(signal.SIGINT)
        out, err = monitor.communicate(timeout=60)
        assert (monitor.returncode, err) == (0, "")
        assert STOPPED.search(out.rstrip().splitlines()[-1])
        assert watched.poll() is None
        watched.communicate(b"\n")


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a process group")
def test_ctrl_c_reaches_the_command_too() -> None:
    """What it writes to standard output goes to standard error; its exit code is passed on."""
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(9))\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.05)"
    )
    monitor = outside("--json", "--", sys.executable, "-c", code)
    assert monitor.stderr is not None
    assert monitor.stdout is not None
    assert monitor.stderr.readline() == "ready\n"
    assert json.loads(monitor.stdout.readline())["kind"] == "reading"
    os.killpg(monitor.pid, signal.SIGINT)
    out, err = monitor.communicate(timeout=60)
    assert (monitor.returncode, err) == (9, "")
    assert json.loads(out.splitlines()[-1])["kind"] == "summary"


def test_a_process_that_ends_ends_the_monitor() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as watched:
        monitor = outside("--json", "--pid", str(watched.pid))
        assert monitor.stdout is not None
        assert json.loads(monitor.stdout.readline())["kind"] == "reading"
        watched.communicate(b"\n")
        out, err = monitor.communicate(timeout=60)
    assert (monitor.returncode, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["kind"] == "summary"
