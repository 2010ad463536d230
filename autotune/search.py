"""Which settings to try next. The only file that imports Optuna; knows nothing of processes and clocks.

Seeds come first, then a few from Optuna's sampler, then mostly what a model of all answers expects most of
(`surrogate`): with forty trials of hundreds of settings it ends nearer to the best than the sampler alone
(`benchmarks/tuner_trust.py`). Every few trials the sampler is asked all the same: a single wrong answer, such as one
taken while the machine was busy, can close a region to the model for good.

A study holds log-ratios to the control, so that trials of different days can stand in one study. What crashed or was
wrong is a completed trial with a violated constraint: told as failed, samplers would not learn to avoid it. A failed
trial is one that was not answered: with the attribute `outcome` the session ended in an orderly way, without it the
session was killed while the trial ran.
"""

import contextlib
import sqlite3
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from autotune import knobs, surrogate
from autotune.errors import RejectedSettings, SearchError
from autotune.machine import Machine
from autotune.subject import Subject

FEASIBLE = "feasible"
WORKED, VIOLATED = 0.0, 1.0  # values of the constraint: above 0 is violated
MODEL_FROM = 0.1  # the share of the search after which a model proposes; before, and where it has nothing, Optuna does
REFINE_FROM = 0.8  # the share after which it chooses among neighbours of the best only
POOL = 2000  # settings drawn once, among which it chooses besides
SAMPLER_EVERY = 5  # trials, of which one is the sampler's own proposal
REFINED = 3  # the best, whose neighbours count
SAME_AGAIN = 200  # so many known settings in a row: the space is used up
STARTUP_TRIALS = 10
DEATHS_ALLOWED = 2  # settings during which the session was killed so often are not tried again
LEAST_FOR_IMPORTANCES = 8
BEST_SHARE = 0.25  # of the trials, whose knobs are compared with those of all
REPEATED = "known already"  # outcome of a trial that asked again for what was known
SEEDED = "seeded"  # note of a study: all seeds are in its queue
OUTCOME, ANSWER = "outcome", "log_ratio"  # attributes of a trial; ANSWER is written last, so it says that all is there


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
    keep the study in, or None for memory; one process at a time may write. A study that is there is continued: what was
    answered is known, what was running when its session was killed is tried once more. seed: of the sampler. trials:
    how many are planned. Raises SearchError if the file is no study or can't be written.
    """

    def __init__(
        self, subject: Subject, machine: Machine, *, seeds: Sequence[Any], storage: Path | None, seed: int, trials: int
    ) -> None:
        self._subject, self._machine = subject, machine
        self._known: dict[str, Known] = {}
        self._generator = np.random.default_rng(seed)
        self._storage = None if storage is None else opened(storage)
        self._hopeless: set[str] = set()
        self._pool: dict[str, Any] = {}
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
            self._study.set_metric_names(["log of the time ratio to the default"])
        self._default = subject.default(machine)
        self._recall()
        if knobs.key(self._default) not in self._known:
            self._enqueue(self._default)
            self.learn(self._ask(), 0.0, {OUTCOME: "default"})
        if SEEDED not in self._study.user_attrs:
            for settings in seeds:
                self._enqueue(knobs.clamp(settings, machine)[0])
            self._study.set_user_attr(SEEDED, True)

    def answered(self) -> list[tuple[Any, dict[str, Any]]]:
        """(settings, attributes given to `learn`) of every proposal that was answered so far, in order."""
        return [(self._settings(trial), trial.user_attrs) for trial in answered_trials(self._study)]

    def importances(self) -> dict[str, float]:
        """Share of each knob in the difference between the best quarter of the trials and all, largest first.

        PED-ANOVA (Watanabe et al., IJCAI 2023) over the trials that worked; {} when those are too few to say anything.
        """
        worked = [
            trial
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if trial.constraints.get(FEASIBLE) == WORKED and trial.user_attrs.get(OUTCOME) != REPEATED
        ]
        if len(worked) < LEAST_FOR_IMPORTANCES:
            return {}
        with quiet_optuna():
            study = optuna.create_study(direction="minimize")
            study.add_trials(worked)
            evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE)
            return optuna.importance.get_param_importances(study, evaluator=evaluator)

    def close(self) -> None:
        if self._storage is not None:
            closed(self._storage)

    def propose(self, progress: float) -> Proposal | None:
        """The next settings that are not known yet; None if there are none left.

        progress: how much of the search is over, 0 to 1; late in the search only neighbours of the best are tried,
        while there are any.
        """
        for _ in range(SAME_AGAIN):
            if len(self._known) >= knobs.size(self._subject.settings_type, self._machine):
                return None
            local = progress >= REFINE_FROM
            if progress >= MODEL_FROM and (local or len(self._known) % SAMPLER_EVERY):
                self._enqueue_promising(local=local)
            proposal = self._ask()
            known = self._known.get(knobs.key(proposal.settings))
            if known is None:
                return proposal
            self._answer(proposal.trial, known.log_ratio, {OUTCOME: REPEATED})
        return None

    def learn(self, proposal: Proposal, log_ratio: float | None, attributes: dict[str, Any]) -> None:
        """The answer to a proposal: its log-ratio to the control, or None if the settings do not work.

        attributes: plain data to keep with it; `outcome` belongs to them.
        """
        self._known[knobs.key(proposal.settings)] = Known(proposal.settings, log_ratio)
        self._answer(proposal.trial, log_ratio, attributes)

    def forget(self, proposal: Proposal) -> None:
        """The proposal was not answered (the session ends): leave no trial open, and try it again in the next one."""
        proposal.trial.set_user_attr(OUTCOME, "not finished")
        self._study.tell(proposal.trial, state=TrialState.FAIL)
        self._enqueue(proposal.settings)

    def _ask(self) -> Proposal:
        with quiet_optuna():
            trial = self._study.ask()
            try:
                settings = knobs.suggest(trial, self._subject.settings_type, self._machine, self._reject)
            except RejectedSettings as refusal:
                return Proposal(refusal.settings, refusal.reason, trial)
        hopeless = f"the whole session was killed {DEATHS_ALLOWED} times while this was tried"
        return Proposal(settings, hopeless if knobs.key(settings) in self._hopeless else "", trial)

    def _reject(self, settings: Any) -> str | None:
        return self._subject.reject(settings, self._machine)

    def _answer(self, trial: optuna.Trial, log_ratio: float | None, attributes: Mapping[str, Any]) -> None:
        with quiet_optuna():
            trial.set_constraint(FEASIBLE, VIOLATED if log_ratio is None else WORKED)
            for name, value in {**attributes, ANSWER: log_ratio}.items():
                trial.set_user_attr(name, value)
            self._tell(trial.number, log_ratio)

    def _tell(self, number: int, log_ratio: float | None) -> None:
        # A value is due even for what does not work; the constraint decides, and 0 says nothing either way.
        self._study.tell(number, 0.0 if log_ratio is None else log_ratio)

    def _settings(self, trial: FrozenTrial) -> Any:
        return knobs.unflatten(self._subject.settings_type, trial.params)

    def _enqueue(self, settings: Any) -> None:
        with quiet_optuna():
            self._study.enqueue_trial(knobs.flatten(settings))

    def _enqueue_promising(self, *, local: bool) -> None:
        """Queue what the model expects most of, if nothing is queued.

        local: of the neighbours of the best only, and every other time of those that are nearer to the defaults: a
        knob that gains nothing should stay where it was.
        """
        if self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            return
        worked = [each for each in self._known.values() if each.log_ratio is not None]
        worked.sort(key=lambda each: each.log_ratio or 0.0)
        near = [each for best in worked[:REFINED] for each in self._untried_neighbours(best.settings)]
        if local and len(self._known) % 2:
            best = worked[0].settings
            near = [
                each for each in self._untried_neighbours(best) if self._changed(each) < self._changed(best)
            ] or near
        drawn = () if local else [each for key, each in self._drawn().items() if key not in self._known]
        if candidates := [*drawn, *near]:
            known = [(knobs.flatten(each.settings), each.log_ratio) for each in self._known.values()]
            expected = surrogate.improvements(known, [knobs.flatten(each) for each in candidates])
            self._enqueue(candidates[int(np.argmax(expected))])

    def _changed(self, settings: Any) -> int:
        return len(knobs.changes(self._default, settings))

    def _untried_neighbours(self, settings: Any) -> list[Any]:
        near = knobs.neighbours(settings, self._machine)
        return [each for each in near if knobs.key(each) not in self._known and self._reject(each) is None]

    def _drawn(self) -> Mapping[str, Any]:
        """Settings from all over the space, by key; those that need not be tried left out."""
        if not self._pool:
            anyhow = _Anyhow(self._generator)
            for _ in range(POOL):
                with contextlib.suppress(RejectedSettings):
                    settings = knobs.suggest(anyhow, self._subject.settings_type, self._machine, self._reject)
                    self._pool[knobs.key(settings)] = settings
        return self._pool

    def _recall(self) -> None:
        """Learn what an earlier session left: answers, trials that it was killed in, seeds still in the queue."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if ANSWER in trial.user_attrs:  # killed between the answer and its last step
                self._tell(trial.number, trial.user_attrs[ANSWER])
            else:
                self._study.tell(trial.number, state=TrialState.FAIL)
        for trial in answered_trials(self._study):
            settings = self._settings(trial)
            self._known[knobs.key(settings)] = Known(settings, trial.user_attrs[ANSWER])
        killed = [
            self._settings(trial)
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
            if OUTCOME not in trial.user_attrs and knobs.flatten(self._settings(trial)) == trial.params
        ]
        deaths = Counter(knobs.key(settings) for settings in killed)
        self._hopeless = {key for key, count in deaths.items() if count >= DEATHS_ALLOWED}
        for settings in {knobs.key(each): each for each in killed}.values():
            if knobs.key(settings) not in self._known:
                self._enqueue(settings)


@dataclass(frozen=True, slots=True)
class _Anyhow:
    """Answers `knobs.suggest` at random, every value alike."""

    generator: np.random.Generator

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return choices[int(self.generator.integers(len(choices)))]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return low + step * int(self.generator.integers((high - low) // step + 1))


def answered_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Without those that only asked again for what was known."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in done if ANSWER in trial.user_attrs and trial.user_attrs.get(OUTCOME) != REPEATED]


def opened(path: Path) -> optuna.storages.RDBStorage:
    """Raises SearchError if the file is something else, or can't be made."""
    try:
        connection = sqlite3.connect(path)  # Optuna's own complaints are long
        try:
            tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise SearchError(f"{path} can't be used as a study ({error}); choose another place.") from error
    if tables and "studies" not in tables:
        raise SearchError(f"{path} is a database of something else; choose another place.")
    try:
        with quiet_optuna():
            return optuna.storages.RDBStorage(f"sqlite:///{path}")
    except RuntimeError as error:
        raise SearchError(f"{path} was written by another version of Optuna; choose another place.") from error


def closed(storage: optuna.storages.RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Without Optuna's own log lines, its remark that `group` is experimental, and that importances are rough."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", "Some regimes for parameter", UserWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
