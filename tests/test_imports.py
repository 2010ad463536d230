"""What an import may load, asked of fresh processes."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "optuna",
    "onnxruntime",
    "transformers",
    "tokenizers",
    "jieba",
    "nltk",
    "pypinyin",
    "sqlalchemy",
    "pocketsphinx",
    "jiwer",
)
SCRIPT = """
import json, os, sys, threading
before, environment = set(sys.modules), dict(os.environ)
import {name}
print(json.dumps({{
    "loaded": sorted(set(sys.modules) - before),
    "threads": threading.active_count(),
    "same environment": dict(os.environ) == environment,
}}))
"""


def imported(name):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT.format(name=name)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)  # and so nothing else was printed
    assert done.stderr == ""
    assert found["threads"] == 1
    assert found["same environment"]
    return set(found["loaded"])


@pytest.mark.parametrize(
    "name",
    [
        "sovits_rt",
        "sovits_rt.cli.main",
        "sovits_rt.bundled",
        "sovits_rt.settings",
        "sovits_rt.selection",
        "sovits_rt.tuning",
        "sovits_rt.text",
    ],
)
def test_light_modules_load_nothing_heavy(name):
    assert not imported(name) & set(HEAVY)


def test_the_engine_loads_torch_but_no_tuner_and_no_language():
    loaded = imported("sovits_rt.engine")
    assert "torch" in loaded
    assert not loaded & {"optuna", "onnxruntime", "transformers", "jieba", "nltk", "pypinyin", "sqlalchemy"}


def test_the_package_itself_is_almost_nothing():
    foreign = {name.split(".")[0] for name in imported("sovits_rt")} - set(sys.stdlib_module_names)
    assert foreign == {"sovits_rt"}


def test_autotune_is_light():
    assert {name.split(".")[0] for name in imported("autotune")} - set(sys.stdlib_module_names) == {"autotune"}
    assert not imported("autotune.probe") & {*HEAVY, "numpy"}
    assert not imported("autotune.store") & {*HEAVY, "numpy"}


def test_only_the_search_loads_optuna():
    assert "optuna" not in imported("autotune.arena")
    assert "optuna" in imported("autotune.search")


def test_the_command_line_starts_soon():
    """--help loads no network; a generous bound for slow machines."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "sovits_rt", "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert done.returncode == 0
    modules = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not modules & set(HEAVY)
