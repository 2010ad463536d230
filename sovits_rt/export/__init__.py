"""The networks as ONNX files, each compared with what torch computes, with a manifest of versions and differences.

An export is kept in the cache folder under its contents, so that the same one is not made twice.
"""

import hashlib
import importlib.metadata
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from sovits_rt import __version__, cache, checkpoints
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.errors import ExportError, MissingExtraError

MANIFEST = "manifest.json"
TOLERANCE = 1e-4  # of the largest number that comes out, or of 1
_ALWAYS = ("prefill", "step", "encoder", "vocoder")
_SOURCES = {
    "prefill": "gpt",
    "step": "gpt",
    "encoder": "sovits",
    "vocoder": "sovits",
    "hubert": "hubert",
    "bert": "bert",
}
_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Exported:
    """inputs, outputs: name, type and shape each; lengths that may differ have names. opsets: domain -> version.
    difference: the largest between ONNX Runtime and torch, in two sizes; peak: the largest number that came out."""

    name: str
    file: str
    sha256: str
    inputs: tuple[tuple[str, str, tuple[str | int, ...]], ...]
    outputs: tuple[tuple[str, str, tuple[str | int, ...]], ...]
    opsets: Mapping[str, int]
    difference: float
    peak: float


def export_onnx(
    paths: ModelPaths, out: Path, *, root: Path | None = None, tell: Callable[[Exported], None] = lambda _: None
) -> list[Exported]:
    """Write prefill, step, encoder and vocoder, and HuBERT and BERT if `paths` has them, with the manifest, into `out`.

    root: where exports are kept, the user's cache folder by default. tell: called after each part.
    Raises CheckpointError, MissingExtraError, and ExportError if a part does not compute what torch computes.
    """
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"Exporting needs {' and '.join(missing)}; pip install 'sovits-rt[onnx]'.")
    names = [*_ALWAYS, *(name for name in ("hubert", "bert") if getattr(paths, name) is not None)]
    digests = {source: _digest(paths, source) for source in dict.fromkeys(_SOURCES[name] for name in names)}
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    done = []
    for name, part in _parts(paths, names):
        depends_on = {"weights": digests[_SOURCES[name]], "sovits-rt": __version__, "code": _code(), **versions}
        kept = cache.artefact(f"{name}.onnx", depends_on, part.write, root=root or cache.folder())
        exported = _checked(part, kept)
        cache.copy_out(kept, out / kept.name)
        tell(exported)
        done.append(exported)
    _write_manifest(out / MANIFEST, done, versions, digests)
    return done


def _parts(paths: ModelPaths, names: Sequence[str]) -> list[tuple[str, Any]]:
    import torch

    from sovits_rt.export.parts import parts_of
    from sovits_rt.models import Models

    return list(zip(names, parts_of(Models(paths, torch.device("cpu")), tuple(names)), strict=True))


def _checked(part: Any, path: Path) -> Exported:
    """Run the file and the network on the same inputs, in two sizes, neither of which an exporter has seen."""
    import onnx
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    difference = peak = 0.0
    for size in (1, 4):
        inputs = part.example(size)
        found = session.run(None, {name: values.numpy() for name, values in inputs.items()})
        with torch.inference_mode():
            plain = part.plain(inputs)
        for output, values in zip(session.get_outputs(), found, strict=True):
            wanted = plain[output.name].numpy()
            if wanted.shape != values.shape:
                raise ExportError(
                    f"{path.name}: {output.name} has shape {values.shape}, but torch gives {wanted.shape}."
                )
            difference = max(difference, float(np.abs(values - wanted).max(initial=0.0)))
            peak = max(peak, float(np.abs(wanted).max(initial=0.0)))
    if not difference <= TOLERANCE * max(1.0, peak):
        raise ExportError(
            f"{path.name} differs from torch by {difference:.1e} (numbers up to {peak:.1e}), more than {TOLERANCE}; "
            "another version of onnxruntime or torch may help."
        )
    model = onnx.load(str(path), load_external_data=False)
    return Exported(
        name=part.name,
        file=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        inputs=tuple((each.name, each.type, tuple(each.shape)) for each in session.get_inputs()),
        outputs=tuple((each.name, each.type, tuple(each.shape)) for each in session.get_outputs()),
        opsets={each.domain: each.version for each in model.opset_import},
        difference=difference,
        peak=peak,
    )


def _write_manifest(
    path: Path, parts: Sequence[Exported], versions: Mapping[str, str], digests: Mapping[str, str]
) -> None:
    manifest = {
        "sovits-rt": __version__,
        "versions": versions,
        "checkpoints": {name: f"sha256:{digest}" for name, digest in digests.items()},
        "parts": [asdict(each) for each in parts],
    }
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        unfinished = Path(scratch) / path.name
        unfinished.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)


def _digest(paths: ModelPaths, source: str) -> str:
    path = paths.require(source, "to export it")
    return checkpoints.content_digest(checkpoints.weights_file(path) if path.is_dir() else path)


def _code() -> str:
    """Of the files that decide what is exported: a changed network is another export."""
    package = Path(__file__).parent.parent
    files = [each for folder in ("nn", "backends", "export") for each in sorted((package / folder).glob("*.py"))]
    return hashlib.sha256(b"".join(each.read_bytes() for each in files)).hexdigest()
