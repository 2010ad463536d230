"""`sovits-rt text`: what will be spoken."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sovits_rt import text as frontend
from sovits_rt.cli.options import JSON, LANGUAGE, SPLIT, dictionary_option, read_text, text_options
from sovits_rt.text.dictionary import Dictionary


@click.command("text")
@text_options
@LANGUAGE
@SPLIT
@click.option("--symbols", type=click.Choice(("v1", "v2")), default="v2", show_default=True, help="Phone table.")
@dictionary_option
@JSON
def text_command(
    words: str | None,
    text: str | None,
    text_file: Path | None,
    lang: str,
    split: str,
    symbols: str,
    dictionary: Path | None,
    as_json: bool,
) -> None:
    """Show how a text is split, normalised and pronounced."""
    sentences = frontend.prepare(
        read_text(words, text, text_file),
        lang,
        split=split,
        symbols=symbols,
        dictionary=None if dictionary is None else Dictionary.load(dictionary),
    )
    if as_json:
        click.echo(json.dumps(frontend.to_json(sentences), ensure_ascii=False))
        return
    table = Table("lang", "text", "spoken", "phones")
    for sentence in sentences:
        for segment in sentence.segments:
            cells = (segment.lang, segment.text, segment.norm_text, " ".join(segment.phones))
            table.add_row(*(Text(cell) for cell in cells))  # plain text: rich takes square brackets for styles
        if sentence.pause_seconds is not None:
            table.add_row("", Text(f"[pause:{sentence.pause_seconds:g}s]"))
        table.add_section()
    Console().print(table)
