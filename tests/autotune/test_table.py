"""Spaces as data, tables on disk, and a grid that is recorded from live processes, killed, and gone on with."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import toy_subject
from sample_settings import Exported, Settings, machine
from test_arena import RULES
from toy_subject import Speed

from autotune import grid, knobs, table
from autotune.errors import KnobError, SearchError
from autotune.knobs import frozen
from autotune.measure import Outcome
from autotune.subject import SubjectName

NAME = SubjectName("toy_subject:Toy", {"kind": "speed"})
MACHINE = toy_subject.toy_machine()


def recorded(path: Path, **options: Any) -> table.Table:
    return grid.record(NAME, MACHINE, path, pairs=3, rules=RULES, **options)


@pytest.mark.parametrize("here", [machine(), machine(cores=1), machine(gpu="sm_90")])
def test_a_space_survives_as_data(here: Any):
    default = knobs.default(Settings)
    space = json.loads(json.dumps(frozen.freeze(default, here)))
    thawed = frozen.thaw(space)
    assert knobs.flatten(knobs.default(thawed)) == knobs.flatten(default)
    assert knobs.size(thawed, here) == knobs.size(Settings, here)
    assert frozen.freeze(knobs.default(thawed), here) == space
    inexact = [[each.path for each in knobs.walk(kind) if not each.exact] for kind in (thawed, Settings)]
    assert inexact[0] == inexact[1] != []


def test_a_grid_holds_every_setting_once():
    here = machine(cores=2)
    space = frozen.freeze(knobs.default(Settings), here)
    for path, values in {"vocoder.slots": "4", "decoder.slots": "8", "process.window": "128,256"}.items():
        space = frozen.restrict(space, path, values.split(","))
    kind = frozen.thaw(space)
    found = list(grid.every(kind, here))
    assert len(found) == len({knobs.key(each) for each in found}) == knobs.size(kind, here)
    assert {knobs.flatten(each)["process.window"] for each in found} == {128, 256}
    for each in found[:50]:
        assert knobs.flatten(knobs.load(Settings, knobs.dump(each), here)) == knobs.flatten(each)


def test_a_knob_inside_a_plugin_can_be_restricted():
    here = machine(gpu="sm_90")
    base = knobs.override(knobs.default(Settings), "decoder.backend=exported")
    assert base.decoder.backend == Exported(3)
    space = frozen.restrict(frozen.freeze(base, here), "decoder.backend.exported.level", ["3", "9"])
    levels = {
        knobs.flatten(each)["decoder.backend.exported.level"]
        for each in grid.every(frozen.thaw({"decoder": space["decoder"]}), here)
        if knobs.flatten(each)["decoder.backend"] == "exported"
    }
    assert levels == {3, 9}


@pytest.mark.parametrize(
    ("path", "values", "words"),
    [
        ("process.window", ["128"], "expected some of 128, 256, 512, among them 256"),
        ("process.window", ["256", "300"], "got 256, 300"),
        ("proces.window", ["256"], "did you mean 'process'"),
        ("decoder.backend.nothing.level", ["3"], "no such knob"),
    ],
)
def test_a_restriction_that_does_not_fit_is_refused(path: str, values: list[str], words: str):
    with pytest.raises(KnobError, match=words):
        frozen.restrict(frozen.freeze(knobs.default(Settings), machine()), path, values)


def test_a_damaged_space_is_refused():
    for space in ({"a": {"choice": [1, 2]}}, {"a": {}}, {"a": {"range": [1], "default": 1}}, {"a": 3}):
        with pytest.raises(KnobError, match=r"can't be understood|outside of the domain"):
            frozen.thaw(space)


def test_a_small_grid_is_recorded_and_gone_on_with(tmp_path: Path):
    """Killed once, torn at the end, gone on with: every setting is there, nothing twice, nothing lost."""
    path = tmp_path / "toy.jsonl"
    script = f"""
import sys; sys.path[:] = {sys.path!r}
from pathlib import Path
import test_table
test_table.recorded(Path({str(path)!r}), starts=1, only={{"spare": ["0", "2"]}})
"""
    with subprocess.Popen([sys.executable, "-c", script]) as running:
        deadline = time.monotonic() + 120
        while not path.exists() or path.read_text().count('"row"') < 4:
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
    before = table.read(path)
    with path.open("a") as file:
        file.write('{"row": {"settings": {"bl')
    assert table.read(path).rows == before.rows
    seen: list[str] = []
    after = recorded(path, starts=1, only={"spare": ["0", "2"]}, on_row=lambda *each: seen.append(each[2].outcome))
    assert after.rows[: len(before.rows)] == before.rows
    assert len(after.rows) == len(before.rows) + len(seen)
    measured = [key for key in after.by_key if key != knobs.key(after.default)]
    assert len(measured) == 7
    assert all(len(after.by_key[key]) == 1 for key in measured)
    rejected = [row for row in after.rows if row.outcome is Outcome.REJECTED]
    assert {row.reason for row in rejected} == {"this spare is never used"}
    assert len(rejected) == 4
    works = {key for key, (row, *_) in after.by_key.items() if row.comparable}
    print("log-ratios:", sorted(round(each, 2) for each in after.truth.values()))
    assert after.truth.keys() == works
    assert after.truth[knobs.key(after.default)] == 0.0
    packed = table.pack(path)
    assert table.read(packed) == after
    assert recorded(path, starts=1, only={"spare": ["0", "2"]}) == after  # nothing is left to do


def test_a_list_of_settings_can_be_recorded(tmp_path: Path):
    found = recorded(tmp_path / "toy.jsonl", starts=2, listed=[Speed(block=2048)])
    (rows,) = [rows for key, rows in found.by_key.items() if key != knobs.key(found.default)]
    assert [(row.settings, row.start, row.outcome) for row in rows] == [
        ({"block": 2048}, 0, Outcome.OK),
        ({"block": 2048}, 1, Outcome.OK),
    ]
    assert all(len(row.log_ratios) == 3 == len(row.control_seconds) for row in rows)
    assert [gate.name for gate in rows[0].gates] == ["finite", "close"]
    with pytest.raises(SearchError, match="another pairs"):
        grid.record(NAME, MACHINE, tmp_path / "toy.jsonl", pairs=4, rules=RULES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense\n", "no line of a table"),
        ('{"row": {"settings": {}, "start": 0, "outcome": "ok"}}\n', "no header"),
        ('{"header": {"subject": "x"}}\n', "the key 'target' is missing"),
        ("", "no header"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, text: str, words: str):
    path = tmp_path / "table.jsonl"
    path.write_text(text)
    with pytest.raises(SearchError, match=words):
        table.read(path)


def test_a_table_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(SearchError, match="can't be read as a table"):
        table.read(tmp_path / "table.jsonl")
    (tmp_path / "table.jsonl.xz").write_bytes(b"no archive")
    with pytest.raises(SearchError, match="can't be read as a table"):
        table.read(tmp_path / "table.jsonl.xz")
