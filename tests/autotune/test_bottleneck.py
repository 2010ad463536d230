"""Every sentence about what limits, from made-up facts."""

import re
from dataclasses import replace

import pytest

from autotune.bottleneck import GPU_LOW, limit, low_use, outside
from autotune.devices import DeviceUsage
from autotune.usage import Usage

QUIET = Usage(
    seconds=10.0,
    cores=(0.1, 0.1, 0.1, 0.1),
    own_cores=0.1,
    foreign_cores=0.3,
    stolen_share=0.0,
    throttled_share=0.0,
    queued_threads=0.0,
    voluntary_switches=100,
    involuntary_switches=1,
    threads=4,
    memory_bytes=10**9,
    peak_memory_bytes=10**9,
    devices=(),
)
GPU = DeviceUsage("cuda", 0, "Card", busy=0.02, memory_busy=0.01)
FULL = replace(QUIET, cores=(1.0, 1.0, 0.9, 0.95), own_cores=1.8, foreign_cores=2.05, queued_threads=2.0)
CASES = {
    "The container's CPU quota limits: it held the process back for 20%": replace(QUIET, throttled_share=0.2),
    "The host limits: other virtual machines took 8%": replace(QUIET, stolen_share=0.08),
    "Other programs limit: they kept 2.0 of the 4 cores busy and left 1.8": FULL,
    "Card is held down by heat while it is 95% busy": replace(
        QUIET, devices=(replace(GPU, busy=0.95, held_back="heat"),)
    ),
    "Card limits, memory-bandwidth-bound: 95% busy, its memory in use 70%": replace(
        QUIET, devices=(replace(GPU, busy=0.95, memory_busy=0.7),)
    ),
    "Card limits, compute-bound: it ran kernels 95%": replace(QUIET, devices=(replace(GPU, busy=0.95),)),
    "The processor limits: 3.8 of 4 usable cores": replace(QUIET, own_cores=3.8, foreign_cores=0.1),
    "The processor limits, launch-bound: 1.0 of 4 cores prepare work that Card": replace(
        QUIET, own_cores=1.0, devices=(GPU,)
    ),
    "The number of threads limits: 1.0 of 4": replace(QUIET, own_cores=1.0),
    "Nothing is used fully: 0.5 of 4 cores": replace(QUIET, own_cores=0.5),
    "Nothing limits: the program mostly waits for work and used 0.10 cores": QUIET,
}


@pytest.mark.parametrize("start", CASES)
def test_every_sentence(start: str) -> None:
    sentence = limit(CASES[start], usable_cores=4)
    print(sentence)
    assert sentence.startswith(start)
    assert sentence.endswith(".")
    assert not re.search(r"[.!?] +[A-Z]", sentence), "one sentence"


def test_the_only_core() -> None:
    assert (
        limit(replace(QUIET, own_cores=0.95), 1)
        == "The processor limits: its one usable core is busy with this program."
    )


@pytest.mark.parametrize(
    "harmless",
    [
        replace(QUIET, throttled_share=0.04, stolen_share=0.04),
        replace(QUIET, throttled_share=None, stolen_share=None, queued_threads=None),
        replace(FULL, queued_threads=0.05),
        replace(FULL, cores=(1.0, 1.0, 0.5, 0.5)),
        replace(FULL, own_cores=3.0, foreign_cores=0.85),
        replace(QUIET, devices=(replace(GPU, busy=0.5, held_back="heat"),)),
        replace(QUIET, devices=(replace(GPU, busy=None, held_back="heat"),)),
    ],
    ids=["just below", "untold", "sleeping", "cores left", "few foreign", "held back but idle", "busy untold"],
)
def test_what_takes_nothing_that_matters(harmless: Usage) -> None:
    assert outside(harmless, 4) == ""


def test_full_cores_limit_where_queues_are_not_told() -> None:
    assert outside(replace(FULL, queued_threads=None), 4).startswith("Other programs limit")


def test_the_busiest_gpu_counts() -> None:
    busy = replace(GPU, index=1, name="Other", busy=0.99)
    assert limit(replace(QUIET, devices=(GPU, busy)), 4).startswith("Other limits")


def test_low_use_is_explained() -> None:
    assert "2 % can be healthy" in low_use(GPU)
    assert low_use(GPU).startswith("Card ran a kernel in 2% of the time, which is no fault by itself")
    assert low_use(replace(GPU, busy=GPU_LOW)) == ""
    assert low_use(replace(GPU, busy=None)) == ""
