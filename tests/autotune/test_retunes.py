"""The summary of live re-tunings, and that what is on disk is not measured again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from toy_subject import toy_machine

from autotune import knobs
from benchmarks import retunes
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.settings import SemanticSettings, Settings

PATHS = ModelPaths(gpt=Path("gpt.ckpt"), sovits=Path("sovits.pth"))


def row(condition: str, slots: int) -> dict[str, Any]:
    settings = knobs.dump(Settings(semantic=SemanticSettings(slots=slots)))
    return {"condition": condition, "settings": settings, "status": "verified", "ratio": [0.9, 0.88, 0.92]}


def key(slots: int) -> str:
    return knobs.convert.digest(row("", slots)["settings"])


def test_the_summary_counts_by_condition():
    rows = [row("quiet", 8), row("quiet", 8), row("quiet", 16), row("busy", 8), row("busy", 1)]
    ratios: Mapping[str, Any] = {
        key(8): {"ratio": [1.0, 1.0, 1.0]},
        key(16): {"ratio": [1.01, 0.99, 1.03]},
        key(1): {"ratio": [1.2, 1.15, 1.25]},
    }
    assert retunes.most_frequent(rows) == key(8)
    found = retunes.summary(rows, ratios)
    assert found["quiet"] == {"tunings": 3, "identical": 2, "within 2 %": 3, "not surely different by 2 %": 3}
    assert found["busy"] == {"tunings": 2, "identical": 1, "within 2 %": 1, "not surely different by 2 %": 1}


def test_settings_that_broke_when_they_were_compared_are_not_close():
    rows = [row("quiet", 8), row("busy", 1)]
    broken = {key(8): {"ratio": [1.0, 1.0, 1.0]}, key(1): {"ratio": None, "outcome": "crashed"}}
    assert retunes.summary(rows, broken)["busy"]["within 2 %"] == 0


def test_what_is_there_is_not_measured_again(tmp_path: Path):
    """With checkpoints that do not exist, measuring would fail."""
    done = tmp_path / "quiet-0.json"
    done.write_text(json.dumps(row("quiet", 8)))
    assert retunes.tuned(done, PATHS, "quiet", 0) == row("quiet", 8)
    done.write_text(json.dumps({"ratio": [1, 1, 1]}))
    assert retunes.compared(done, PATHS, "throughput", {}, {}) == {"ratio": [1, 1, 1]}


def test_one_core_is_busy_as_long_as_it_is_meant_to_be():
    before = set(psutil.Process().children())
    with retunes.one_core_busy():
        (other,) = set(psutil.Process().children()) - before
        assert other.is_running()
    assert not other.is_running()


def test_the_control_of_a_comparison_is_the_other_decision():
    chosen = Settings(semantic=SemanticSettings(slots=8))
    arguments = {"gpt": "g", "sovits": "s", "shape": "24x512-512", "brief": False, "scenario": "latency"}
    subject = retunes.Against(knobs.dump(chosen), **arguments)
    assert subject.default(toy_machine()) == chosen
    assert subject.scenario == "latency"
    with pytest.raises(TypeError):
        retunes.Against(knobs.dump(chosen), colour="red")
