"""`sovits-rt inspect`: what a model file is, without running anything in it."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from sovits_rt.cli.options import JSON


@click.command("inspect")
@click.argument("path", metavar="CHECKPOINT", type=click.Path(path_type=Path))
@JSON
def inspect_command(path: Path, as_json: bool) -> None:
    """Say what a checkpoint file or model folder is. Nothing in it is executed."""
    from sovits_rt import checkpoints

    found = checkpoints.inspect(path)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    table = Table(show_header=False, box=None)
    for name, value in found.items():
        table.add_row(
            name.replace("_", " "), json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
        )
    Console().print(table)
