"""`sovits-rt synth --list-voices`: the voices that come with the package."""

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sovits_rt import bundled
from sovits_rt.bundled import NO_VOICE, BundledVoice
from sovits_rt.checkpoints.shape import preview


def show_voices(as_json: bool) -> None:
    """Raises CheckpointError for a damaged installation."""
    found = bundled.voices()
    if as_json:
        click.echo(json.dumps({"voices": [described(voice) for voice in found]}, ensure_ascii=False))
        return
    if not found:
        click.echo(NO_VOICE)
        return
    table = Table("name", "language", "about", "rate", "size")
    for number, voice in enumerate(found):
        facts = described(voice)
        name = f"{voice.name} (default)" if number == 0 else voice.name
        rate, size = f"{facts['sample_rate']} Hz", f"{facts['size_bytes'] / 1e6:.1f} MB"
        # plain text: rich takes square brackets for styles
        table.add_row(*(Text(cell) for cell in (name, voice.language, voice.about, rate, size)))
    Console().print(table)


def described(voice: BundledVoice) -> dict[str, Any]:
    models = preview(voice.paths.require("gpt", "to speak"), voice.paths.require("sovits", "to speak"))
    return {
        "name": voice.name,
        "language": voice.language,
        "about": voice.about,
        "sample_rate": models.sample_rate,
        "size_bytes": voice.size_bytes,
        "licence": voice.licence,
    }
