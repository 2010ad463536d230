"""Record how all settings of a subject compare with its defaults on this machine, for replays.

    python -m benchmarks.record_grid docs.tune_anything:NearestCentre tables/nearest.jsonl --pairs 8
    python -m benchmarks.record_grid … --only process.cores=unpinned,pinned --only semantic.slots=1,4,16

Goes on where it was ended, by Ctrl-C or otherwise. A finished table is packed beside itself.
"""

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from autotune import table
from autotune.duel import Rules
from autotune.errors import AutotuneError
from autotune.grid import record
from autotune.probe import probe
from autotune.subject import SubjectName
from autotune.table import Row

COLUMNS = (
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TextColumn("left"),
    TimeRemainingColumn(),
    TextColumn("{task.description}"),
)


@click.command()
@click.argument("subject")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--arguments", default="{}", help="Of the subject's factory, as JSON.")
@click.option("--pairs", default=12, show_default=True, help="Per duel.")
@click.option("--starts", default=2, show_default=True, help="Duels of each setting that works.")
@click.option("--only", multiple=True, metavar="KNOB=A,B", help="Keep a knob to these values; repeat for others.")
@click.option("--block", default=0.05, show_default=True, help="Seconds of one block.")
@click.option("--conditions", default="", help="What else this machine does, for those who read the table.")
@click.option("--seed", default=0, help="Of the order.")
def main(subject: str, path: Path, arguments: str, only: tuple[str, ...], block: float, **options: Any) -> None:
    kept = dict(each.split("=", 1) for each in only)
    name = SubjectName(subject, json.loads(arguments))
    with Progress(*COLUMNS, disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task("")

        def show(done: int, planned: int, row: Row) -> None:
            progress.update(task, completed=done, total=planned, description=row.outcome.value)
            if progress.disable and done % 20 == 0:
                click.echo(f"{done} of {planned}")

        try:
            found = record(
                name,
                probe(),
                path,
                only={knob: values.split(",") for knob, values in kept.items()},
                rules=Rules(block_seconds=block),
                on_row=show,
                **options,
            )
        except AutotuneError as error:
            raise click.ClickException(str(error)) from error
    packed = table.pack(path)
    click.echo(
        f"{len(found.by_key)} settings in {len(found.rows)} duels; {packed.stat().st_size / 1000:.0f} kB in {packed}"
    )


if __name__ == "__main__":
    main()
