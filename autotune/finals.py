"""The finals: a few candidates in fresh pairs against a fresh control, and the decision to ship one, or to refuse.

Knows the judge only by its protocol, and nothing of processes or Optuna.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autotune import knobs, stats
from autotune.decision import Finalist, Status
from autotune.duel import Judge, Rules
from autotune.measure import Budget, BudgetSpentError, Outcome, Sample
from autotune.stats import Estimate

Order = Callable[[Any], tuple[Any, ...]]
OnFinal = Callable[[Finalist], None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """winner: None if the defaults stay. reason: one sentence."""

    winner: Finalist | None
    finalists: tuple[Finalist, ...]
    reason: str


def race(
    judge: Judge,
    candidates: Sequence[Any],
    rules: Rules,
    budget: Budget,
    generator: np.random.Generator,
    on_final: OnFinal,
    *,
    bar: bool = True,
) -> tuple[Finalist, ...]:
    """Round after round of fresh pairs, each with a fresh process, until all is clear or the budget ends.

    candidates: settings, the most promising first, so that a short budget is spent on them. bar: whether one must beat
    the defaults to be chosen. Raises StoppedError.
    """
    field = [Finalist(settings) for settings in candidates]
    try:
        for _ in range(rules.final_rounds):
            judge.renew(budget)
            for index in _open_questions(field, rules, bar=bar):
                field[index] = _one_round(judge, field[index], rules, budget, generator)
                on_final(field[index])
            if not _open_questions(field, rules, bar=bar):
                break
    except BudgetSpentError:
        pass  # what is measured so far decides; wide intervals refuse by themselves
    return tuple(field)


def bar_ratio(rules: Rules, resolution: float) -> float:
    """The ratio to the default's time that the upper end of an interval must stay below: 0.98, or less on a machine
    that can't show such a difference now."""
    return min(1 - rules.promote_margin, 1 / (1 + resolution))


def preference(cost: Callable[[Any], tuple[float, ...]], default: Any) -> Order:
    """The order among equally fast settings: the subject's cost, then fewer knobs away from the defaults, then their
    names. Never the measured time, which among equals is luck: a second tuning would choose another."""
    return lambda settings: (cost(settings), len(changes := knobs.changes(default, settings)), changes)


def decide(finalists: Sequence[Finalist], rules: Rules, resolution: float, order: Order) -> Verdict:
    """The preferred finalist among the fastest that surely beat the defaults by more than margin and resolution.

    order: smaller is preferred, see `preference`.
    """
    bar = bar_ratio(rules, resolution)
    raced = [each for each in finalists if each.estimate is not None and not each.failure]
    eligible = [each for each in raced if each.estimate is not None and each.estimate.ratio_high < bar]
    if not eligible:
        return Verdict(None, tuple(finalists), _refusal(raced, bar))
    winner, among = _preferred(eligible, rules, order)
    assert winner.estimate is not None
    reason = f"takes {winner.estimate.ratio:.3f} of the default's time, surely below {bar:.3f}{among}"
    return Verdict(winner, tuple(finalists), reason)


def _preferred(raced: Sequence[Finalist], rules: Rules, order: Order) -> tuple[Finalist, str]:
    """Of those that can't be told from the fastest; and words about it. raced: with estimates, at least one."""
    estimates = [each.estimate for each in raced if each.estimate is not None]
    margins = [max(math.log1p(rules.tie_margin), hidden) for hidden in _hidden_by_luck(raced)]
    tied = [raced[index] for index in stats.tie_set(estimates, margins)]
    among = f", preferred among {len(tied)} equally fast ones" if len(tied) > 1 else ""
    return min(tied, key=lambda each: order(each.settings)), among


def _hidden_by_luck(finalists: Sequence[Finalist]) -> list[float]:
    """By how much, in log units, each may differ from an equal one that was started most often: 95 % of what the luck
    of starts can do. Pairs of one start say nothing of it; intervals over pairs are too narrow for telling finalists
    apart.
    """
    luck = stats.start_luck([each.starts for each in finalists])
    rounds = [max(1, each.rounds) for each in finalists]
    return [1.96 * luck * math.sqrt(1 / count + 1 / max(rounds)) for count in rounds]


def never_quiet(control_samples: Sequence[Sample]) -> str:
    """Why pairs prove nothing, or "": something disturbed each one that counts."""
    notes = [each.note for each in control_samples if each.used]
    if not notes or not all(notes):
        return ""
    most = Counter(notes).most_common(1)[0][0]
    return f"something disturbed all {len(notes)} pairs ({most}); tune again when the machine is quiet"


def fastest(finalists: Sequence[Finalist], rules: Rules, order: Order) -> Verdict:
    """Where the defaults are no choice, since they need more than is allowed: the preferred among the fastest."""
    raced = [each for each in finalists if each.estimate is not None and not each.failure]
    if not raced:
        return Verdict(None, tuple(finalists), "no candidate lasted through the finals")
    winner, among = _preferred(raced, rules, order)
    assert winner.estimate is not None
    reason = f"the defaults need too much memory, of the others this is the fastest{among}"
    return Verdict(winner, tuple(finalists), f"{reason}: {winner.estimate.ratio:.3f} of the default's time")


def judge_alone(outcome: Outcome, why: str, estimate: Estimate | None, bar: float) -> tuple[Status, str]:
    """What one duel says of settings that were expected to be faster: a status and the reason as a sentence's part.

    why: of an outcome that is not OK. bar: as `bar_ratio` gives it.
    """
    if outcome is Outcome.PRUNED or (outcome is Outcome.OK and estimate is not None and estimate.low > 0):
        shown = "" if estimate is None else f"takes {estimate.ratio:.3f} of the default's time"
        return "rejected", ", ".join(part for part in (shown, why or "surely slower") if part)
    if outcome is not Outcome.OK or estimate is None:
        return "rejected", f"{outcome.value}: {why}" if why else outcome.value
    span = f"takes {estimate.ratio:.3f} of the default's time ({estimate.ratio_low:.3f} to {estimate.ratio_high:.3f})"
    if estimate.ratio_high < bar:
        return "verified", f"{span}, surely below {bar:.3f}"
    return "candidate", f"{span}, not surely below {bar:.3f}"


def _refusal(raced: Sequence[Finalist], bar: float) -> str:
    estimates = [each.estimate for each in raced if each.estimate is not None]
    if not estimates:
        return "no candidate was faster than the default settings and lasted through the finals"
    best = min(estimates, key=lambda each: each.mean)
    return (
        f"the best candidate takes {best.ratio:.3f} of the default's time ({best.ratio_low:.3f} to "
        f"{best.ratio_high:.3f}), not surely below {bar:.3f}"
    )


def _one_round(
    judge: Judge, finalist: Finalist, rules: Rules, budget: Budget, generator: np.random.Generator
) -> Finalist:
    result = judge.duel(finalist.settings, rules.final, budget, lambda _: None)
    if result.candidate.outcome is not Outcome.OK:
        return replace(finalist, failure=f"{result.candidate.outcome.value}: {result.candidate.reason}")
    ratios = (*finalist.log_ratios, *result.log_ratios)
    return replace(
        finalist,
        log_ratios=ratios,
        estimate=stats.estimate(ratios, generator),
        rounds=finalist.rounds + 1,
        starts=(*finalist.starts, stats.trimmed_mean(result.log_ratios)),
        samples=(*finalist.samples, *result.candidate.used),
        control_samples=(*finalist.control_samples, *(each for each in result.control_samples if each.used)),
    )


def _open_questions(field: Sequence[Finalist], rules: Rules, *, bar: bool) -> list[int]:
    """Indices of finalists about whom more pairs could change the decision.

    One that surely gains less than the margin is settled, so is one that is surely behind the fastest by more than the
    tie margin and the luck of its starts, so is one whose interval is narrow after at least two starts. bar: whether
    the defaults must be beaten.
    """
    standing = [each.estimate for each in field if each.estimate is not None and not each.failure]
    best_high = min((each.high for each in standing), default=math.inf)
    indices = []
    for index, each in enumerate(field):
        if each.failure:
            continue
        if each.estimate is not None:
            too_small = bar and each.estimate.low > math.log1p(-rules.promote_margin)
            luck = rules.start_luck / each.rounds
            behind = each.estimate.low > best_high + math.log1p(rules.tie_margin) + luck
            narrow = each.rounds >= 2 and each.estimate.half_width < rules.final_half_width
            if too_small or behind or narrow:
                continue
        indices.append(index)
    return indices
