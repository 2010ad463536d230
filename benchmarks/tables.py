"""Outcomes for people: tables on the terminal, and pictures (the extra `plots`)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from benchmarks.outcome import Line, Outcome, Versus

WEAK_SPREAD = 0.1
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#000000")
ROW_INCHES, WIDTH_INCHES = 0.32, 9.0


def tables(outcome: Outcome) -> RenderableType:
    """Who took part, the figures, and what there is to doubt."""
    return Group(_heading(outcome), _people(outcome), _figures(outcome), *_doubts(outcome))


def _heading(outcome: Outcome) -> str:
    software = ", ".join(f"{name} {value}" for name, value in outcome.software.items())
    conditions = ", ".join(f"{name} {value}" for name, value in outcome.conditions.items())
    lines = (f"{outcome.command}, {outcome.model}, {outcome.date}", outcome.machine, software, conditions)
    return escape("\n".join(lines))


def _people(outcome: Outcome) -> Table:
    printed = Table("contestant", "commit", "settings", "versions", "threads", "stood in for", title="contestants")
    for each in outcome.contestants:
        settings = " ".join(f"{knob}={value}" for knob, value in each.settings.items()) or "defaults"
        facts = each.facts
        versions = ", ".join(f"{name} {value}" for name, value in facts.get("versions", {}).items())
        stood_in = str(len(facts.get("stand_ins", []))) + " packages"
        ours = "as shipped" if each.peer else settings
        printed.add_row(
            each.name, each.commit, escape(ours), versions, str(facts.get("threads", "")), stood_in if each.peer else ""
        )
    return printed


def _figures(outcome: Outcome) -> Table:
    rivals = _rivals(outcome)
    printed = Table("figure", "contestant", "median", "spread", "n", title="figures")
    for name in rivals:
        printed.add_column(f"better than {name}, times (95 %)")
    printed.add_column("the same speech?")
    before = ""
    for line in outcome.lines:
        title, before = ("" if line.figure == before else line.figure), line.figure
        if not line.samples:
            printed.add_row(title, line.contestant, "-", "", "0", *("" for _ in rivals), "")
            continue
        ratios = {each.other: times(each) for each in line.versus}
        value = f"{line.median:.4g} {line.unit}"
        cells = (ratios.get(name, "") for name in rivals)
        count = str(len(line.samples))
        printed.add_row(title, line.contestant, value, f"{line.spread:.0%}", count, *cells, escape(line.check.text))
    return printed


def _rivals(outcome: Outcome) -> list[str]:
    """Peers, or the reference where there are none."""
    peers = [each.name for each in outcome.contestants if each.peer]
    return peers or [each.name for each in outcome.contestants[:1]]


def times(found: Versus) -> str:
    """ "2.31 (2.20 - 2.45)"; a "?" where the pairs are too few for an interval."""
    if found.low is None or found.high is None:
        return f"{found.times:.2f} (?)"
    return f"{found.times:.2f} ({found.low:.2f} - {found.high:.2f})"


def _doubts(outcome: Outcome) -> Iterator[str]:
    reasons: dict[tuple[str, str], list[str]] = {}
    for line in outcome.lines:
        if not line.samples:
            reasons.setdefault((line.contestant, line.note), []).append(line.figure)
    for (name, reason), figures in reasons.items():
        yield escape(f"{name}: no {', no '.join(figures)}: {reason}")
    wide = [line for line in outcome.lines if line.samples and line.spread > WEAK_SPREAD]
    if wide:
        worst = max(wide, key=lambda line: line.spread)
        yield escape(
            f"{len(wide)} of {len(outcome.lines)} figures have a spread over {WEAK_SPREAD:.0%} (widest "
            f"{worst.spread:.0%}, {worst.figure}, {worst.contestant}): go by the ratios, whose pairs ran side by side."
        )
    few = [line for line in outcome.lines if any(each.low is None for each in line.versus)]
    if few:
        yield "A (?) stands where the rounds were too few for an interval; raise --rounds and --budget."


def show(outcome: Outcome, console: Console) -> None:
    console.print(tables(outcome))


def picture(outcome: Outcome, path: Path) -> None:
    """One panel per figure, a bar per contestant at the median, a dot per sample. Needs matplotlib."""
    from matplotlib.figure import Figure

    grouped = _grouped([line for line in outcome.lines if line.samples])
    names = [each.name for each in outcome.contestants]
    if not grouped:
        return
    heights = [len(lines) for lines in grouped]
    figure = Figure(figsize=(WIDTH_INCHES, ROW_INCHES * sum(heights) + 0.75 * len(grouped) + 0.6), layout="constrained")
    panels = figure.subplots(len(grouped), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, lines in zip(panels, grouped, strict=True):
        for row, line in enumerate(lines):
            colour = COLOURS[names.index(line.contestant) % len(COLOURS)]
            panel.barh(row, line.median, color=colour, alpha=0.6)
            panel.plot(line.samples, [row] * len(line.samples), ".", color="black", markersize=4)
            panel.annotate(f"  {line.median:.3g}", (max(line.samples), row), va="center", fontsize=8)
        panel.set_yticks(range(len(lines)), [line.contestant for line in lines])
        panel.invert_yaxis()
        panel.margins(x=0.12)
        better = "more" if lines[0].unit == "tokens/s" else "less"
        panel.set_title(f"{lines[0].figure} ({lines[0].unit}, {better} is better)", loc="left", fontsize=10)
    figure.suptitle(f"{outcome.command}, {outcome.model}, {outcome.date}\n{outcome.machine}", fontsize=9)
    figure.savefig(path, dpi=110)


def curves(outcome: Outcome, path: Path) -> None:
    """Time and memory against the length of the text. Needs matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, 3.8), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, unit, title in zip(panels, ("s", "MiB"), ("time, s", "peak memory, MiB"), strict=True):
        lines = [line for line in outcome.lines if line.unit == unit and line.samples]
        for name in dict.fromkeys(line.contestant for line in lines):
            own = [line for line in lines if line.contestant == name]
            panel.plot([length_of(line) for line in own], [line.median for line in own], "o-", label=name)
        panel.set_xlabel("characters")
        panel.set_title(title, loc="left", fontsize=10)
        panel.set_ylim(bottom=0)
        panel.legend()
    figure.suptitle(f"{outcome.command}, {outcome.model}, {outcome.date}\n{outcome.machine}", fontsize=9)
    figure.savefig(path, dpi=110)


def length_of(line: Line) -> int:
    """Characters, of a line of the growth benchmark."""
    return int(line.task.removeprefix("growth-"))


def _grouped(lines: Sequence[Line]) -> list[list[Line]]:
    """By figure, in order."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line.figure, []).append(line)
    return list(groups.values())
