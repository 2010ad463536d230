"""One run of a benchmark: who takes part, everybody's turns, the table, the file, the picture."""

import datetime
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from rich.console import Console

from autotune.errors import AutotuneError
from autotune.machine import Machine
from autotune.probe import probe
from benchmarks import outcome, tables
from benchmarks.contestants import ContestantError, Entry
from benchmarks.field import Field, parse_ours
from benchmarks.options import Common
from benchmarks.outcome import Line, Outcome
from benchmarks.rounds import Company, Limits
from benchmarks.tasks import Task
from sovits_rt import __version__
from sovits_rt.errors import SovitsError
from sovits_rt.selection import UNTUNED

WIDTH = 200  # characters of a table where no terminal says


def output() -> Console:
    """Wide where no terminal says how wide it is, since the tables are."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def measure(
    name: str,
    chosen: Sequence[Task],
    settled: Common,
    *,
    companions: bool = False,
    machine: Machine | None = None,
    one_by_one: Sequence[str] = (),
    alone: bool = False,
    draw: Callable[[Outcome, Path], None] = tables.picture,
) -> None:
    """Measure, print, write. companions: HuBERT and BERT are needed. one_by_one: `--ours` lines that are each measured
    with the reference alone, so that memory holds two contestants at a time. alone: only ours, without the reference
    where the settings differ from it."""
    progress = Console(stderr=True, highlight=False)
    tell = progress.print
    try:
        found = machine or probe()
        paths = settled.materials.paths(companions=companions)
        field = Field(found, paths, settled.materials.version, settled.out / "peers")
        groups = [[field.plain, entry] for entry in _ours(field, settled, one_by_one)] if one_by_one else []
        groups = groups or [[field.plain, *_ours(field, settled, settled.ours), *map(field.peer, settled.peers)]]
        if alone:
            groups = [groups[0][1:] or groups[0]]
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder) / "work.npz"
            settled.materials.write_work(paths, work)
            result = _measured(name, groups, work, chosen, settled, found, tell)
    except (AutotuneError, SovitsError, ContestantError) as error:
        raise click.ClickException(str(error)) from error
    path = settled.out / f"{'-'.join(filter(None, (name, settled.materials.version, settled.label)))}.json"
    result.write(path)
    tables.show(result, output())
    tell(f"written: {path}", *_drawn(result, path, draw))


def _measured(
    name: str,
    groups: Sequence[Sequence[Entry]],
    work: Path,
    chosen: Sequence[Task],
    settled: Common,
    machine: Machine,
    tell: Callable[..., None],
) -> Outcome:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    lines: list[Line] = []
    takings: dict[str, outcome.Taking] = {}
    limits = Limits(settled.limits.rounds, settled.limits.budget_seconds / len(groups))
    for entries in groups:
        with Company(entries, work, tell) as company:
            lines.extend(company.measure(chosen, limits))
            takings |= {each.name: each for each in company.takings}
    return Outcome(
        schema=outcome.SCHEMA,
        command=name,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        model=f"{settled.materials.version}, {settled.materials.size}, seeded random weights",
        machine=in_words(machine),
        software={"sovits-rt": __version__, "python": platform.python_version(), "system": platform.system()},
        conditions={
            "rounds": limits.rounds,
            "budget": f"{settled.limits.budget_seconds:.0f} s",
            "load before": "unknown" if load is None else f"{load:.2f}",
            "end of speech": "masked, fixed token counts",
        },
        contestants=tuple(takings.values()),
        lines=_once(lines) if len(groups) > 1 else tuple(lines),
    )


def in_words(machine: Machine) -> str:
    chip, gpus = machine.cpu, [device.name for device in machine.accelerators]
    memory = f"{machine.memory.usable_bytes >> 30} GiB"
    return ", ".join((f"{chip.vendor} {chip.model}".strip(), f"{chip.usable_cores} usable cores", memory, *gpus))


def _once(lines: Sequence[Line]) -> tuple[Line, ...]:
    """By figure; the reference ran beside each setting, and stays with what it gave beside the first."""
    kept: dict[tuple[str, str], Line] = {}
    for line in lines:
        kept.setdefault((line.figure, line.contestant), line)
    figures = list(dict.fromkeys(line.figure for line in lines))
    return tuple(sorted(kept.values(), key=lambda line: figures.index(line.figure)))


def _ours(field: Field, settled: Common, lines: Sequence[str]) -> list[Entry]:
    """Each --ours line; without any, what --profile and --set say, or what speaking would use here."""
    made = []
    for text in lines:
        name, assignments = parse_ours(text)
        made.append(field.ours(name, settled.profile or UNTUNED, (*settled.assignments, *assignments)))
    if not made:
        entry = field.ours("ours", settled.profile, settled.assignments)
        made = [entry] if entry.settings else []  # the same as the reference
    names = [each.name for each in made]
    if len(set(names)) < len(names):
        raise click.UsageError(f"Two --ours lines have the same name: {', '.join(names)}.")
    return made


def draw(found: Outcome, path: Path, how: Callable[[Outcome, Path], None]) -> Path | None:
    """The picture beside a file of results; None without matplotlib."""
    picture = path.with_suffix(".png")
    try:
        how(found, picture)
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        return None
    return picture


def _drawn(found: Outcome, path: Path, how: Callable[[Outcome, Path], None]) -> tuple[str, ...]:
    picture = draw(found, path, how)
    return (str(picture) if picture else "no picture: it needs matplotlib, pip install 'sovits-rt[plots]'",)
