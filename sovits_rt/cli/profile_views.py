"""How profiles look: for people as tables, for programs as plain data.

Profiles come from anybody, so their texts are shown as plain text, without control characters.
"""

from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from autotune import knobs
from autotune.errors import KnobError, ProfileError
from autotune.fingerprint import software_changes
from autotune.plain import shortened
from autotune.profile import Evidence, Profile
from sovits_rt.selection import Explanation
from sovits_rt.settings import Settings

STATUSES = {
    "candidate": "Candidate, nothing is sure yet",
    "verified": "Verified, surely faster than the default settings",
    "default-confirmed": "Default confirmed, nothing was surely faster",
    "stale": "Stale, to be verified again",
    "rejected": "Rejected, not used",
}
ORIGINS = {
    "tuned": "won a search on such a machine",
    "verified": "another profile, measured on such a machine",
    "derived": "derived from rules, never measured",
    "imported": "brought in from elsewhere",
}


def plain(value: object) -> Text:
    """Neither rich's styles nor a terminal's commands work in it."""
    return Text("".join(letter if letter.isprintable() else "\ufffd" for letter in str(value)))


def settings_of(profile: Profile) -> Settings:
    """As written, whatever machine this is. Raises ProfileError for a knob or value that does not exist."""
    try:
        return knobs.load(Settings, profile.settings)
    except KnobError as error:
        raise ProfileError(f"Profile {profile.id} has settings of another release: {shortened(str(error))}") from error


def listed(known: list[tuple[str, Profile]]) -> Table:
    table = Table("id", "origin", "status", "machine", "gain")
    for origin, each in known:
        cells = (each.id, origin, each.status, each.match.hw_class, gain(each.evidence))
        table.add_row(*(plain(cell) for cell in cells))
    return table


def gain(evidence: Evidence | None) -> str:
    """Empty where none is sure."""
    return f"{1 / evidence.ratio:.2f}x" if evidence is not None and evidence.pairs and evidence.ci_high < 1 else ""


def show(profile: Profile, console: Console) -> None:
    facts = profile.match.facts
    rows = [
        ("profile", profile.id),
        ("status", STATUSES[profile.status]),
        ("for", f"{profile.subject}, {profile.scenario}"),
        ("machine", f"{profile.match.hw_class}: {machine_words(profile)}"),
        ("instruction sets", " ".join(facts.isa) or "none known"),
        *evidence_rows(profile.evidence),
        ("origin", ORIGINS[profile.provenance.origin]),
        ("source", profile.provenance.source),
        ("written by", f"{profile.provenance.tool} {profile.provenance.version}"),
        ("trials", ", ".join(f"{count} {name}" for name, count in profile.provenance.counts.items())),
        ("note", profile.provenance.note),
    ]
    console.print(grid([row for row in rows if row[1]]))
    if profile.quality:
        table = Table("quality gate", "value", "limit", "passed", "what it is")
        for gate in profile.quality:
            cells = (gate.name, f"{gate.value:.3g}", f"{gate.limit:.3g}", "yes" if gate.passed else "NO", gate.detail)
            table.add_row(*(plain(cell) for cell in cells))
        console.print(table)
    default = knobs.flatten(Settings())
    table = Table("knob", "value", "default", "what it is")
    docs = {row.path: row.doc for row in knobs.describe(Settings)}
    for path, value in knobs.flatten(settings_of(profile)).items():
        table.add_row(*(plain(cell) for cell in (path, value, default.get(path, "-"), docs[path])))
    console.print(table)


def machine_words(profile: Profile) -> str:
    facts = profile.match.facts
    parts = [
        facts.device_name and f"{facts.device_name}, {facts.device_memory_gib} GiB",
        f"{facts.cpu_vendor} {facts.cpu_family} ({facts.cpu_arch})",
        f"{facts.cores} cores",
        facts.efficiency_cores and f"{facts.efficiency_cores} of them slow",
        f"{facts.memory_gib} GiB",
    ]
    return ", ".join(str(part) for part in parts if part)


def evidence_rows(evidence: Evidence | None) -> list[tuple[str, str]]:
    if evidence is None:
        return [("evidence", "none: nothing was measured")]
    compared = (
        f"{evidence.ratio:.3f} of the default's time (95 %: {evidence.ci_low:.3f} to {evidence.ci_high:.3f}) over "
        f"{evidence.pairs} pairs"
    )
    return [
        ("evidence", compared if evidence.pairs else "no pairs with the default settings were measured"),
        ("default takes", f"{evidence.control_seconds:.3g} s: {evidence.objective} ({evidence.unit})"),
        ("resolution", f"differences below {evidence.resolution:.1%} did not count"),
        ("effort", f"{evidence.trials} trials in {evidence.tuning_seconds:.0f} s, {evidence.date}"),
        ("software", ", ".join(f"{name} {version}" for name, version in evidence.software.items())),
        ("figures", ", ".join(f"{name} {value:g}" for name, value in evidence.figures.items())),
    ]


def grid(rows: list[tuple[str, str]]) -> Table:
    table = Table(show_header=False, box=None)
    for name, value in rows:
        table.add_row(name, plain(value))
    return table


def explained(found: Explanation) -> dict[str, Any]:
    return {
        "hw_class": found.hw_class,
        "subject": found.subject,
        "selected": found.selection.label,
        "tuned_here": found.selection.tuned_here,
        "notes": list(found.selection.notes),
        "considered": [
            {
                "id": each.profile.id,
                "origin": each.origin,
                "status": each.profile.status,
                "how": each.how,
                "distance": each.distance,
                "reason": each.reason,
            }
            for each in found.considered
        ],
        "knobs": [
            {"path": k.path, "value": k.value, "default": k.default, "source": k.source, "exact": k.exact, "doc": k.doc}
            for k in found.knobs
        ],
    }


def explain(found: Explanation, console: Console) -> None:
    rows = [("machine", found.hw_class), ("models", found.subject), ("settings", found.selection.label)]
    rows += [
        ("tuned here", "yes" if found.selection.tuned_here else "no: the next `synth` measures, unless told not to")
    ]
    rows += [("note", note) for note in found.selection.notes]
    console.print(grid(rows))
    counting = [each for each in found.considered if each.how]
    table = Table("profile", "origin", "status here", "why")
    for each in counting or found.considered[:1]:
        cells = (each.profile.id, each.origin, each.profile.status, each.reason)
        table.add_row(*(plain(cell) for cell in cells))
    if found.considered:
        console.print(table)
    if others := len(found.considered) - len(counting or found.considered[:1]):
        console.print(f"{others} more do not count here; --json lists them with the reasons.", markup=False)
    table = Table("knob", "value", "comes from", "what it is")
    for knob in found.knobs:
        value = str(knob.value) if knob.value == knob.default else f"{knob.value} (default {knob.default})"
        doc = knob.doc if knob.exact else f"{knob.doc} May change the audio."
        table.add_row(*(plain(cell) for cell in (knob.path, value, knob.source, doc)))
    console.print(table)


Side = tuple[str, Profile | None, Settings]


def differences(first: Side, second: Side) -> dict[str, Any]:
    return {
        "a": first[0],
        "b": second[0],
        "knobs": [{"path": path, "a": a, "b": b} for path, a, b in knob_rows(first, second)],
        "evidence": [{"what": what, "a": a, "b": b} for what, a, b in fact_rows(first, second)],
    }


def knob_rows(first: Side, second: Side) -> list[tuple[str, Any, Any]]:
    """Those that differ; None where a knob is not in use."""
    a, b = knobs.flatten(first[2]), knobs.flatten(second[2])
    paths = [*a, *(path for path in b if path not in a)]
    return [(path, a.get(path), b.get(path)) for path in paths if a.get(path) != b.get(path)]


def fact_rows(first: Side, second: Side) -> list[tuple[str, str, str]]:
    """Those that differ, with "" where there is nothing."""
    left, right = facts_of(first[1]), facts_of(second[1])
    rows = [(what, left.get(what, ""), right.get(what, "")) for what in {**left, **right}]
    return [row for row in rows if row[1] != row[2]]


def facts_of(profile: Profile | None) -> dict[str, str]:
    if profile is None:
        return {}
    rows = [("status", profile.status), ("for", profile.subject), ("machine", profile.match.hw_class)]
    return dict([*rows, ("origin", ORIGINS[profile.provenance.origin]), *evidence_rows(profile.evidence)])


def diff(first: Side, second: Side, console: Console) -> None:
    tables = (("knob", knob_rows(first, second)), ("", fact_rows(first, second)))
    for heading, rows in tables:
        if rows:
            table = Table(heading, Column(plain(first[0])), Column(plain(second[0])))
            for what, a, b in rows:
                table.add_row(*(plain("-" if cell is None else cell) for cell in (what, a, b)))
            console.print(table)
    if not tables[0][1]:
        console.print("Both have the same settings.")
    if (note := comparability(first[1], second[1])) is not None:
        console.print(plain(note))


def comparability(first: Profile | None, second: Profile | None) -> str | None:
    """Why the two ratios may not be compared, or None."""
    if first is None or second is None or first.evidence is None or second.evidence is None:
        return None
    if first.match != second.match or first.subject != second.subject:
        return "Measured on different machines or models: each ratio is to the default settings there."
    if changes := software_changes(first.evidence.software, second.evidence.software):
        return f"Measured with different software ({', '.join(changes)})."
    return None
