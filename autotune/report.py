"""The live view of a session: a table on a terminal, one line per event elsewhere. A `decision.Listener`."""

import io
import math
import re
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from autotune.decision import Decision, Finalist, TrialRecord
from autotune.duel import Control
from autotune.machine import Machine
from autotune.measure import Gate, Outcome
from autotune.stats import Estimate

Row = tuple[str, str, str, str, str]  # what, changes, ratio, gates, outcome
ROWS_SHOWN = 12
LINES_SHOWN = 3  # of what was said, below the table
REDRAW_SECONDS = 0.5  # not more often: drawing takes processor time from what is measured


class Report:
    """Shows what happens as it happens. Use as a context manager: the table leaves the terminal whole again.

    console: where to; standard error if None. A terminal gets a table, anything else plain lines.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._rows: list[Row] = []
        self._caption: list[str] = []
        self._current = ""
        self._best: TrialRecord | None = None
        self._ends_at = math.inf
        self._drawn_at = 0.0

    def __enter__(self) -> "Report":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._live is not None:
            self._current = ""
            self._draw(force=True)
            self._live.stop()

    def on_machine(self, machine: Machine, budget_seconds: float) -> None:
        self._ends_at = time.monotonic() + budget_seconds
        devices = ", ".join(device.name for device in machine.accelerators) or "no accelerator"
        self._say(f"{machine.cpu.model}, {machine.usable_cores} usable cores, {devices}")

    def on_control(self, control: Control, resolution: float) -> None:
        seconds = ", ".join(f"{each:.3g}" for each in control.unit_seconds)
        self._say(
            f"default settings: opened in {control.open_seconds:.1f} s, {seconds} s per unit, "
            f"{control.peak_memory_bytes / 2**20:.0f} MiB; differences below {resolution:.1%} don't count here"
        )

    def on_trial_start(self, number: int, changes: Sequence[str]) -> None:
        self._current = f"trial {number}: {shown_changes(changes)}"
        self._draw(force=True)

    def on_pair(self, number: int, log_ratios: Sequence[float]) -> None:
        middle = math.exp(sorted(log_ratios)[len(log_ratios) // 2])
        self._current = f"trial {number}: pair {len(log_ratios)}, {middle:.3f} of the default's time"
        self._draw(force=False)

    def on_trial_end(self, record: TrialRecord) -> None:
        self._current = ""
        if record.promising and (self._best is None or _mean(record.estimate) < _mean(self._best.estimate)):
            self._best = record
        verdict = record.outcome.value if record.outcome is not Outcome.OK else ""
        self._row(
            f"trial {record.number}",
            shown_changes(record.changes),
            shown_estimate(record.estimate),
            shown_gates(record.gates),
            ": ".join(part for part in (verdict, record.reason) if part),
        )

    def on_final(self, finalist: Finalist, changes: Sequence[str]) -> None:
        note = (
            finalist.failure
            or f"{len(finalist.log_ratios)} pairs, {finalist.rounds} start{'' if finalist.rounds == 1 else 's'}"
        )
        self._row("final", shown_changes(changes), shown_estimate(finalist.estimate), "", note)

    def on_note(self, text: str) -> None:
        self._say(text)

    def _row(self, what: str, changes: str, ratio: str, gates: str, note: str) -> None:
        self._rows.append((what, changes, ratio, gates, note))
        if self._live is None:
            checked = f"gates: {gates} | " if gates else ""
            self._print(f"{what}: {changes} | {ratio} | {checked}{note or 'ok'} | {self._standing()}")
        self._draw(force=True)

    def _say(self, text: str) -> None:
        self._caption.append(text)
        if self._live is None:
            self._print(text)
        self._draw(force=True)

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def _standing(self) -> str:
        left = max(0.0, self._ends_at - time.monotonic())
        best = "default"
        if self._best is not None:
            best = f"trial {self._best.number}, {math.exp(_mean(self._best.estimate)):.3f} of the default's time"
        return f"best so far: {best}; {left:.0f} s left" if math.isfinite(left) else f"best so far: {best}"

    def _draw(self, *, force: bool) -> None:
        if self._live is None or not (force or time.monotonic() - self._drawn_at > REDRAW_SECONDS):
            return
        self._drawn_at = time.monotonic()
        self._live.update(self.table(), refresh=True)

    def table(self) -> Table:
        """What a terminal shows now."""
        lines = [*self._caption[-LINES_SHOWN:], self._standing(), self._current]
        table = Table(caption=Text("\n".join(line for line in lines if line)), caption_justify="left")
        for heading in ("", "differs from the default in", "time ratio (95 %)", "gates", "outcome"):
            table.add_column(heading, overflow="fold")
        best = "" if self._best is None else f"trial {self._best.number}"
        for row in self._rows[-ROWS_SHOWN:]:
            style = "bold" if row[0] == best else ""
            table.add_row(*(Text(cell) for cell in row), style=style)  # plain text: a value may hold square brackets
        return table


def terminal_picture(decision: Decision, title: str, width: int = 120) -> str:
    """The live view at the end of a session, as SVG without fonts from elsewhere. width: in letters."""
    view = Report(Console(file=io.StringIO()))
    for record in decision.history:
        view.on_trial_end(record)
    for finalist in decision.finals:
        view.on_final(finalist, changes_of(finalist.settings, decision.history))
    view.on_note(summary(decision))
    console = Console(record=True, file=io.StringIO(), width=width)
    console.print(view.table())
    return re.sub(r"@font-face \{.*?\}", "", console.export_svg(title=title), flags=re.DOTALL)


def changes_of(settings: Any, history: Iterable[TrialRecord]) -> tuple[str, ...]:
    """What differs from the default settings, according to the trial that had them."""
    return next((each.changes for each in history if each.settings == settings), ())


def shown_gates(gates: Sequence[Gate]) -> str:
    """The first that failed, with its numbers; else how many passed; "" if there were none."""
    failed = next((each for each in gates if not each.passed), None)
    if failed is not None:
        return f"{failed.name} {failed.value:.3g}, limit {failed.limit:.3g}"
    return f"{len(gates)} passed" if gates else ""


def shown_changes(changes: Sequence[str]) -> str:
    return ", ".join(changes) or "nothing"


def shown_estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate.ratio:.3f} ({estimate.ratio_low:.3f} to {estimate.ratio_high:.3f})"


def summary(decision: Decision) -> str:
    """The decision in one paragraph for people."""
    facts = (
        f"{decision.trials} trials in {decision.seconds:.0f} s; differences below {decision.resolution:.1%} don't "
        "count."
    )
    if decision.status == "default-confirmed":
        return f"Default settings confirmed: {decision.reason}. {facts}"
    ratio = f"{decision.ratio:.3f} ({decision.ci_low:.3f} to {decision.ci_high:.3f}) of the default's time"
    if decision.status == "verified":
        return f"Faster settings verified: {ratio} over {decision.pairs} pairs; the choice {decision.reason}. {facts}"
    if decision.pairs == 0:
        return f"Not finished ({decision.reason}): the default settings stay. {facts}"
    return f"Not finished ({decision.reason}): the best so far takes {ratio}. {facts}"


def _mean(estimate: Estimate | None) -> float:
    return 0.0 if estimate is None else estimate.mean
