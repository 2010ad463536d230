import math
import os
import signal
from pathlib import Path

import pytest

from autotune.measure import (
    Budget,
    BudgetSpentError,
    Counters,
    Gate,
    Guard,
    Measurement,
    Outcome,
    Sample,
    StoppedError,
    classify_death,
    classify_error,
    farewell,
    peak_memory_bytes,
    used_processor_seconds,
)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (MemoryError(), Outcome.OUT_OF_MEMORY),
        (RuntimeError("CUDA out of memory. Tried to allocate 20 MiB"), Outcome.OUT_OF_MEMORY),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), Outcome.OUT_OF_MEMORY),
        (ModuleNotFoundError("No module named 'x'"), Outcome.IMPORT_FAILED),
        (ValueError("shape"), Outcome.CRASHED),
    ],
)
def test_exceptions_are_classified(error: Exception, outcome: Outcome):
    assert classify_error(error).outcome is outcome
    assert type(error).__name__ in classify_error(error).reason


@pytest.mark.parametrize(
    ("code", "stderr", "outcome", "words"),
    [
        (-signal.SIGKILL, "", Outcome.OUT_OF_MEMORY, "SIGKILL"),
        (-signal.SIGSEGV, "", Outcome.CRASHED, "SIGSEGV"),
        (-signal.SIGABRT, "terminate called after throwing 'std::bad_alloc'", Outcome.OUT_OF_MEMORY, "bad_alloc"),
        (
            -signal.SIGABRT,  # with the stack that faulthandler lists
            "terminate called after throwing 'std::bad_alloc'\nFatal Python error: Aborted\n" + "  File x\n" * 40,
            Outcome.OUT_OF_MEMORY,
            "Aborted",
        ),
        (1, "Traceback\nModuleNotFoundError: No module named 'x'", Outcome.IMPORT_FAILED, "'x'"),
        (3, "", Outcome.CRASHED, "code 3"),
    ],
)
def test_deaths_are_classified(code: int, stderr: str, outcome: Outcome, words: str):
    failure = classify_death(code, stderr)
    assert failure.outcome is outcome
    assert words in failure.reason


def test_farewell_finds_where_a_fatal_error_happened():
    text = """noise
Fatal Python error: Segmentation fault

Thread 2:
  File "other.py", line 9 in listen

Current thread 1 (most recent call first):
  File "a.py", line 3 in run
  File "b.py", line 4 in main
"""
    assert farewell(text) == 'Fatal Python error: Segmentation fault in File "a.py", line 3 in run'
    assert farewell("one\ntwo\n\n") == "two"
    assert farewell("") == ""


def write_counters(root: Path, user: int, idle: int, steal: int, throttled_usec: int) -> None:
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/stat").write_text(f"cpu  {user} 0 0 {idle} 0 0 0 {steal} 0 0\ncpu0 1 0 0 1 0 0 0 0 0 0\n")
    (root / "sys/fs/cgroup").mkdir(parents=True, exist_ok=True)
    (root / "sys/fs/cgroup/cpu.stat").write_text(f"usage_usec 5\nnr_throttled 2\nthrottled_usec {throttled_usec}\n")


def test_counters_are_read_from_the_kernel_files(tmp_path: Path):
    write_counters(tmp_path, user=1000, idle=3000, steal=200, throttled_usec=1_500_000)
    seen = Guard(root=tmp_path).read()
    assert (seen.busy_seconds, seen.total_seconds, seen.stolen_seconds, seen.throttled_seconds) == (10, 42, 2, 1.5)


def test_missing_counters_never_count_as_a_disturbance(tmp_path: Path):
    guard = Guard(root=tmp_path)
    before = guard.read()
    assert math.isnan(before.busy_seconds)
    assert guard.disturbance(before, guard.read(), 0.0) == ""


@pytest.mark.parametrize(
    ("after", "own", "words"),
    [
        (Counters(11.0, 1.0, 2.0, 0.0, 0.0), 1.0, ""),
        (Counters(11.0, 2.0, 2.0, 0.0, 0.0), 1.0, "other programs kept 1.0 cores"),
        (Counters(11.0, 1.0, 2.0, 0.4, 0.0), 1.0, "20% of the processor was taken"),
        (Counters(11.0, 1.0, 2.0, 0.0, 0.3), 1.0, "quota held the processor back for 30%"),
    ],
)
def test_disturbances(after: Counters, own: float, words: str):
    found = Guard().disturbance(Counters(10.0, 0.0, 0.0, 0.0, 0.0), after, own)
    assert words in found
    assert bool(found) == bool(words)


def test_budget_ends_by_time_or_by_the_user():
    Budget.of(100.0).check()
    with pytest.raises(BudgetSpentError):
        Budget.of(100.0).without(100.0).check()
    with pytest.raises(StoppedError):
        Budget.of(100.0, stop=lambda: True).without(1.0).check()


def test_only_used_samples_count():
    samples = (Sample(0, 1.0, 1, False, "warm-up"), Sample(0, 0.5, 1, True, ""), Sample(0, 0.9, 1, False, "busy"))
    assert Measurement(Outcome.OK, "", samples, (), 1.0, 0).used == (samples[1],)


def test_gate_sentence():
    gate = Gate("close", False, 0.25, 0.1, "largest difference")
    assert gate.sentence == "gate close failed: 0.25 against a limit of 0.1 (largest difference)"


def test_memory_and_time_of_a_process():
    assert peak_memory_bytes(os.getpid()) > 1 << 20
    assert used_processor_seconds(os.getpid()) > 0
    assert peak_memory_bytes(1 << 30) == 0
    assert math.isnan(used_processor_seconds(1 << 30))
