"""SIGKILL at random moments of a real tuning; the long run is `python -m benchmarks.kills`."""

import sys

import numpy as np
import pytest

from autotune.subject import SubjectName
from benchmarks.kills import Result, killed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker notices its session's end later")


def check(result: Result, kills: int) -> None:
    waited = np.array(result.resume_seconds)
    print(
        f"{result.parents} sessions and {result.workers} workers killed, {result.acknowledged} trials acknowledged; "
        f"resumed in {np.median(waited):.2f} s (median of {waited.size}, worst {waited.max():.2f} s)"
    )
    assert result.kills == kills
    assert result.parents > 0
    assert result.workers == result.survived + result.ended > 0
    assert result.acknowledged > 0
    assert (result.lost, result.orphans) == (0, 0)
    assert max(result.resume_cpu_seconds) < 20.0  # loose: it is measured by the benchmark


def test_a_few_kills_lose_nothing_and_leave_nobody():
    check(killed(SubjectName("toy_subject:Toy", {"kind": "many"}), kills=6, seed=2), kills=6)


@pytest.mark.full
def test_a_hundred_kills_lose_nothing_and_leave_nobody():
    check(killed(SubjectName("toy_subject:Toy", {"kind": "many"}), kills=100, seed=0), kills=100)
