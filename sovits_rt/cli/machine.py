"""`sovits-rt probe`: what this machine is."""

import json

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autotune.fingerprint import fingerprint
from autotune.probe import probe, summary
from sovits_rt.cli.options import JSON


@click.command("probe")
@JSON
def probe_command(as_json: bool) -> None:
    """Show what this machine is: processor, memory, accelerators, and why others are absent."""
    machine = probe()
    if as_json:
        click.echo(json.dumps({"hw_class": fingerprint(machine).hw_class, **machine.to_dict()}, ensure_ascii=False))
        return
    table = Table(show_header=False, box=None)
    table.add_row("class", fingerprint(machine).hw_class)
    for name, value in summary(machine):
        table.add_row(name, Text(value))
    Console().print(table)
