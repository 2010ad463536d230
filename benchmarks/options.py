"""The options of the measuring commands, and what they turn into."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from benchmarks.field import UPSTREAM, Peer
from benchmarks.materials import SIZES, VERSIONS, Materials
from benchmarks.rounds import Limits
from sovits_rt.cli.options import settings_options

Command = TypeVar("Command", bound=Callable[..., Any])
_FOLDER = click.Path(path_type=Path, file_okay=False)


@dataclass(frozen=True, slots=True)
class Common:
    """What every measuring command takes; see the options."""

    materials: Materials
    peers: tuple[Peer, ...]
    ours: tuple[str, ...]
    profile: str | None
    assignments: tuple[str, ...]
    limits: Limits
    out: Path
    label: str

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Common":
        pythons = dict(_named(each, "--peer-python") for each in options["peer_python"])
        given = [f"{UPSTREAM}={options['upstream']}"] if options["upstream"] else []
        peers = []
        for text in (*given, *options["peers"]):
            kind = text.partition("=")[0].partition(":")[0]
            peers.append(Peer.parse(text, pythons.get(kind, options["upstream_python"])))
        labels = [each.label for each in peers]
        if len(set(labels)) < len(labels):
            raise click.UsageError(f"A peer is given twice: {', '.join(labels)}.")
        return cls(
            Materials(options["model_version"], options["size"], options["weights"]),
            tuple(peers),
            options["ours"],
            options["profile"],
            options["assignments"],
            Limits(options["rounds"], options["budget"]),
            options["out"],
            options["label"],
        )


def _named(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise click.BadParameter(f"{text!r} is not NAME=PATH, such as genie=../genie/bin/python.", param_hint=option)
    return name, value


def common(command: Command) -> Command:
    """The options of a measuring command."""
    options = (
        click.option("--model-version", type=click.Choice(VERSIONS), default="v2", show_default=True),
        click.option("--size", type=click.Choice(SIZES), default="full", show_default=True, help="small: to try it."),
        click.option("--weights", type=_FOLDER, default=Path("build/benchmarks/weights"), show_default=True,
                     help="Where the seeded random checkpoints are, or are written."),
        click.option("--upstream", metavar="PATH", help="A checkout of GPT-SoVITS."),
        click.option("--peer", "peers", metavar="NAME[:OPTION]=PATH", multiple=True,
                     help="Another peer's checkout, such as genie=PATH or lite:bf16=PATH; repeat for more."),
        click.option("--upstream-python", metavar="PATH", default=sys.executable, show_default="this one",
                     help="Python with the peers' packages."),
        click.option("--peer-python", metavar="NAME=PATH", multiple=True, help="For one peer, another one."),
        click.option("--ours", metavar="NAME:KNOB=VALUE,…", multiple=True,
                     help="Ours with these settings on top of --profile and --set; repeat to compare several."),
        settings_options,
        click.option("--rounds", type=click.IntRange(2), default=7, show_default=True, help="At most, after warm-up."),
        click.option("--budget", type=click.FloatRange(1), default=400.0, show_default=True,
                     help="Seconds for all figures together; two rounds are always done."),
        click.option("--out", type=_FOLDER, default=Path("build/benchmarks"), show_default=True,
                     help="Where the JSON and the picture go; those to keep are in benchmarks/results."),
        click.option("--label", default="", help="Added to the files' names, for runs in parts."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command
