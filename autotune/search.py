"""Which settings to try next. The only file that imports Optuna; knows nothing of processes and clocks.

A study holds log-ratios to the control, so that trials of different days can stand in one study. What crashed or was
wrong is a completed trial with a violated constraint: told as failed, samplers would not learn to avoid it.
"""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from autotune import knobs
from autotune.errors import RejectedSettings, SearchError
from autotune.machine import Machine
from autotune.subject import Subject

FEASIBLE = "feasible"
WORKED, VIOLATED = 0.0, 1.0  # values of the constraint: above 0 is violated
REFINE_FROM = 0.6  # the share of the search after which the neighbours of the best are tried
SAME_AGAIN = 200  # so many known settings in a row: the space is used up
STARTUP_TRIALS = 10
WINNERS_KEPT = 3  # of an earlier session, tried again first


@dataclass(frozen=True, slots=True)
class Proposal:
    """Settings to try. rejected: why they need not be tried, "" if they should be."""

    settings: Any
    rejected: str
    trial: optuna.Trial = field(repr=False)


@dataclass(frozen=True, slots=True)
class Known:
    """What was learnt of settings: the log-ratio, or None if they do not work."""

    settings: Any
    log_ratio: float | None


class Explorer:
    """Proposes settings and learns from the answers; never proposes the same twice.

    seeds: tried first, in order, after the defaults, which count as known (log-ratio 0). storage: an SQLite file to
    keep the study in, or None for memory; one process at a time may write. seed: of the sampler. trials: how many are
    planned. Raises SearchError if the file's folder is missing.
    """

    def __init__(
        self, subject: Subject, machine: Machine, *, seeds: Sequence[Any], storage: Path | None, seed: int, trials: int
    ) -> None:
        self._subject, self._machine = subject, machine
        self._known: dict[str, Known] = {}
        self._generator = np.random.default_rng(seed)
        if storage is not None and not storage.parent.is_dir():
            raise SearchError(f"The study can't be kept in {storage}: the folder {storage.parent} does not exist.")
        self._storage = None if storage is None else optuna.storages.RDBStorage(f"sqlite:///{storage}")
        with quiet_optuna():
            sampler = optuna.samplers.TPESampler(
                seed=seed, group=True, n_startup_trials=min(STARTUP_TRIALS, max(4, trials // 4))
            )
            self._study = optuna.create_study(
                storage=self._storage,
                sampler=sampler,
                study_name=f"{subject.name}-{knobs.space_key(subject.settings_type, machine)}",
                direction="minimize",
                load_if_exists=True,
            )
        earlier = self._earlier_winners()
        default = subject.default(machine)
        self._enqueue(default)
        first = self._ask()
        self.learn(first, 0.0, {"outcome": "control"})
        for settings in (*seeds, *earlier):
            fitted, _ = knobs.clamp(settings, machine)
            self._enqueue(fitted)

    def close(self) -> None:
        if self._storage is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()

    def propose(self, progress: float) -> Proposal | None:
        """The next settings that are not known yet; None if there are none left.

        progress: how much of the search is over, 0 to 1; late in the search the neighbours of the best come first.
        """
        for _ in range(SAME_AGAIN):
            if len(self._known) >= knobs.size(self._subject.settings_type, self._machine):
                return None
            if progress >= REFINE_FROM:
                self._enqueue_neighbour()
            proposal = self._ask()
            known = self._known.get(knobs.key(proposal.settings))
            if known is None:
                return proposal
            self._tell(proposal.trial, known.log_ratio)
        return None

    def learn(self, proposal: Proposal, log_ratio: float | None, attributes: dict[str, Any]) -> None:
        """The answer to a proposal: its log-ratio to the control, or None if the settings do not work."""
        for name, value in attributes.items():
            proposal.trial.set_user_attr(name, value)
        self._known[knobs.key(proposal.settings)] = Known(proposal.settings, log_ratio)
        self._tell(proposal.trial, log_ratio)

    def forget(self, proposal: Proposal) -> None:
        """The proposal was not answered (the session ends): leave no trial open."""
        self._study.tell(proposal.trial, state=TrialState.FAIL)

    def _ask(self) -> Proposal:
        with quiet_optuna():
            trial = self._study.ask()
            try:
                settings = knobs.suggest(trial, self._subject.settings_type, self._machine, self._reject)
            except RejectedSettings as refusal:
                return Proposal(refusal.settings, refusal.reason, trial)
        return Proposal(settings, "", trial)

    def _reject(self, settings: Any) -> str | None:
        return self._subject.reject(settings, self._machine)

    def _tell(self, trial: optuna.Trial, log_ratio: float | None) -> None:
        with quiet_optuna():
            trial.set_constraint(FEASIBLE, VIOLATED if log_ratio is None else WORKED)
            # A value is due even for what does not work; the constraint decides, and 0 says nothing either way.
            self._study.tell(trial, 0.0 if log_ratio is None else log_ratio)

    def _enqueue(self, settings: Any) -> None:
        with quiet_optuna():
            self._study.enqueue_trial(knobs.flatten(settings))

    def _enqueue_neighbour(self) -> None:
        """Queue one untried setting that differs from the best in a single knob, if there is one."""
        best = min(
            (each for each in self._known.values() if each.log_ratio is not None),
            key=lambda each: each.log_ratio or 0.0,
        )
        fresh = [
            settings
            for settings in knobs.neighbours(best.settings, self._machine)
            if knobs.key(settings) not in self._known and self._reject(settings) is None
        ]
        if fresh:
            self._enqueue(fresh[int(self._generator.integers(len(fresh)))])

    def _earlier_winners(self) -> list[Any]:
        """The best settings that an earlier session left in the storage; trials it left open are closed."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)):
            if trial.state is TrialState.RUNNING:
                self._study.tell(trial.number, state=TrialState.FAIL)
            else:
                self._ask_and_forget()
        done = [
            trial
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if trial.value is not None and trial.value < 0 and trial.constraints.get(FEASIBLE) == WORKED
        ]
        done.sort(key=lambda trial: trial.value or 0.0)
        return [knobs.unflatten(self._subject.settings_type, trial.params) for trial in done[:WINNERS_KEPT]]

    def _ask_and_forget(self) -> None:
        self.forget(self._ask())


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Without Optuna's own log lines and its remark that `group` is experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
