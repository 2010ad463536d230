"""What a model file is, as plain data: the answer of `sovits-rt inspect`. Reads tables of contents, not weights."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from sovits_rt.checkpoints.archive import Archive, open_archive
from sovits_rt.checkpoints.config import BertConfig, HubertConfig, SovitsConfig, T2SConfig
from sovits_rt.checkpoints.files import Pathlike
from sovits_rt.checkpoints.huggingface import read_config, read_safetensors, weights_file
from sovits_rt.checkpoints.kinds import SUPPORT, UNSUPPORTED, Kind, diffusion_version, recognise, tensor_table
from sovits_rt.checkpoints.sovits import recognise_version
from sovits_rt.checkpoints.t2s import t2s_symbols
from sovits_rt.checkpoints.wording import quoted
from sovits_rt.errors import CheckpointError, UnsafeCheckpointError

_SUPPORTED = (Kind.T2S, Kind.SOVITS, Kind.SPEAKER, Kind.HUBERT, Kind.BERT)
_WITH_WEIGHTS = (*_SUPPORTED, Kind.DIFFUSION, Kind.LORA)


def inspect(path: Pathlike) -> dict[str, object]:
    """A description that json.dumps takes: path, kind, supported, safe, and what is known of it.

    kind: a Kind in lower case. For SoVITS also version and recognised_by; for all with weights: parameters, tensors,
    dtypes (name -> tensors), config. A file that asks to run code is described with safe false and the problem.
    Raises CheckpointError if the path can't be read as a model at all.
    """
    path = Path(path)
    if path.is_dir():
        return _describe_folder(path)
    try:
        return _describe_archive(open_archive(path))
    except UnsafeCheckpointError as error:
        size = path.stat().st_size
        return {
            "path": str(path), "kind": "unknown", "supported": False, "safe": False,
            "problem": str(error), "file_bytes": size,
        }  # fmt: skip


def _describe_archive(archive: Archive) -> dict[str, object]:
    kind = recognise(archive)
    description: dict[str, object] = {
        "path": str(archive.path),
        "kind": kind.name.lower(),
        "is": kind.value,
        "supported": kind in _SUPPORTED,
        "safe": True,
        "format": f"torch.save {archive.layout}",
        "file_bytes": len(archive.content),
        "info": archive.info,
    }
    if kind in _WITH_WEIGHTS:
        references = tensor_table(archive)
        description |= _counts({name: (ref.numel, ref.storage.dtype) for name, ref in references.items()})
    if kind is Kind.T2S or kind is Kind.SOVITS:
        description |= _described_model(archive, kind)
    if kind in UNSUPPORTED:
        description["version"] = diffusion_version(archive) or "v3 or v4"
        description["problem"] = SUPPORT
    return description


def _described_model(archive: Archive, kind: Kind) -> dict[str, object]:
    assert isinstance(archive.root, dict)
    stored = archive.root.get("config")
    references = tensor_table(archive)
    if kind is Kind.T2S:
        t2s = T2SConfig.read(stored, archive.path)
        symbols = t2s_symbols(t2s, references, archive.path)
        return {"symbols": symbols, "recognised_by": f"{t2s.phoneme_vocab_size} phones", "config": asdict(t2s)}
    config = SovitsConfig.read(stored, archive.path)
    version, recognised_by = recognise_version(archive, references, config)
    return {
        "version": version.name,
        "symbols": version.symbols,
        "recognised_by": recognised_by,
        "config": asdict(config),
    }


def _describe_folder(folder: Path) -> dict[str, object]:
    section = read_config(folder, None)
    model_type = section.values.get("model_type")
    if model_type not in ("hubert", "bert"):
        raise CheckpointError(f"{folder} is a model of type {quoted(str(model_type))}, but hubert or bert is expected.")
    config = HubertConfig.read(section) if model_type == "hubert" else BertConfig.read(section)
    file = weights_file(folder)
    description: dict[str, object] = {
        "path": str(folder), "kind": model_type, "supported": True, "safe": True, "format": file.name,
        "file_bytes": file.stat().st_size, "recognised_by": "config.json", "config": asdict(config),
    }  # fmt: skip
    if file.suffix == ".safetensors":
        tensors = read_safetensors(file)
        counts = {name: (t.numel(), str(t.dtype).removeprefix("torch.")) for name, t in tensors.items()}
        return description | _counts(counts)
    try:
        references = tensor_table(open_archive(file))
    except UnsafeCheckpointError as error:
        return description | {"supported": False, "safe": False, "problem": str(error)}
    return description | _counts({name: (ref.numel, ref.storage.dtype) for name, ref in references.items()})


def _counts(tensors: Mapping[str, tuple[int, str]]) -> dict[str, object]:
    return {
        "tensors": len(tensors),
        "parameters": sum(numel for numel, _ in tensors.values()),
        "dtypes": dict(Counter(dtype for _, dtype in tensors.values())),
    }
