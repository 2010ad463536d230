"""`tune`: default first, trials as duels, finals, decision. A straight line; what each step does is elsewhere."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autotune import finals, knobs
from autotune.arena import Arena
from autotune.decision import Decision, Finalist, Listener, Silent, TrialRecord
from autotune.duel import Control, Judge, Rules, resolution
from autotune.errors import SearchError
from autotune.machine import Machine
from autotune.measure import Budget, BudgetSpentError, Outcome, StoppedError
from autotune.search import Explorer, Proposal
from autotune.stats import NO_DIFFERENCE, Estimate
from autotune.subject import Subject, SubjectName

LEAST_KEPT_BACK, MOST_KEPT_BACK = 0.15, 0.45  # shares of the budget that the finals may claim
FINAL_ROUNDS_PLANNED = 2


def tune(
    subject_name: SubjectName,
    machine: Machine,
    *,
    budget_seconds: float,
    max_trials: int,
    seeds: Sequence[Any] = (),
    storage: Path | None = None,
    listener: Listener | None = None,
    seed: int = 0,
    rules: Rules | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Decision:
    """Find the fastest settings whose output is still right, on this machine, within the budget.

    seeds: settings to try first; values that this machine does not allow are fitted in. storage: an SQLite file that
    keeps the study between sessions. stop: asked often; when true (or on Ctrl-C) the best so far is returned, unless
    the defaults are not measured yet: then KeyboardInterrupt comes through, and `stop` raises SearchError.
    Raises SearchError (bad arguments, budget too short), TrialError (the defaults do not run here), ImportError (the
    subject's module).
    """
    if budget_seconds <= 0 or max_trials < 1:
        raise SearchError(f"Got budget_seconds={budget_seconds} and max_trials={max_trials}; both must be above 0.")
    subject, chosen = subject_name.create(), rules or Rules()
    with Arena(subject_name, subject, machine, chosen, seed) as arena:
        return tune_with(
            arena,
            subject,
            machine,
            budget=Budget.of(budget_seconds, stop),
            max_trials=max_trials,
            seeds=seeds,
            storage=storage,
            listener=listener or Silent(),
            seed=seed,
            rules=chosen,
        )


def tune_with(
    judge: Judge,
    subject: Subject,
    machine: Machine,
    *,
    budget: Budget,
    max_trials: int,
    seeds: Sequence[Any],
    storage: Path | None,
    listener: Listener,
    seed: int,
    rules: Rules,
) -> Decision:
    """`tune` with any judge: live processes, or measurements recorded elsewhere."""
    session = Session(judge, subject, machine, budget, listener, seed, rules)
    session.measure_default()
    explorer = Explorer(subject, machine, seeds=seeds, storage=storage, seed=seed, trials=max_trials)
    try:
        session.explore(explorer, max_trials)
        return session.conclude()
    except (StoppedError, KeyboardInterrupt):
        listener.on_note("stopped: the best so far")
        return session.cut_short("the session was stopped before the finals ended")
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
    ) -> None:
        self._judge, self._subject, self._machine = judge, subject, machine
        self._budget, self._listener, self._seed, self._rules = budget, listener, seed, rules
        self._default = subject.default(machine)
        self._started, self._budget_seconds = time.monotonic(), budget.left()
        self._history: list[TrialRecord] = []
        self._resolution = 0.0
        self._control: Control | None = None

    def measure_default(self) -> None:
        """Raises SearchError if the budget does not even allow this, TrialError if the defaults do not run."""
        self._listener.on_machine(self._machine, self._budget_seconds)
        try:
            self._control = self._judge.start(self._budget)
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
        return resolution(self._judge.null(self._budget))

    def explore(self, explorer: Explorer, max_trials: int) -> None:
        """Trials until the count, the space or the time that is not kept back for the finals is used up."""
        searching = self._budget.without(self._kept_back())
        allowed = max(searching.left(), 1e-9)
        refused = 0
        while (done := len(self._history) - refused) < max_trials and refused < 20 * max_trials:
            progress = max(done / max_trials, 1 - searching.left() / allowed)
            proposal = explorer.propose(progress)
            if proposal is None:
                self._listener.on_note("every setting of this space is known")
                return
            try:
                searching.check()
                record = self._try(proposal, searching)
            except (BudgetSpentError, StoppedError, KeyboardInterrupt) as end:
                explorer.forget(proposal)
                if isinstance(end, BudgetSpentError):
                    return
                raise
            refused += record.outcome is Outcome.REJECTED
            self._history.append(record)
            comparable = record.outcome in (Outcome.OK, Outcome.PRUNED) and record.estimate is not None
            explorer.learn(
                proposal,
                record.estimate.mean if comparable and record.estimate else None,
                {"outcome": record.outcome.value, "reason": record.reason, "log_ratios": list(record.log_ratios)},
            )
            self._listener.on_trial_end(record)

    def conclude(self) -> Decision:
        """Race the most promising trials and decide. Raises StoppedError."""
        if not any(each.outcome is not Outcome.REJECTED for each in self._history):
            return self.cut_short("the budget was over before a candidate was measured")
        contenders = self._contenders()
        if not contenders:
            return self._confirmed(f"no candidate can be faster by {self._rules.promote_margin:.0%}", ())
        if self._rules.final_rounds == 0:
            return self._decided(
                tuple(Finalist(each.settings, each.log_ratios, each.estimate, 1) for each in contenders)
            )
        self._listener.on_note(f"finals: {len(contenders)} candidates in fresh pairs")
        generator = np.random.default_rng(self._seed)
        raced = finals.race(
            self._judge,
            [each.settings for each in contenders],
            self._rules,
            self._budget,
            generator,
            lambda each: self._listener.on_final(each, knobs.changes(self._default, each.settings)),
        )
        if not any(each.rounds or each.failure for each in raced):
            return self.cut_short("the budget was over before a final was run")
        return self._decided(raced)

    def _decided(self, raced: tuple[Finalist, ...]) -> Decision:
        verdict = finals.decide(raced, self._rules, self._resolution, self._subject.cost)
        winner = verdict.winner
        if winner is None or winner.estimate is None:
            return self._confirmed(verdict.reason, raced)
        return self._decision(winner.settings, "verified", verdict.reason, winner.estimate, winner.log_ratios, raced)

    def cut_short(self, why: str) -> Decision:
        """The best trial whose interval clears the margin, or the defaults; not raced, so only a candidate."""
        bar = finals.bar_ratio(self._rules, self._resolution)
        clear = [each for each in self._contenders() if each.estimate and each.estimate.ratio_high < bar]
        if not clear or clear[0].estimate is None:
            return self._decision(self._default, "candidate", f"{why}; nothing faster was sure yet", NO_DIFFERENCE)
        best = clear[0]
        return self._decision(best.settings, "candidate", why, best.estimate or NO_DIFFERENCE, best.log_ratios)

    def _try(self, proposal: Proposal, budget: Budget) -> TrialRecord:
        number, start = len(self._history) + 1, time.monotonic()
        changes = tuple(knobs.changes(self._default, proposal.settings))
        if proposal.rejected:
            return TrialRecord(
                number, proposal.settings, changes, Outcome.REJECTED, proposal.rejected, None, (), 0.0, 0, 0.0
            )
        self._listener.on_trial_start(number, changes)
        result = self._judge.duel(
            proposal.settings, self._rules.explore, budget, lambda ratios: self._listener.on_pair(number, ratios)
        )
        seen = result.candidate
        return TrialRecord(
            number,
            proposal.settings,
            changes,
            seen.outcome,
            seen.reason,
            result.estimate,
            result.log_ratios,
            seen.open_seconds,
            seen.peak_memory_bytes,
            time.monotonic() - start,
            seen.gates,
        )

    def _contenders(self) -> list[TrialRecord]:
        possible = math.log1p(-self._rules.promote_margin)  # one that surely gains less would never be shipped
        promising = [
            each for each in self._history if each.promising and each.estimate and each.estimate.low < possible
        ]
        promising.sort(key=lambda each: each.estimate.mean if each.estimate else 0.0)
        return promising[: self._rules.finalists]

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
            seconds=time.monotonic() - self._started,
            seed=self._seed,
            control=self._known_control(),
            samples=samples,
            finals=raced,
            history=tuple(self._history),
        )

    def _known_control(self) -> Control:
        assert self._control is not None, "the defaults are measured first"
        return self._control
