"""The report of a session as one HTML file: no network, no scripts, readable on a phone, on paper, in light and dark.

A pure function of a decision and its profile. What could name a person or a single machine is left out of every text.
"""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from autotune import knobs
from autotune.charts import Scale, axis, dots, interval, mark, picture, scale_over, span
from autotune.decision import Decision, Finalist, TrialRecord
from autotune.errors import SearchError
from autotune.files import write_whole
from autotune.markup import Element, cleaned, document, element, group, row, section, table, titled
from autotune.measure import Gate, Outcome, Sample
from autotune.probe import summary as machine_summary
from autotune.profile import Profile
from autotune.report import changes_of, shown_changes, shown_estimate, shown_gates, summary
from autotune.stats import Estimate

STATUS_WORDS = {
    "verified": ("Faster settings verified", "best"),
    "default-confirmed": ("Default settings confirmed", "ok"),
    "candidate": ("Not finished", "slow"),
    "rejected": ("Rejected", "bad"),
}
KINDS = {Outcome.OK: "ok", Outcome.PRUNED: "slow", Outcome.REJECTED: "plain"}  # any other outcome is "bad"
WIDEST_RATIO = 2.5  # further right a candidate is just slow
FEW_TRIALS = 30  # below, importances are rough
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def write_report(decision: Decision, profile: Profile | None, path: Path) -> None:
    """profile: of this decision, None if there is none yet. Raises SearchError if the file can't be written."""
    try:
        write_whole(path, page(decision, profile))
    except OSError as error:
        raise SearchError(f"The report {path} can't be written ({error.strerror}); choose another place.") from error


def page(decision: Decision, profile: Profile | None) -> str:
    title = "Tuning report" if profile is None else f"Tuning report: {profile.subject}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("title", title),
        element("style", resources.files("autotune").joinpath("page.css").read_text(encoding="utf-8")),
    )
    sections = (
        _header(decision, profile, title),
        _settings(decision, profile),
        _ratios(decision),
        _latency(decision),
        _importances(decision),
        _timeline(decision),
        _memory(decision),
        _gates(decision),
        _trials(decision),
        _machine(decision, profile),
    )
    whole = element("html", head, element("body", *(each for each in sections if each is not None)), lang="en")
    return document(cleaned(whole))


# The parts, from top to bottom.


def _header(decision: Decision, profile: Profile | None, title: str) -> Element:
    words, kind = STATUS_WORDS.get(decision.status, (decision.status, "plain"))
    outcomes = Counter(each.outcome for each in decision.history)
    counted = ", ".join(f"{count} {outcome.value}" for outcome, count in outcomes.most_common())
    low, high = decision.ci_low, decision.ci_high
    changed = decision.pairs > 0
    tiles = [
        (f"{1 / decision.ratio:.2f}×" if changed else "1×", "speed of the default", "chosen settings"),
        (
            f"{decision.ratio:.3f}" if changed else "1",
            "of the default's time",
            f"95 %: {low:.3f} to {high:.3f}, {decision.pairs} pairs" if changed else "the defaults stay",
        ),
        (f"{decision.resolution:.1%}", "smallest difference that counts", _resolution_words(decision.null)),
        (str(decision.trials), "trials", counted or "none"),
        (_duration(decision.seconds), "measured", "" if profile is None or not profile.evidence else _date(profile)),
    ]
    boxes = [element("div", element("b", b), what, element("br"), element("small", note)) for b, what, note in tiles]
    return element(
        "header",
        element("h1", title),
        element("span", words, class_=f"status {kind}"),
        element("p", summary(decision)),
        element("div", *boxes, class_="tiles"),
    )


def _settings(decision: Decision, profile: Profile | None) -> Element:
    changes = [each.partition(": ") for each in changes_of(decision.settings, decision.history)]
    rows = [
        [("knob", name), ("default", before), ("chosen", after)]
        for name, _, values in changes
        for before, _, after in [values.partition(" -> ")]
    ]
    body = table(rows) if rows else element("p", "Nothing differs from the default settings.")
    settings = profile.settings if profile is not None else _plain(decision.settings)
    whole = element(
        "details",
        element("summary", "All settings as YAML"),
        element("pre", yaml.safe_dump(dict(settings), sort_keys=False)),
    )
    return section("Chosen settings", body, whole)


def _ratios(decision: Decision) -> Element | None:
    measured = [each for each in decision.history if each.estimate is not None]
    raced = _raced(decision)
    known = [decision.null, *(each.estimate for each in measured), *(each.estimate for each in raced)]
    estimates = [each for each in known if each is not None]
    if not estimates:
        return None
    ends = [min(WIDEST_RATIO, max(0.02, end)) for each in estimates for end in (each.ratio_low, each.ratio_high)]
    scale = scale_over([*ends, 1 / (1 + decision.resolution), 1 + decision.resolution], ratios=True)

    def line(label: str, found: Estimate, kind: str) -> Element:
        drawing = picture(
            f"{label}: {shown_estimate(found)}",
            span(scale, 1 / (1 + decision.resolution), 1 + decision.resolution, "band"),
            mark(scale, 1.0, "one"),
            *interval(scale, found.ratio_low, found.ratio, found.ratio_high, kind),
        )
        return row(label, drawing, shown_estimate(found))

    rows: list[Element] = []
    if decision.null is not None:
        rows.append(line("the default against itself (A/A)", decision.null, "plain"))
    if raced:
        rows.append(group("Finals: fresh pairs from fresh starts"))
        for each in sorted(raced, key=_ratio):
            kind = "bad" if each.failure else "best" if each.settings == decision.settings else "ok"
            if each.estimate is not None:
                rows.append(line(shown_changes(changes_of(each.settings, decision.history)), each.estimate, kind))
        rows.append(group("Search"))
    for trial in sorted(measured, key=_ratio):
        if trial.estimate is not None:
            kind = "best" if trial.settings == decision.settings else KINDS.get(trial.outcome, "bad")
            rows.append(line(f"{trial.number}. {shown_changes(trial.changes)}", trial.estimate, kind))
    rows.append(row("", axis(scale, "time ratio"), "", "axis"))
    return section(
        "Time against the default settings",
        element(
            "p",
            "Each line is a trimmed mean of paired ratios with its 95 % interval; left of 1 is faster. Inside the "
            f"shaded band ({decision.resolution:.1%} to each side) nothing is claimed.",
            class_="soft",
        ),
        element("figure", *rows),
        element("p", _disturbances(decision), class_="soft"),
    )


def _disturbances(decision: Decision) -> str:
    """How quiet the machine was while the pairs were measured."""
    seen: list[TrialRecord | Finalist] = [*decision.history, *_raced(decision)]
    pairs = [sample for each in seen for sample in each.control_samples]
    notes = [sample.note for sample in pairs if sample.note]
    if not notes:
        return ""
    counted = sum(sample.used and bool(sample.note) for sample in pairs)
    return (
        f"Something disturbed {len(notes)} of {len(pairs)} pairs ({Counter(notes).most_common(1)[0][0]}, for one); "
        f"{len(notes) - counted} of them were repeated, {counted} count."
    )


def _latency(decision: Decision) -> Element | None:
    """What was timed, block by block: the default beside the chosen settings, or beside the best that was seen."""
    label, samples, control_samples = _shown_pair(decision)
    if not samples or not control_samples:
        return None
    rows: list[Element] = []
    for unit in sorted({each.unit for each in samples}):
        sides = [
            (name, kind, [1000 * each.seconds / each.passes for each in side if each.unit == unit and each.used])
            for name, kind, side in (("default", "plain", control_samples), (label, "best", samples))
        ]
        scale = scale_over([value for _, _, values in sides for value in values])
        rows.append(group(f"Unit {unit}, milliseconds"))
        for name, kind, values in sides:
            if not values:
                continue
            middle, tail = statistics.median(values), _percentile(values, 0.95)
            words = f"median {middle:.4g}, p95 {tail:.4g}, n {len(values)}"
            drawing = picture(
                f"{name}: {words}",
                *dots(scale, values, kind),
                mark(scale, middle, "median", top=2, bottom=24),
                mark(scale, tail, "tail", top=2, bottom=24),
            )
            rows.append(row(name, drawing, words))
        rows.append(row("", axis(scale, "milliseconds"), "", "axis"))
    note = (
        "One dot is one block of the pairs above, so load that hit both sides shows in both. Line: median; dashed: p95."
    )
    return section("Distribution of times", element("p", note, class_="soft"), element("figure", *rows))


def _importances(decision: Decision) -> Element | None:
    if not decision.importances:
        return None
    scale = Scale(0.0, max(*decision.importances.values(), 1e-9))
    rows = [
        row(name, picture(f"{name}: {share:.0%}", span(scale, 0.0, share, "ok", top=6, height=14)), f"{share:.0%}")
        for name, share in decision.importances.items()
    ]
    worked = sum(each.log_ratio is not None for each in decision.history)
    rough = f" {worked} trials are few: take it as a hint." if worked < FEW_TRIALS else ""
    note = f"How much each knob sets the fastest quarter of the trials apart from all that ran (PED-ANOVA).{rough}"
    return section("Which knobs matter", element("p", note, class_="soft"), element("figure", *rows))


def _timeline(decision: Decision) -> Element | None:
    started = [each for each in decision.history if each.seconds > 0]
    if not started:
        return None
    scale = Scale(0.0, max(decision.seconds, *(each.started_seconds + each.seconds for each in started)))
    first, last = started[0].started_seconds, started[-1].started_seconds + started[-1].seconds
    parts = [titled(span(scale, 0.0, first, "plain", height=30), "default settings measured")]
    for each in started:
        end = each.started_seconds + each.seconds
        kind = "best" if each.settings == decision.settings else KINDS.get(each.outcome, "bad")
        block = span(scale, each.started_seconds, end, kind, height=30)
        parts.append(titled(block, f"{each.number}. {shown_changes(each.changes)}: {each.outcome.value}"))
        if scale.share(end) - scale.share(each.started_seconds) > 0.04:
            middle = scale.percent((each.started_seconds + end) / 2)
            parts.append(element("text", str(each.number), x=middle, y=44, text_anchor="middle"))
    if decision.seconds > last:
        after = "finals" if _raced(decision) else "not finished"
        parts.append(titled(span(scale, last, decision.seconds, "plain", height=30), after))
    used = [("best", "chosen"), ("ok", "ran to the end"), ("slow", "dropped early, slower"), ("bad", "failed")]
    legend = [
        element("li", element("span", words), class_=kind)
        for kind, words in [*used, ("plain", "default settings, finals, not finished")]
    ]
    strip = picture("trials in the order of time", *parts, height=50)
    refused = [each for each in decision.history if each.outcome is Outcome.REJECTED]
    why = Counter(each.reason for each in refused)
    rejects = element(
        "details",
        element("summary", f"{len(refused)} settings were ruled out without starting them"),
        element("ul", *(element("li", f"{count} × {reason}") for reason, count in why.most_common())),
    )
    return section(
        "Trials in time",
        element("figure", strip, axis(scale, "seconds")),
        element("ul", *legend, class_="legend"),
        *([rejects] if refused else []),
    )


def _memory(decision: Decision) -> Element | None:
    seen = [each for each in decision.history if each.peak_memory_bytes > 0]
    if not seen:
        return None
    default = decision.control.peak_memory_bytes
    scale = Scale(0.0, float(max(default, *(each.peak_memory_bytes for each in seen))))

    def bar(label: str, size: int, kind: str) -> Element:
        value = f"{size / 2**20:.0f} MiB"
        drawing = picture(
            f"{label}: {value}",
            span(scale, 0.0, float(size), kind, top=6, height=14),
            mark(scale, float(default), "one"),
        )
        return row(label, drawing, value)

    rows = [bar("default", default, "plain")]
    for each in seen:
        kind = "best" if each.settings == decision.settings else KINDS.get(each.outcome, "bad")
        rows.append(bar(f"{each.number}. {shown_changes(each.changes)}", each.peak_memory_bytes, kind))
    note = "Largest resident memory of each trial's process; the dashed line is the default's."
    return section("Memory", element("p", note, class_="soft"), element("figure", *rows))


def _gates(decision: Decision) -> Element | None:
    chosen = next((each for each in decision.history if each.settings == decision.settings and each.gates), None)
    failed = [(each, gate) for each in decision.history for gate in each.gates if not gate.passed]
    rows = [_gate_cells("chosen", gate) for gate in (chosen.gates if chosen else ())]
    rows += [_gate_cells(f"trial {each.number}", gate) for each, gate in failed if each is not chosen]
    if not rows:
        return None
    note = "Outputs of the chosen settings, and every check that a trial failed, against the default's outputs."
    return section("Quality gates", element("p", note, class_="soft"), table(rows))


def _gate_cells(whose: str, gate: Gate) -> list[tuple[str, str]]:
    return [
        ("settings", whose),
        ("gate", gate.name),
        ("result", "passed" if gate.passed else "failed"),
        ("value", f"{gate.value:.4g}"),
        ("limit", f"{gate.limit:.4g}"),
        ("what", gate.detail),
    ]


def _trials(decision: Decision) -> Element | None:
    rows = [
        [
            ("trial", str(each.number)),
            ("differs in", shown_changes(each.changes)),
            ("time ratio (95 %)", shown_estimate(each.estimate)),
            ("outcome", ": ".join(part for part in (each.outcome.value, each.reason) if part)),
            ("gates", shown_gates(each.gates)),
            ("opened in", f"{each.open_seconds:.1f} s" if each.open_seconds else ""),
            ("took", f"{each.seconds:.0f} s" if each.seconds else ""),
        ]
        for each in decision.history
    ]
    return section("All trials", table(rows)) if rows else None


def _machine(decision: Decision, profile: Profile | None) -> Element:
    facts: list[tuple[str, str]] = [] if decision.machine is None else machine_summary(decision.machine)
    if profile is not None:
        facts.insert(0, ("class", profile.match.hw_class))
        made = profile.provenance
        facts += [("profile", profile.id), ("scenario", profile.scenario), ("tool", f"{made.tool} {made.version}")]
        facts += [("space of settings", made.space_key)] if made.space_key else []
        if profile.evidence is not None:
            facts += [("measured", profile.evidence.objective), ("unit", profile.evidence.unit)]
    control = decision.control
    seconds = ", ".join(f"{each:.3g}" for each in control.unit_seconds)
    facts += [
        ("default settings", f"open in {control.open_seconds:.1f} s, {seconds} s per unit"),
        ("seed of the search", str(decision.seed)),
    ]
    rows = [part for name, value in facts for part in (element("dt", name), element("dd", value or "none"))]
    return section("Machine and software", element("dl", *rows))


# What the parts are made of.


def _plain(settings: Any) -> Mapping[str, Any]:
    return settings if isinstance(settings, Mapping) else knobs.dump(settings)


def _raced(decision: Decision) -> list[Finalist]:
    """Those with pairs of their own: where there is no time for finals, the search's pairs decide."""
    known = {each.log_ratios for each in decision.history}
    return [each for each in decision.finals if each.log_ratios and each.log_ratios not in known]


def _ratio(each: TrialRecord | Finalist) -> float:
    return math.inf if each.estimate is None else each.estimate.mean


def _shown_pair(decision: Decision) -> tuple[str, tuple[Sample, ...], tuple[Sample, ...]]:
    """(name, its blocks, the control's): of the chosen settings, or of the best where the defaults stay."""
    seen: list[TrialRecord | Finalist] = [*decision.finals, *decision.history]
    timed = [each for each in seen if each.samples and each.control_samples and each.estimate is not None]
    chosen = [each for each in timed if each.settings == decision.settings]
    for label, those in (("chosen", chosen), ("best candidate", sorted(timed, key=_ratio))):
        if those:
            return label, those[0].samples, those[0].control_samples
    return "", (), ()


def _percentile(values: Sequence[float], share: float) -> float:
    """By the nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _resolution_words(null: Estimate | None) -> str:
    return "assumed; no time for an A/A test" if null is None else f"A/A: {shown_estimate(null)}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _date(profile: Profile) -> str:
    return "" if profile.evidence is None else profile.evidence.date
