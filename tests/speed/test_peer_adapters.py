"""What can be said of the adapters without the peers: they start, refuse, and stand in for what is missing."""

import json
import subprocess
import sys

import pytest

from benchmarks.contestants import PEERS, Contestant, ContestantError, Entry, peer_command, peer_kinds

KINDS = ("cpufast", "genie", "lite", "upstream")


def test_there_are_these():
    assert peer_kinds() == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_option_is_refused(kind, tmp_path):
    command = peer_command(kind, sys.executable, tmp_path, "turbo")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.startswith("The option 'turbo' is not known here")


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_checkout_is_an_error_and_no_crash(kind, tmp_path):
    entry = Entry(kind, peer_command(kind, sys.executable, tmp_path, ""), {}, {}, peer=True)
    (tmp_path / "genie-v2").mkdir()
    (tmp_path / "genie-v2" / "vits_fp32.onnx").touch()
    models = {"gpt": "a", "sovits": "b", "version": "v2", "threads": 1, "cache": str(tmp_path)}
    with Contestant(entry) as contestant, pytest.raises(ContestantError, match="could not prepare"):
        contestant.ask("prepare", {"work": str(work(tmp_path)), **models})


def work(folder):
    import numpy as np

    path = folder / "work.npz"
    np.savez(path, phones=np.zeros((1, 1), np.int64))
    return path


def test_packages_that_are_not_there_are_stood_in_for():
    body = (
        "import json; from _standins import stand_in; missing = stand_in(['json', 'nothere'])\n"
        "import nothere.deep.down; from nothere.deep import Thing\n"
        "class Own(Thing): pass\n"
        "Own(1, two=2).three(4).five; nothere.setUp('x')\n"
        "print(json.dumps(missing))"
    )
    done = subprocess.run([sys.executable, "-c", body], cwd=PEERS, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["nothere"]


def test_no_adapter_imports_this_project():
    for path in PEERS.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "import sovits_rt" not in text
        assert "from sovits_rt" not in text
        assert "autotune" not in text
