"""One worker process: what it answers, how its end is read, and that nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import toy_subject

from autotune.child import Child, ChildFailedError
from autotune.errors import SearchError
from autotune.measure import Budget, Outcome, StoppedError
from autotune.subject import SubjectName, checked_environment, common_gates

BUDGET = Budget.of(600.0)
LIMIT = 60.0


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    with Child("candidate", tmp_path, {"OMP_NUM_THREADS": "1"}, 500) as child:
        yield child


def open_toy(child: Child, kind: str = "faulty", grandchild: str = "", **settings: Any) -> None:
    child.ask(
        "open",
        LIMIT,
        BUDGET,
        path=sys.path,
        subject={"target": "toy_subject:Toy", "arguments": {"kind": kind, "grandchild": grandchild}},
        settings=settings,
        machine=toy_subject.toy_machine().to_dict(),
    )


def gone(process_id: int) -> bool:
    """Waits for the end of a process; True also for one that only waits to be collected."""
    for _ in range(200):
        try:
            if psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def becomes(process_id: int, status: str) -> bool:
    for _ in range(200):
        if psutil.Process(process_id).status() == status:
            return True
        time.sleep(0.05)
    return False


def wait_for(path: Path) -> str:
    for _ in range(400):
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} was never written")


def test_a_worker_runs_saves_compares_and_tells_its_memory(child: Child, tmp_path: Path):
    open_toy(child)
    assert len(child.ask("run", LIMIT, BUDGET, unit=1, passes=3)["seconds"]) == 3
    path = tmp_path / "outputs.npz"
    child.ask("outputs", LIMIT, BUDGET, unit=1, path=str(path))
    with np.load(path) as file:
        np.testing.assert_array_equal(file["roots"], np.sqrt(np.arange(toy_subject.LENGTH) + 1.0))
    gates = child.ask("compare", LIMIT, BUDGET, unit=1, path=str(path))["gates"]
    assert [gate[:2] for gate in gates] == [["finite", True], ["close", True]]
    peak = child.ask("memory", LIMIT, BUDGET)["peak_bytes"]
    print(f"peak memory of a worker: {peak / 2**20:.0f} MiB")
    assert (1 << 20) < peak < psutil.Process().memory_info().vms
    child.close()
    assert "a library that prints" in child.stderr_tail()


@pytest.mark.parametrize(
    ("fault", "outcome", "words"),
    [
        ("exception", Outcome.CRASHED, "RuntimeError: the toy broke"),
        ("segfault", Outcome.CRASHED, "SIGSEGV"),
        ("out of memory", Outcome.OUT_OF_MEMORY, "MemoryError"),
        ("killed", Outcome.OUT_OF_MEMORY, "SIGKILL"),
        ("exit", Outcome.CRASHED, "code 3"),
    ],
)
def test_every_fault_of_a_run_is_classified(child: Child, fault: str, outcome: Outcome, words: str):
    open_toy(child, fault=fault)
    with pytest.raises(ChildFailedError) as caught:
        child.ask("run", LIMIT, BUDGET, unit=0, passes=1)
    assert caught.value.failure.outcome is outcome
    assert words in caught.value.failure.reason
    assert caught.value.child is child


def test_a_failed_import_is_told_from_a_crash(child: Child):
    with pytest.raises(ChildFailedError, match="a_module_that_nobody_has") as caught:
        open_toy(child, fault="import")
    assert caught.value.failure.outcome is Outcome.IMPORT_FAILED


def test_a_hang_ends_at_the_deadline_with_all_that_was_started(child: Child, tmp_path: Path):
    open_toy(child, grandchild=str(tmp_path / "helper"), fault="hang")
    with pytest.raises(ChildFailedError, match=r"no answer to 'run' within 0\.5 s") as caught:
        child.ask("run", 0.5, BUDGET, unit=0, passes=1)
    assert caught.value.failure.outcome is Outcome.TIMED_OUT
    assert not child.alive
    assert gone(child.process_id)
    assert gone(int((tmp_path / "helper").read_text()))


def test_stopping_interrupts_a_wait_and_closing_leaves_nothing(child: Child):
    open_toy(child, fault="hang")
    answers = iter([False])  # asked before the command is sent, then while it runs
    with pytest.raises(StoppedError):
        child.ask("run", LIMIT, Budget.of(600.0, stop=lambda: next(answers, True)), unit=0, passes=1)
    assert child.alive
    assert not child.ready
    child.close()
    child.close()
    assert gone(child.process_id)


@pytest.mark.skipif(sys.platform != "linux", reason="resting is a Linux feature")
def test_a_resting_child_is_stopped_and_answers_after_waking(child: Child):
    open_toy(child)
    child.rest()
    assert becomes(child.process_id, psutil.STATUS_STOPPED)
    assert child.ask("memory", LIMIT, BUDGET)["ok"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("resting", [False, True])
def test_no_orphans_when_the_session_is_killed(tmp_path: Path, resting: bool):
    script = f"""
import sys; sys.path[:] = {sys.path!r}
from pathlib import Path
import test_worker
from autotune.child import Child
child = Child("candidate", Path({str(tmp_path)!r}), {{}}, 500)
test_worker.open_toy(child, grandchild={str(tmp_path / "helper")!r}, fault="hang")
if {resting}: child.rest()
Path({str(tmp_path / "worker")!r}).write_text(str(child.process_id))
child.ask("run", 60.0, test_worker.BUDGET, unit=0, passes=1) if not {resting} else __import__("time").sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script]) as session:
        worker, helper = int(wait_for(tmp_path / "worker")), int(wait_for(tmp_path / "helper"))
        os.kill(session.pid, signal.SIGKILL)
        session.wait()
    assert gone(worker)
    assert gone(helper)


def test_only_listed_variables_may_be_set():
    assert checked_environment({"OMP_NUM_THREADS": "2", "KMP_BLOCKTIME": "0"})["OMP_NUM_THREADS"] == "2"
    for name in ("LD_PRELOAD", "PYTHONPATH", "PATH", "OMP_X;LD_PRELOAD", "omp_num_threads"):
        with pytest.raises(SearchError, match="allowed are"):
            checked_environment({name: "1"})


@pytest.mark.parametrize("target", ["toy_subject", ":Toy", "toy_subject:", "toy_subject:Nobody"])
def test_a_wrong_subject_name_is_refused(target: str):
    with pytest.raises(SearchError, match="subject"):
        SubjectName(target).create()


def test_common_gates_count_only_new_non_finite_numbers():
    reference = {"a": np.array([1.0, -np.inf]), "b": np.array([1, 2])}
    assert all(gate.passed for gate in common_gates(reference, reference))
    assert not all(gate.passed for gate in common_gates(reference, {**reference, "a": np.array([np.nan, -np.inf])}))
    assert [gate.name for gate in common_gates(reference, {"a": reference["a"]})] == ["names"]
