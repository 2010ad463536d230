"""The benchmark's commands: what they refuse, and a run on the small checkpoints."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from autotune.probe import probe
from benchmarks import outcome, session, speed
from benchmarks.field import parse_ours
from benchmarks.speed import every_setting, main, written

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = str(ROOT)


def run(*words):
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["one-user", "--peer", "genie"], "'genie' is not NAME=PATH"),
        (["one-user", "--peer", f"turbo={HERE}"], "no adapter for 'turbo'; there are cpufast, genie, lite, upstream"),
        (["one-user", "--upstream", "nowhere"], "nowhere is no folder"),
        (["one-user", "--peer", f"lite={HERE}", "--peer", f"lite={HERE}"], "given twice"),
        (["one-user", "--peer-python", "genie"], "not NAME=PATH"),
        (["ablation", "--upstream", HERE], "leave the peers out"),
        (["growth", "--upstream", HERE], "leave the peers out"),
        (["stages", "--batch", "0"], "0 is not in the range"),
        (["one-user", "--model-version", "v3"], "'v3' is not one of"),
        (["one-user", "--set", "semantic.slots"], "not KNOB=VALUE"),
        (["show", "nowhere.json"], "nowhere.json can't be read"),
    ],
)
def test_wrong_use_gets_one_sentence(words, said):
    result = run(*words)
    assert result.exit_code in (1, 2)
    assert said in " ".join(result.output.split())


def test_ours_lines():
    assert parse_ours("fast:semantic.slots=8, semantic.precision=bf16") == (
        "fast", ("semantic.slots=8", "semantic.precision=bf16"),
    )  # fmt: skip
    assert parse_ours("tuned") == ("tuned", ())


@pytest.mark.parametrize("text", ["", "plain:semantic.slots=8", "fast:semantic.slots", ":a=b"])
def test_ours_lines_that_are_none(text):
    result = run("one-user", "--size", "small", "--ours", text)
    assert result.exit_code == 2
    assert "not NAME:KNOB=VALUE" in " ".join(result.output.split())


def test_an_ablation_tries_every_value_of_every_knob():
    lines = every_setting(probe())
    assert "semantic.precision bf16:semantic.precision=bf16" in lines
    assert "semantic.slots 1:semantic.slots=1" in lines
    assert not [line for line in lines if "compiled" in line]
    assert len(set(lines)) == len(lines)
    for line in lines:
        parse_ours(line)
    assert every_setting(probe(), groups=["semantic"]) == [line for line in lines if line.startswith("semantic")]


@pytest.mark.parametrize("count", speed.GROWTH)
def test_a_text_has_the_length_asked_for(count):
    assert count <= len(written(count)) + 1 < count + 300


def test_every_command_is_in_the_readme():
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    for name, command in main.commands.items():
        assert f"python -m benchmarks.speed {name}" in text
        assert command.help


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """Stages of the small checkpoints, in 16-bit floats beside the reference."""
    folder = tmp_path_factory.mktemp("smoke")
    result = run(
        "stages", "--size", "small", "--weights", str(folder / "weights"), "--only", "decode", "--only", "render",
        "--batch", "2", "--rounds", "2", "--budget", "1", "--ours", "half:acoustic.precision=bf16",
        "--out", str(folder), "--label", "half",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_a_run_leaves_its_results(smoke):
    folder, printed = smoke
    found = outcome.read(folder / "stages-v2-half.json")
    assert [each.name for each in found.contestants] == ["plain", "half"]
    assert found.contestants[1].settings == {"acoustic.precision": "bf16"}
    assert all(len(line.samples) == 2 and line.median > 0 for line in found.lines)
    checks = {(line.figure, line.contestant): line.check for line in found.lines}
    assert checks["T2S, batch 2", "half"].exact
    assert checks["vocoder", "half"].snr_db > 15
    assert not checks["vocoder", "half"].exact
    assert "better than plain" in printed
    print(checks["vocoder", "half"].text)


def test_results_are_plain_json(smoke):
    data = json.loads((smoke[0] / "stages-v2-half.json").read_text(encoding="utf-8"))
    assert data["schema"] == outcome.SCHEMA
    assert {"machine", "software", "conditions", "date", "contestants", "lines", "model", "command"} < data.keys()


def test_results_are_shown_again(smoke):
    shown = run("show", str(smoke[0] / "stages-v2-half.json"))
    assert shown.exit_code == 0
    assert "T2S, batch 2" in shown.output


def test_without_matplotlib_there_is_no_picture(smoke, monkeypatch):
    found = outcome.read(smoke[0] / "stages-v2-half.json")

    def none(*_):
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")

    assert session.draw(found, smoke[0] / "x.json", none) is None
