"""`sovits-rt probe` and `sovits-rt profile`: what this machine is, and what is known of how to run here."""

import json

import click
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autotune import profile as profiles
from autotune.fingerprint import fingerprint
from autotune.probe import probe, summary
from sovits_rt.cli.options import JSON
from sovits_rt.selection import find_profile, known_profiles


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


@click.group("profile")
def profile_group() -> None:
    """Look at tuned profiles."""


@profile_group.command("list")
@JSON
def list_command(as_json: bool) -> None:
    """List the profiles of this user and those that came with sovits-rt."""
    known = known_profiles()
    if as_json:
        rows = [{"origin": origin, "id": p.id, "status": p.status, "hw_class": p.match.hw_class} for origin, p in known]
        click.echo(json.dumps({"profiles": rows}))
        return
    if not known:
        click.echo("There are no profiles yet; `sovits-rt tune` makes one for this machine.")
        return
    table = Table("id", "origin", "status", "machine", "gain")
    for origin, each in known:
        gain = "" if each.evidence is None else f"{1 / each.evidence.ratio:.2f}x"
        table.add_row(each.id, origin, each.status, each.match.hw_class, gain)
    Console().print(table)


@profile_group.command("show")
@click.argument("name", metavar="ID_OR_FILE")
@JSON
def show_command(name: str, as_json: bool) -> None:
    """Print one profile: settings, evidence, quality, provenance."""
    data = profiles.to_dict(find_profile(name))
    click.echo(json.dumps(data, ensure_ascii=False) if as_json else yaml.safe_dump(data, sort_keys=False, width=120))
