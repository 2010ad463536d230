"""`sovits-rt export`: the networks in formats that other programs run."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from sovits_rt.cli.options import JSON, model_options, model_paths


@click.group("export")
def export_group() -> None:
    """Write the networks in formats that other programs run."""


@export_group.command("onnx")
@click.argument("out", type=click.Path(path_type=Path))
@model_options
@JSON
def onnx_command(out: Path, as_json: bool, **models: Any) -> None:
    """Write the networks as ONNX files into the folder OUT, each compared with torch.

    Prefill and step of the decoder, encoder and vocoder; HuBERT and BERT if they are given.
    """
    from sovits_rt.export import Exported, export_onnx

    def tell(part: Exported) -> None:
        if not as_json:
            click.echo(
                f"{out / part.file}  differs from torch by {part.difference:.1e}, of numbers up to {part.peak:.1e}"
            )

    parts = export_onnx(model_paths(**models), out, tell=tell)
    if as_json:
        click.echo(json.dumps({"out": str(out), "parts": [asdict(part) for part in parts]}))
