"""`sovits-rt doctor`: what this machine will run speech on, why, what is wrong, and what to do."""

import json
import sys
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autotune.probe import summary
from sovits_rt.cli.options import JSON
from sovits_rt.doctor import Diagnosis, Plan, diagnose

_COLOURS = {"error": "bold red", "warning": "yellow", "note": "dim"}
_FROM_SUMMARY = ("cpu", "cores", "memory", "cuda", "rocm", "mps", "system", "power")


@click.command("doctor")
@click.option("--deep", is_flag=True, help="Also try every GPU, in a process of its own; takes up to some minutes.")
@JSON
def doctor_command(deep: bool, as_json: bool) -> None:
    """Explain what speech will run on here and why, what is wrong with this machine or installation, and what to do.

    The exit code is 0 when it can run, whatever else is found, and 1 when it can't.
    """
    with Console(stderr=True).status("looking at the machine and importing torch in a process of its own"):
        found = diagnose(deep=deep)
    if as_json:
        click.echo(json.dumps(as_dict(found), ensure_ascii=False))
    else:
        _show(found)
    if not found.can_run:
        sys.exit(1)


def as_dict(found: Diagnosis) -> dict[str, object]:
    return {
        "can_run": found.can_run,
        "hw_class": found.hw_class,
        "plans": [asdict(each) for each in found.plans],
        "findings": [asdict(each) for each in found.findings],
        "machine": found.machine.to_dict(),
    }


def _show(found: Diagnosis) -> None:
    console = Console(highlight=False)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("class", found.hw_class)
    for name, value in summary(found.machine):
        if name in _FROM_SUMMARY:
            table.add_row(name, Text(value))
    for each in found.plans:
        table.add_section()
        for name, value in _rows(each):
            table.add_row(name, Text(value))
    console.print(table)
    console.print()
    for finding in found.findings:
        line = Text.assemble((f"{finding.severity}: ", _COLOURS[finding.severity]), finding.line)
        console.print(line, soft_wrap=True)
    console.print("sovits-rt can run here." if found.can_run else "sovits-rt can't run here: see the errors.")


def _rows(plan: Plan) -> list[tuple[str, str]]:
    profile = plan.profile if plan.how == "none" else f"{plan.profile} ({plan.how}, {plan.status})"
    rows = [
        ("models", plan.subject),
        ("profile", profile),
        ("device", f"{plan.device}: {plan.device_reason}"),
        ("threads", f"{plan.threads}, {plan.cores}"),
        ("precision", ", ".join(f"{name} {value}" for name, value in plan.precision.items())),
    ]
    rows[-1] = ("precision", f"{rows[-1][1]}: {plan.precision_reason}")
    return [*rows, *(("", note) for note in plan.notes)]
