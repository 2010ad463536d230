"""SIGKILL at random moments of a real tuning, of the session or of one of its workers: what is lost, and who stays.

    python -m benchmarks.kills --kills 100

Every trial that the session told its listener about is acknowledged: the listener writes it to a file of its own, and
after each death the study must hold all of them, and the folder their records.
"""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil

from autotune import knobs
from autotune.decision import Silent, TrialRecord
from autotune.duel import Effort, Rules
from autotune.errors import AutotuneError
from autotune.folder import STUDY, recorded
from autotune.knobs.convert import digest
from autotune.measure import Guard
from autotune.probe import probe
from autotune.subject import SubjectName
from autotune.tuner import tune

SESSION = "import sys; sys.path[:] = {path!r}; from benchmarks.kills import session; session(*sys.argv[1:])"
RULES = Rules(
    explore=Effort(6, drop=True, settle=0.02),
    null=Effort(6, drop=False, settle=0.0),
    null_rounds=1,
    block_seconds=0.002,
    guard=Guard(steal_share=2.0, throttled_share=2.0, foreign_cores=1000.0),
)
TURNS = ("session", "worker", "session", "worker", "session")  # who is killed, again and again
ORPHAN_SECONDS, FIRST_TRIAL_SECONDS = 20.0, 300.0
ACKNOWLEDGED, RESUMED = "acknowledged.txt", "resumed.txt"


class Witness(Silent):
    """Writes down, outside of the session's folder, what the session told."""

    def __init__(self, folder: Path, started: float) -> None:
        self._folder, self._started = folder, started

    def on_trial_end(self, record: TrialRecord) -> None:
        append(self._folder / ACKNOWLEDGED, f"{record.number} {knobs.key(record.settings)}")

    def on_note(self, text: str) -> None:
        if text.startswith("resumed"):
            wall = time.time() - self._started
            append(self._folder / RESUMED, f"{wall:.3f} {time.process_time():.3f}")


def append(path: Path, line: str) -> None:
    with path.open("a", encoding="ascii") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())


def session(folder: str, target: str, arguments: str, started: str) -> None:
    """What is killed: a tuning without end, begun in a fresh folder or resumed."""
    root = Path(folder)
    tune(
        SubjectName(target, json.loads(arguments)),
        probe(),
        budget_seconds=86400,
        max_trials=100_000,
        session=root / "session",
        resume=(root / "session" / STUDY).exists(),
        listener=Witness(root, float(started)),
        rules=RULES,
    )


@dataclass
class Result:
    """kills of the session itself (parents) or of one worker; acknowledged: trials in the end, lost: of them, those
    that the study did not hold after some death; orphans: processes that outlived their session. resume_seconds: from
    the start of the new process, with all imports, until the study was read; resume_cpu_seconds: what of that was
    computed. survived: kills of a worker after which the session went on; ended: after which it said why it can't."""

    parents: int = 0
    workers: int = 0
    survived: int = 0
    ended: int = 0
    acknowledged: int = 0
    lost: int = 0
    orphans: int = 0
    resume_seconds: list[float] = field(default_factory=list)
    resume_cpu_seconds: list[float] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return self.parents + self.workers


class Killer:
    def __init__(self, folder: Path, name: SubjectName, seed: int) -> None:
        self._folder, self._name = folder, name
        self._generator = np.random.default_rng(seed)
        self._running: subprocess.Popen[bytes] | None = None
        self.result = Result()
        self.patience = 1.0  # seconds within which the next kill comes

    def run(self, kills: int) -> Result:
        """Raises AutotuneError if not even the first trial is reached."""
        self._calibrate()
        while self.result.kills < kills:
            time.sleep(self._generator.uniform(0.0, self.patience))
            running = self._alive()
            family = psutil.Process(running.pid).children(recursive=True)
            if TURNS[self.result.kills % len(TURNS)] == "session":
                self._kill_parent(running, family)
            elif family:
                self._kill_worker(running, family)
            if running.poll() is not None:
                self._check_lost()
        self._end()
        self._resume()
        self._end()
        self.result.acknowledged = len(lines(self._folder / ACKNOWLEDGED))
        for line in lines(self._folder / RESUMED):
            wall, cpu = line.split()
            self.result.resume_seconds.append(float(wall))
            self.result.resume_cpu_seconds.append(float(cpu))
        return self.result

    def _calibrate(self) -> None:
        """Twice the time to a first trial: kills then fall into every phase, on a fast machine or a slow one."""
        start = time.monotonic()
        running = self._alive()
        while not lines(self._folder / ACKNOWLEDGED):
            if running.poll() is not None or time.monotonic() - start > FIRST_TRIAL_SECONDS:
                raise AutotuneError(f"No trial was done in {time.monotonic() - start:.0f} s; look at the subject.")
            time.sleep(0.05)
        self.patience = 2 * (time.monotonic() - start)

    def _alive(self) -> "subprocess.Popen[bytes]":
        if self._running is None or self._running.poll() is not None:
            code = SESSION.format(path=[*sys.path, str(Path(__file__).parent.parent)])
            words = [str(self._folder), self._name.target, json.dumps(dict(self._name.arguments)), repr(time.time())]
            with (self._folder / "stderr.txt").open("ab") as stderr:
                self._running = subprocess.Popen([sys.executable, "-c", code, *words], stderr=stderr)
        return self._running

    def _kill_worker(self, running: "subprocess.Popen[bytes]", family: Sequence[psutil.Process]) -> None:
        victim = family[int(self._generator.integers(len(family)))]
        try:
            victim.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            return  # it was quicker; no kill
        self.result.workers += 1
        before, start = len(lines(self._folder / ACKNOWLEDGED)), time.monotonic()
        while running.poll() is None and time.monotonic() - start < FIRST_TRIAL_SECONDS:
            if len(lines(self._folder / ACKNOWLEDGED)) > before:
                self.result.survived += 1
                return
            time.sleep(0.05)
        self.result.ended += 1  # a control that dies while it opens ends the session, with a sentence
        self._count_orphans(running.pid, family)

    def _kill_parent(self, running: "subprocess.Popen[bytes]", family: Sequence[psutil.Process]) -> None:
        running.send_signal(signal.SIGKILL)
        running.wait()
        self.result.parents += 1
        self._count_orphans(running.pid, family)

    def _count_orphans(self, session_id: int, family: Iterable[psutil.Process]) -> None:
        """family: children when the session was killed; later ones are known by their command line."""
        _, alive = psutil.wait_procs({*family, *workers_of(session_id)}, timeout=ORPHAN_SECONDS)
        self.result.orphans += len(alive)
        for process in alive:
            process.kill()

    def _check_lost(self) -> None:
        """What was acknowledged is in the study; asked when nobody writes to it."""
        wanted = {tuple(line.split()) for line in lines(self._folder / ACKNOWLEDGED)}
        if wanted:
            numbers = answered(self._folder / "session" / STUDY)
            history = recorded(self._folder / "session").history
            kept = {(str(each.number), digest(each.settings)) for each in history if each.number in numbers}
            self.result.lost += len(wanted - kept)

    def _resume(self) -> None:
        """After all that, it still can be gone on with. Raises AutotuneError if not."""
        before, start = len(lines(self._folder / RESUMED)), time.monotonic()
        running = self._alive()
        while len(lines(self._folder / RESUMED)) == before:
            if running.poll() is not None or time.monotonic() - start > FIRST_TRIAL_SECONDS:
                said = (self._folder / "stderr.txt").read_text(encoding="utf-8", errors="replace")[-500:]
                raise AutotuneError(
                    f"The session could not be resumed after {self.result.kills} kills; it said: {said}"
                )
            time.sleep(0.05)

    def _end(self) -> None:
        if self._running is not None and self._running.poll() is None:
            family = psutil.Process(self._running.pid).children(recursive=True)
            self._running.kill()
            self._running.wait()
            self._count_orphans(self._running.pid, family)
            self._check_lost()


def answered(study: Path) -> set[int]:
    """Numbers of the trials that a study has an answer for, read without the code that wrote it."""
    query = "select value_json from trial_user_attributes join trials using (trial_id) where key = ? and state = ?"
    with contextlib.closing(sqlite3.connect(study)) as database:
        return {int(number) for (number,) in database.execute(query, ("trial", "COMPLETE"))}


def workers_of(session_id: int) -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "autotune.worker" in words and str(session_id) in words:
            yield process


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="ascii").splitlines() if path.exists() else []


def killed(name: SubjectName, kills: int, seed: int) -> Result:
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        return Killer(Path(folder), name, seed).run(kills)


@click.command()
@click.option("--kills", default=100, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the moments and victims.")
@click.option("--subject", default="docs.tune_anything:NearestCentre", show_default=True)
@click.option("--arguments", default="{}", help="Of the subject's factory, as JSON.")
def main(kills: int, seed: int, subject: str, arguments: str) -> None:
    options: dict[str, Any] = json.loads(arguments)
    click.echo(json.dumps(asdict(killed(SubjectName(subject, options), kills, seed))))


if __name__ == "__main__":
    main()
