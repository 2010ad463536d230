"""`sovits-rt inspect`: what a model file is, without running anything in it."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

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
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        table.add_row(name.replace("_", " "), Text(shown))  # plain text: rich takes square brackets for styles
    Console().print(table)
