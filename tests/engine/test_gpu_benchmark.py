"""The benchmark of GPUs does all of its work on a CPU with tiny networks; its figures there mean nothing."""

import json
from dataclasses import asdict, replace

import pytest
from click.testing import CliRunner
from replaying import Replays

from benchmarks import gpu
from benchmarks.gpu_work import FULL, PLAIN, ROWS, WAYS, Ways, Work
from sovits_rt.backends import _recording
from sovits_rt.backends.cudagraph import CudaGraph

TINY = replace(
    FULL,
    phones=9,
    prompt_phones=4,
    prompt_tokens=5,
    tokens=3,
    many=2,
    long=2,
    characters=(1, 2, 2),
    sentence_characters=1,
    batch=2,
    batch_characters=1,
    first_tokens=2,
    compared_sentences=2,
    compared_tokens=4,
)


@pytest.fixture
def paths(speaker):
    case = speaker.pack.case("v2_zh_greedy")
    return replace(speaker.paths(case), hubert=None, bert=None)


@pytest.fixture(autouse=True)
def graphs_on_the_cpu(monkeypatch):
    monkeypatch.setattr(_recording, "CudaRecorder", Replays)
    monkeypatch.setattr(CudaGraph, "devices", ("cpu",))


def test_every_row_is_measured_beside_its_comparison(paths, monkeypatch):
    monkeypatch.setattr(Ways, "forget", lambda _: None)  # loading is what takes the time here
    names = (PLAIN, "graphs fp32")
    found = gpu.run({"device": "none"}, [Ways("v2", paths, "cpu", names)], Work(TINY), rounds=1, warm_ups=1)
    print(found.table())
    assert [(each.row, each.way) for each in found.figures] == [(row.name, name) for row in ROWS for name in names]
    assert all(len(each.samples) == len(each.warm_ups) == 1 and each.samples[0] > 0 for each in found.figures)
    checks = found.checks["v2"]
    assert all(checks[name]["exact"] for name in names), checks
    assert json.loads(json.dumps(asdict(found)))["figures"][0]["goals"] == "1,800; 3,000"


def test_every_way_is_compared(paths):
    """Those in half precision are not exact; how far they are is told."""
    checks = gpu.compared(Work(TINY), Ways("v2", paths, "cpu"))
    for name, check in checks.items():
        print(f"{name}: {check['sentence']}")
        assert check["exact"] == name.endswith("fp32")
    assert set(checks) == set(WAYS)
    assert 10 < checks["graphs bf16"]["signal_to_noise_decibels"] < 90


def test_a_difference_is_told(paths):
    """Of tokens, logits or waves, whichever it is."""
    work, ways = Work(TINY), Ways("v2", paths, "cpu", (PLAIN,))
    reference = work.outputs(ways.engine(PLAIN))
    assert work.comparison(reference, reference)["exact"]
    for key, change in (("tokens", 1), ("logits", 1.0), ("wave", 0.01), ("together", 0.01)):
        changed = {**reference, key: reference[key] + change}
        assert not work.comparison(reference, changed)["exact"], key


def test_without_a_gpu_it_says_so_and_ends_with_1(monkeypatch, recorded_machine):
    monkeypatch.setattr(gpu, "probe", lambda: recorded_machine("epyc_7763_dual"))
    result = CliRunner().invoke(gpu.main, [])
    print(result.output)
    assert result.exit_code == 1
    assert "torch can use none here" in result.output
    assert len(result.output.strip().splitlines()) == 1
