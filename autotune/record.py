"""From a decision to the profile that is stored: the evidence with its samples, what was checked, what wrote it."""

import datetime
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from autotune import knobs
from autotune.decision import Decision
from autotune.fingerprint import fingerprint, is_exact, software_stamp
from autotune.knobs.convert import digest
from autotune.machine import Machine
from autotune.measure import Outcome
from autotune.profile import Evidence, GateResult, Match, Profile, Provenance, profile_id, redacted
from autotune.subject import Subject


def profile_of(
    decision: Decision,
    subject: Subject,
    machine: Machine,
    *,
    scenario: str,
    objective: str,
    unit: str,
    tool: str,
    version: str,
    environment: Mapping[str, str],
    figures: Mapping[str, float] | None = None,
) -> Profile:
    """objective: what was measured; unit: in words, with its direction; tool, version: who writes the profile; figures:
    more numbers for the evidence."""
    facts = fingerprint(machine)
    outcomes = Counter(record.outcome.value for record in decision.history)
    evidence = Evidence(
        objective=objective,
        unit=unit,
        control_seconds=sum(decision.control.unit_seconds),
        ratio=decision.ratio,
        ci_low=decision.ci_low,
        ci_high=decision.ci_high,
        pairs=decision.pairs,
        resolution=decision.resolution,
        trials=decision.trials,
        tuning_seconds=round(decision.seconds, 1),
        software=software_stamp(machine),
        date=datetime.date.today().isoformat(),
        samples={
            "ratio": tuple(round(math.exp(each), 5) for each in decision.samples),
            **{
                f"trial_{record.number}": tuple(round(math.exp(each), 5) for each in record.log_ratios)
                for record in decision.history
                if record.log_ratios
            },
        },
        figures={
            "control_peak_memory_bytes": float(decision.control.peak_memory_bytes),
            "control_open_seconds": round(decision.control.open_seconds, 2),
            **_chosen_figures(decision),
            **(figures or {}),
        },
    )
    return Profile(
        id=profile_id(facts, subject.name, scenario),
        subject=subject.name,
        scenario=scenario,
        status=decision.status,
        match=Match.of(facts),
        settings=knobs.dump(decision.settings),
        provenance=Provenance(
            tool=tool,
            version=version,
            space_key=knobs.space_key(subject.settings_type, machine),
            counts=dict(outcomes),
            note=redacted(decision.reason),  # may quote what a crashed process said last
        ),
        environment=environment,
        evidence=evidence,
        quality=_quality(decision),
    )


def _chosen_figures(decision: Decision) -> dict[str, float]:
    """What was learnt of memory: the chosen settings' peak, and how many trials ran out of it."""
    chosen = knobs.key(decision.settings)
    peaks = [each.peak_memory_bytes for each in decision.history if knobs.key(each.settings) == chosen]
    failed = [each for each in decision.history if each.outcome is Outcome.OUT_OF_MEMORY]
    return {
        **({"peak_memory_bytes": float(max(peaks))} if any(peaks) else {}),
        **({"out_of_memory_trials": float(len(failed))} if failed else {}),
    }


def _quality(decision: Decision) -> tuple[GateResult, ...]:
    """The gates of the trial that was chosen, failed ones only of a rejected one; none where the defaults stay."""
    chosen = knobs.key(decision.settings)
    for record in decision.history:
        if knobs.key(record.settings) == chosen and (record.outcome is Outcome.OK or decision.status == "rejected"):
            return tuple(GateResult(g.name, g.passed, g.value, g.limit, g.detail) for g in record.gates)
    return ()


def verified_again(old: Profile, measured: Profile, *, local: bool) -> Profile:
    """What is kept after `old` was measured again, as `measured` on this machine. local: `old` was made here.

    The same machine and subject: the same id, so that the new evidence replaces the old. Otherwise a profile of this
    machine, whose source says where its settings come from. Where neither gain nor loss was sure, a profile that was
    once verified here is stale, any other one is a candidate.
    """
    same = (old.subject, old.scenario) == (measured.subject, measured.scenario) and is_exact(
        old.match.facts, measured.match.facts
    )
    once = same and local and old.status in ("verified", "stale") and old.provenance.origin != "imported"
    return replace(
        measured,
        id=old.id if same else f"{measured.id}-from-{digest(old.id)[:8]}",
        status="stale" if once and measured.status == "candidate" else measured.status,
        provenance=replace(measured.provenance, origin="verified", source=old.id),
    )
