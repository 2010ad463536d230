"""The folder of a session: its study, one directory per trial, its decision, profile and report.

The study says which trials are answered, the directories hold what was seen of them:

    study.sqlite        Optuna's study, see `search`
    trials/NNN/         settings.yaml, samples.json (the whole record), stderr.txt
    decision.json       the end of the session, or what was known before its first trial
    made-with.json      what a session that goes on must have in common with its beginning

A record is on the disk before its trial is answered.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from autotune import knobs
from autotune.decision import Decision, TrialRecord
from autotune.errors import SearchError
from autotune.files import write_whole
from autotune.measure import Outcome

STUDY, TRIALS, DECISION, IDENTITY, LOCK = "study.sqlite", "trials", "decision.json", "made-with.json", "lock.sqlite"
RECORD = "samples.json"


class SessionFolder:
    """A session's folder, held by this process until it is left. Use as a context manager.

    path: made if needed. resume: whether to continue the session in it, or to begin one. identity: what all trials of a
    session have in common (subject, space, software), as texts by name.
    Raises SearchError if there is nothing to continue or something already, if that was begun with another identity, if
    another process holds it, or if it can't be written.
    """

    def __init__(self, path: Path, *, resume: bool, identity: Mapping[str, str]) -> None:
        self._path, self._identity = path, identity
        self.study = path / STUDY
        if resume and not self.study.is_file():
            raise SearchError(f"{path} holds no session to resume; begin one there, or check the path.")
        if not resume and self.study.exists():
            raise SearchError(f"{path} holds a session already; resume it, or choose another folder.")
        with contextlib.ExitStack() as undo:
            try:
                (path / TRIALS).mkdir(parents=True, exist_ok=True)
                # A database's own lock: it works on every system and is gone with its process, however that ends.
                self._lock = sqlite3.connect(path / LOCK, timeout=0, isolation_level=None)
                undo.callback(self._lock.close)
                self._lock.execute("begin exclusive")
                if not resume:
                    write_whole(path / IDENTITY, json.dumps(identity, indent=1))
            except sqlite3.Error as error:
                raise SearchError(f"{path} is in use by another process, or can't be written ({error}).") from error
            except OSError as error:
                raise SearchError(
                    f"{path} can't be a session's folder ({error.strerror}); choose another place."
                ) from error
            self._check_identity()
            undo.pop_all()

    def __enter__(self) -> "SessionFolder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._lock.close()  # and with it goes the lock

    def keep(self, record: TrialRecord) -> None:
        """Raises SearchError if the folder can't be written."""
        folder = self._path / TRIALS / f"{record.number:03d}"
        try:
            folder.mkdir(exist_ok=True)
            write_whole(folder / "settings.yaml", yaml.safe_dump(knobs.dump(record.settings), sort_keys=False))
            write_whole(folder / RECORD, json.dumps(record.to_dict(), indent=1))
            if record.stderr:
                write_whole(folder / "stderr.txt", record.stderr)
        except OSError as error:
            raise SearchError(f"{folder} can't be written ({error.strerror}); free some space and resume.") from error

    def keep_decision(self, decision: Decision) -> None:
        """Raises SearchError if the folder can't be written."""
        try:
            write_whole(self._path / DECISION, json.dumps(decision.to_dict(), indent=1))
        except OSError as error:
            raise SearchError(f"{self._path} can't be written ({error.strerror}); free some space.") from error

    def record(self, number: int) -> TrialRecord:
        """A trial that was kept; its settings are plain data. Raises SearchError."""
        return TrialRecord.from_dict(_read(self._path / TRIALS / f"{number:03d}" / RECORD))

    def _check_identity(self) -> None:
        earlier = _read(self._path / IDENTITY)
        changed = [
            f"{name}: {earlier.get(name, 'none')} -> {self._identity.get(name, 'none')}"
            for name in sorted({*earlier, *self._identity})
            if earlier.get(name) != self._identity.get(name)
        ]
        if changed:
            raise SearchError(
                f"The session in {self._path} was begun with something else ({', '.join(changed)}), so its "
                "measurements can't be continued; begin another one in another folder."
            )


def recorded(path: Path) -> Decision:
    """What the session in a folder decided, or knew when it was killed; settings are plain data.

    Raises SearchError if there is no session, if it is damaged, or if it knows nothing yet.
    """
    if not (path / STUDY).is_file():
        raise SearchError(f"{path} holds no session; give the folder of one.")
    if not (path / DECISION).exists():
        raise SearchError(f"The session in {path} ended before the default settings were measured; resume it.")
    history = [TrialRecord.from_dict(_read(each)) for each in sorted((path / TRIALS).glob(f"*/{RECORD}"), key=_number)]
    decision = Decision.from_dict(_read(path / DECISION), history)
    return replace(
        decision,
        trials=sum(each.outcome is not Outcome.REJECTED for each in history),
        seconds=max(decision.seconds, ended_seconds(history)),
    )


def ended_seconds(history: Iterable[TrialRecord]) -> float:
    """When the last trial ended, since the session began."""
    return max((each.started_seconds + each.seconds for each in history), default=0.0)


def shown_record(record: TrialRecord) -> dict[str, Any]:
    """What a trial carries in its study: a few plain facts for people who browse it."""
    found = record.estimate
    facts: dict[str, Any] = {
        "outcome": record.outcome.value,
        "trial": record.number,
        "changes": "; ".join(record.changes),
        "reason": record.reason,
        "memory_mib": round(record.peak_memory_bytes / 2**20),
    }
    if found is not None:
        facts |= {
            "ratio": round(found.ratio, 4),
            "ratio_95": f"{found.ratio_low:.4f} to {found.ratio_high:.4f}",
            "pairs": found.count,
        }
    return facts


def _number(path: Path) -> int:
    return int(path.parent.name) if path.parent.name.isdecimal() else 0


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SearchError(f"{path} can't be read ({error.strerror}); the session is damaged, begin another.") from error
    except ValueError as error:
        raise SearchError(f"{path} is damaged; begin another session.") from error
