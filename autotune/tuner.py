"""`tune`: default first, trials as duels, finals, decision. A straight line; what each step does is elsewhere."""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autotune import finals, knobs
from autotune.arena import Arena
from autotune.decision import Decision, Finalist, Listener, Silent, TrialRecord
from autotune.duel import Control, Judge, Rules, resolution
from autotune.errors import SearchError
from autotune.examiner import ExaminedJudge, Examiner
from autotune.fingerprint import software_stamp
from autotune.folder import SessionFolder, ended_seconds, shown_record
from autotune.machine import Machine
from autotune.measure import Budget, BudgetSpentError, Outcome, StoppedError
from autotune.search import Explorer
from autotune.stats import NO_DIFFERENCE, Estimate
from autotune.subject import Subject, SubjectName

LEAST_KEPT_BACK, MOST_KEPT_BACK = 0.15, 0.45  # shares of the budget that the finals may claim
FINAL_ROUNDS_PLANNED = 2
FASTEST_FINALISTS = 3  # the others are those that would be preferred, should they turn out to be as fast


def tune(
    subject_name: SubjectName,
    machine: Machine,
    *,
    budget_seconds: float,
    max_trials: int,
    seeds: Sequence[Any] = (),
    session: Path | None = None,
    resume: bool = False,
    listener: Listener | None = None,
    seed: int = 0,
    rules: Rules | None = None,
    examiner: Examiner | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Decision:
    """Find the fastest settings whose output is still right, on this machine, within the budget.

    seeds: settings to try first; values that this machine does not allow are fitted in. session: a folder that keeps
    everything, see `autotune.folder`. resume: go on with the session in that folder; its trials are known, and count
    among max_trials. examiner: refuses candidates that a duel accepts. stop: asked often; when true (or on Ctrl-C) the
    best so far is returned, unless the defaults are not measured yet: then KeyboardInterrupt comes through, and `stop`
    raises SearchError.
    Raises SearchError (bad arguments, budget too short, a folder that can't be used), TrialError (the defaults do not
    run here), ImportError (the subject's module).
    """
    if budget_seconds <= 0 or max_trials < 1:
        raise SearchError(f"Got budget_seconds={budget_seconds} and max_trials={max_trials}; both must be above 0.")
    if resume and session is None:
        raise SearchError("To resume, name the folder of the session.")
    subject, chosen = subject_name.create(), rules or Rules()
    with contextlib.ExitStack() as stack:
        folder = None
        if session is not None:
            folder = stack.enter_context(
                SessionFolder(session, resume=resume, identity=identity(subject_name, subject, machine, chosen))
            )
        arena = stack.enter_context(Arena(subject_name, subject, machine, chosen, seed))
        return tune_with(
            arena if examiner is None else ExaminedJudge(arena, examiner, slower=bool(chosen.memory_limit_bytes)),
            subject,
            machine,
            budget=Budget.of(budget_seconds, stop),
            max_trials=max_trials,
            seeds=seeds,
            folder=folder,
            listener=listener or Silent(),
            seed=seed,
            rules=chosen,
        )


def identity(subject_name: SubjectName, subject: Subject, machine: Machine, rules: Rules) -> dict[str, str]:
    """What all trials of a session must have in common, or their numbers say nothing about each other."""
    arguments = {name: str(value) for name, value in subject_name.arguments.items()}
    space = knobs.space_key(subject.settings_type, machine)
    memory = {"memory limit": str(rules.memory_limit_bytes)} if rules.memory_limit_bytes else {}
    return {"subject": subject_name.target, **arguments, **memory, "space": space, **software_stamp(machine)}


def tune_with(
    judge: Judge,
    subject: Subject,
    machine: Machine,
    *,
    budget: Budget,
    max_trials: int,
    seeds: Sequence[Any],
    folder: SessionFolder | None = None,
    listener: Listener,
    seed: int,
    rules: Rules,
) -> Decision:
    """`tune` with any judge: live processes, or measurements recorded elsewhere."""
    session = Session(judge, subject, machine, budget, listener, seed, rules, folder)
    storage = None if folder is None else folder.study
    explorer = Explorer(subject, machine, seeds=seeds, storage=storage, seed=seed, trials=max_trials)
    try:
        session.recall(explorer)
        session.measure_default()
        if folder is not None:
            folder.keep_decision(session.cut_short("the session did not end"))
        try:
            session.explore(explorer, max_trials)
            decision = session.conclude()
        except (StoppedError, KeyboardInterrupt):
            listener.on_note("stopped: the best so far")
            decision = session.cut_short("the session was stopped before the finals ended")
        decision = replace(decision, importances=explorer.importances())
        if folder is not None:
            folder.keep_decision(decision)
        return decision
    finally:
        explorer.close()


class Session:
    """One tuning from start to end: what was measured so far, and the steps in their order."""

    def __init__(
        self,
        judge: Judge,
        subject: Subject,
        machine: Machine,
        budget: Budget,
        listener: Listener,
        seed: int,
        rules: Rules,
        folder: SessionFolder | None = None,
    ) -> None:
        self._judge, self._subject, self._machine = judge, subject, machine
        self._budget, self._listener, self._seed, self._rules = budget, listener, seed, rules
        self._default = subject.default(machine)
        self._order = finals.preference(subject.cost, self._default)
        self._started, self._budget_seconds = budget.clock(), budget.left()
        self._history: list[TrialRecord] = []
        self._resolution = 0.0
        self._control: Control | None = None
        self._null: Estimate | None = None
        self._folder = folder
        self._defaults_fit = True  # into the memory that is allowed
        self._seconds_before = 0.0  # of the session that is resumed

    def recall(self, explorer: Explorer) -> None:
        """Begin with the trials that the study has an answer for. Raises SearchError if their records are not there."""
        for settings, attributes in explorer.answered():
            if self._folder is not None and "trial" in attributes:
                self._history.append(replace(self._folder.record(attributes["trial"]), settings=settings))
        self._seconds_before = ended_seconds(self._history)
        if self._history:
            self._listener.on_note(f"resumed: {len(self._history)} trials are known")

    def measure_default(self) -> None:
        """Raises SearchError if the budget does not even allow this, TrialError if the defaults do not run."""
        self._listener.on_machine(self._machine, self._budget_seconds)
        try:
            self._control = self._judge.start(self._budget)
            if self._rules.too_much_memory(self._control.peak_memory_bytes):
                # Slower ones count as well now, as long as they need less.
                self._defaults_fit = False
                self._rules = replace(self._rules, explore=replace(self._rules.explore, drop=False))
            self._resolution = self._measure_resolution()
        except BudgetSpentError:
            raise SearchError(
                f"The budget of {self._budget_seconds:.0f} s was over before the default settings were measured; "
                "give more time."
            ) from None
        except StoppedError:
            raise SearchError("Stopped before the default settings were measured: nothing is known yet.") from None
        self._listener.on_control(self._control, self._resolution)

    def _measure_resolution(self) -> float:
        margin = self._rules.promote_margin
        if self._rules.null.pairs == 0:
            self._listener.on_note(f"the default settings run; only gains above {margin:.0%} will count")
            return margin
        self._listener.on_note("the default settings run; measuring what differences this machine can show")
        self._null = self._judge.null(self._budget)
        return resolution(self._null)

    def explore(self, explorer: Explorer, max_trials: int) -> None:
        """Trials until the count, the space or the time that is not kept back for the finals is used up."""
        searching = self._budget.without(self._kept_back())
        allowed = max(searching.left(), 1e-9)
        refused = sum(each.outcome is Outcome.REJECTED for each in self._history)
        while (done := len(self._history) - refused) < max_trials and refused < 20 * max_trials:
            progress = max(done / max_trials, 1 - searching.left() / allowed)
            proposal = explorer.propose(progress)
            if proposal is None:
                self._listener.on_note("every setting of this space is known")
                return
            try:
                searching.check()
                record = self.attempt(proposal.settings, searching, proposal.rejected)
            except (BudgetSpentError, StoppedError, KeyboardInterrupt) as end:
                explorer.forget(proposal)
                if isinstance(end, BudgetSpentError):
                    return
                raise
            refused += record.outcome is Outcome.REJECTED
            self._history.append(record)
            if self._folder is not None:
                self._folder.keep(record)
            explorer.learn(proposal, record.log_ratio, shown_record(record))
            self._listener.on_trial_end(record)

    def conclude(self) -> Decision:
        """Race the most promising trials and decide. Raises StoppedError."""
        if not any(each.outcome is not Outcome.REJECTED for each in self._history):
            return self.cut_short("the budget was over before a candidate was measured")
        contenders = self._contenders()
        if not contenders and not self._defaults_fit:
            return self.cut_short("nothing was found that needs as little memory as is allowed")
        if not contenders:
            return self._confirmed(f"no candidate can be faster by {self._rules.promote_margin:.0%}", ())
        if self._rules.final_rounds == 0:
            return self._decided(tuple(_unraced(each) for each in contenders))
        self._listener.on_note(f"finals: {len(contenders)} candidates in fresh pairs")
        generator = np.random.default_rng(self._seed)
        raced = finals.race(
            self._judge,
            [each.settings for each in contenders],
            self._rules,
            self._budget,
            generator,
            lambda each: self._listener.on_final(each, knobs.changes(self._default, each.settings)),
            bar=self._defaults_fit,
        )
        if not any(each.rounds or each.failure for each in raced):
            return self.cut_short("the budget was over before a final was run")
        return self._decided(raced)

    def _decided(self, raced: tuple[Finalist, ...]) -> Decision:
        if self._defaults_fit:
            verdict = finals.decide(raced, self._rules, self._resolution, self._order)
        else:
            verdict = finals.fastest(raced, self._rules, self._order)
        winner = verdict.winner
        disturbed = finals.never_quiet([sample for each in raced for sample in each.control_samples])
        if winner is None or winner.estimate is None:
            if disturbed:
                return self._decision(
                    self._default, "candidate", f"{verdict.reason}; {disturbed}", NO_DIFFERENCE, (), raced
                )
            return self._confirmed(verdict.reason, raced)
        disturbed = finals.never_quiet(winner.control_samples)
        reason = f"{verdict.reason}; {disturbed}" if disturbed else verdict.reason
        status = "candidate" if disturbed else "verified"
        return self._decision(winner.settings, status, reason, winner.estimate, winner.log_ratios, raced)

    def cut_short(self, why: str) -> Decision:
        """The best trial whose interval clears the margin, or the defaults; not raced, so only a candidate."""
        bar = finals.bar_ratio(self._rules, self._resolution) if self._defaults_fit else math.inf
        clear = [each for each in self._contenders() if each.estimate and each.estimate.ratio_high < bar]
        if not clear or clear[0].estimate is None:
            return self._decision(self._default, "candidate", f"{why}; nothing faster was sure yet", NO_DIFFERENCE)
        best = clear[0]
        return self._decision(best.settings, "candidate", why, best.estimate or NO_DIFFERENCE, best.log_ratios)

    def verify(self, settings: Any) -> Decision:
        """One duel, and what it says. Raises BudgetSpentError, StoppedError."""
        record = self.attempt(settings, self._budget)
        self._history.append(record)
        self._listener.on_trial_end(record)
        bar = finals.bar_ratio(self._rules, self._resolution)
        status, reason = finals.judge_alone(record.outcome, record.reason, record.estimate, bar)
        if record.outcome is Outcome.OK and not self._defaults_fit:
            status, reason = "verified", "works within the memory that is allowed, the defaults need more"
        if status == "verified" and (disturbed := finals.never_quiet(record.control_samples)):
            status, reason = "candidate", f"{reason}; {disturbed}"
        return self._decision(settings, status, reason, record.estimate or NO_DIFFERENCE, record.log_ratios)

    def attempt(self, settings: Any, budget: Budget, rejected: str = "") -> TrialRecord:
        """One candidate against the control. rejected: why it need not be started. Raises as `Judge.duel` does."""
        number, start = len(self._history) + 1, self._budget.clock()
        since = self._seconds_before + start - self._started
        changes = tuple(knobs.changes(self._default, settings))
        if rejected:
            return TrialRecord(
                number, settings, changes, Outcome.REJECTED, rejected, None, (), 0.0, 0, 0.0, started_seconds=since
            )
        self._listener.on_trial_start(number, changes)
        result = self._judge.duel(
            settings, self._rules.explore, budget, lambda ratios: self._listener.on_pair(number, ratios)
        )
        seen = result.candidate
        return TrialRecord(
            number,
            settings,
            changes,
            seen.outcome,
            seen.reason,
            result.estimate,
            result.log_ratios,
            seen.open_seconds,
            seen.peak_memory_bytes,
            self._budget.clock() - start,
            seen.gates,
            since,
            seen.samples,
            result.control_samples,
            seen.stderr,
        )

    def _contenders(self) -> list[TrialRecord]:
        """For the finals: the fastest, and of those that may be as fast as the first the preferred ones."""
        possible = math.log1p(-self._rules.promote_margin)  # one that surely gains less would never be shipped
        if self._defaults_fit:
            promising = [
                each for each in self._history if each.promising and each.estimate and each.estimate.low < possible
            ]
        else:
            promising = [each for each in self._history if each.outcome is Outcome.OK and each.estimate]
        promising.sort(key=lambda each: each.estimate.mean if each.estimate else 0.0)
        fastest, rest = promising[:FASTEST_FINALISTS], promising[FASTEST_FINALISTS:]
        if not fastest or fastest[0].estimate is None:
            return []
        bound = fastest[0].estimate.high
        tied = [each for each in rest if each.estimate and each.estimate.low <= bound]
        tied.sort(key=lambda each: self._order(each.settings))
        others = [each for each in rest if each not in tied]
        return [*fastest, *tied, *others][: self._rules.finalists]

    def _kept_back(self) -> float:
        """Seconds for the finals: their starts and pairs at the control's own pace, within fixed shares."""
        control, rules = self._known_control(), self._rules
        one = control.open_seconds + 3 * sum(control.unit_seconds) + rules.final.pairs * control.pair_seconds
        needed = min(FINAL_ROUNDS_PLANNED, rules.final_rounds) * (rules.finalists + 1) * one
        if not needed:
            return 0.0
        return min(max(needed, LEAST_KEPT_BACK * self._budget_seconds), MOST_KEPT_BACK * self._budget_seconds)

    def _confirmed(self, reason: str, raced: tuple[Finalist, ...]) -> Decision:
        return self._decision(self._default, "default-confirmed", reason, NO_DIFFERENCE, (), raced)

    def _decision(
        self,
        settings: Any,
        status: Any,
        reason: str,
        estimate: Estimate,
        samples: tuple[float, ...] = (),
        raced: tuple[Finalist, ...] = (),
    ) -> Decision:
        return Decision(
            settings=settings,
            status=status,
            reason=reason,
            ratio=estimate.ratio,
            ci_low=estimate.ratio_low,
            ci_high=estimate.ratio_high,
            pairs=estimate.count,
            resolution=self._resolution,
            trials=sum(each.outcome is not Outcome.REJECTED for each in self._history),
            seconds=self._seconds_before + self._budget.clock() - self._started,
            seed=self._seed,
            control=self._known_control(),
            samples=samples,
            finals=raced,
            history=tuple(self._history),
            null=self._null,
            machine=self._machine,
        )

    def _known_control(self) -> Control:
        assert self._control is not None, "the defaults are measured first"
        return self._control


def _unraced(record: TrialRecord) -> Finalist:
    """Where there is no time for finals, the duel of the search decides."""
    samples, control_samples = (
        tuple(each for each in side if each.used) for side in (record.samples, record.control_samples)
    )
    return Finalist(
        record.settings, record.log_ratios, record.estimate, 1, samples=samples, control_samples=control_samples
    )
