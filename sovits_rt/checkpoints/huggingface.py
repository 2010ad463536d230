"""Hugging Face folders: config.json with model.safetensors or pytorch_model.bin. HuBERT and the Chinese BERT."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovits_rt.checkpoints.archive import open_archive
from sovits_rt.checkpoints.config import BertConfig, HubertConfig, Section
from sovits_rt.checkpoints.files import Pathlike, is_safetensors, map_file
from sovits_rt.checkpoints.kinds import Kind, require
from sovits_rt.checkpoints.weights import fold_weight_norm, read_tensors, require_finite
from sovits_rt.checkpoints.wording import quoted
from sovits_rt.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

PUBLISHED = {"hubert": "chinese-hubert-base", "bert": "chinese-roberta-wwm-ext-large"}
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.")


@dataclass(frozen=True, slots=True, eq=False)
class HubertCheckpoint:
    """weights: as stored, position convolution folded (float32). path: the folder. digest: of weights and config."""

    config: HubertConfig
    weights: dict[str, Tensor]
    path: Path
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class BertCheckpoint:
    """weights: embeddings and the config.used_layers lowest layers, as stored, without the "bert." prefix.

    tokenizer: path of tokenizer.json. path: the folder. digest: of weights, config and tokenizer.
    """

    config: BertConfig
    weights: dict[str, Tensor]
    tokenizer: Path
    path: Path
    digest: str


def load_hubert(folder: Pathlike) -> HubertCheckpoint:
    """Reads a chinese-hubert-base folder. Raises CheckpointError if it is another model or incomplete."""
    path = Path(folder)
    section = read_config(path, "hubert")
    config = HubertConfig.read(section)
    # Only training masks frames with the left out vector.
    file, stored = _read_weights(path, Kind.HUBERT, lambda name: not name.endswith("masked_spec_embed"))
    named = {name.removeprefix("hubert."): weight for name, weight in stored.items()}
    weights = fold_weight_norm(named, dim=2, path=file)
    return HubertCheckpoint(config, weights, path, _digest(file, path / "config.json"))


def load_bert(folder: Pathlike) -> BertCheckpoint:
    """Reads a chinese-roberta-wwm-ext-large folder. Raises CheckpointError if it is another model or incomplete."""
    path = Path(folder)
    section = read_config(path, "bert")
    config = BertConfig.read(section)
    tokenizer = _tokenizer(path)
    file, stored = _read_weights(path, Kind.BERT, lambda name: _bert_keeps(name, config.used_layers))
    weights = {_bert_name(name): weight for name, weight in stored.items()}
    return BertCheckpoint(config, weights, tokenizer, path, _digest(file, path / "config.json", tokenizer))


def read_config(folder: Path, model_type: str | None) -> Section:
    """config.json of a folder. model_type: what it must say, None for any. Raises CheckpointError."""
    if not folder.exists():
        raise CheckpointError(f"{folder} does not exist: check the path of the model folder.")
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is a file, but a folder with config.json and the weights is expected: name that one."
        )
    path = folder / "config.json"
    if not path.exists():
        raise CheckpointError(
            f"{folder} has no config.json, so it is not a Hugging Face model folder: name the folder that has it."
        )
    with map_file(path) as content:
        text = content[:]
    try:
        section = Section.of(str(path), json.loads(text))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({quoted(str(error))}): download or copy it again.") from error
    found = section.values.get("model_type")
    if model_type is not None and found != model_type:
        raise CheckpointError(
            f"{folder} is a model of type {quoted(str(found))}, but {quoted(model_type)} is expected: "
            f"give the folder of {PUBLISHED[model_type]}."
        )
    return section


def weights_file(folder: Path) -> Path:
    """The file with the weights; safetensors goes before pytorch_model.bin, as in transformers."""
    names = ("model.safetensors", "pytorch_model.bin")
    for name in names:
        if (folder / name).exists():
            return folder / name
        if (folder / f"{name}.index.json").exists():
            raise CheckpointError(f"{folder} has its weights split over several files; give a folder with one {name}.")
    raise CheckpointError(f"{folder} has neither {' nor '.join(names)}: download the weights into it.")


def _read_weights(folder: Path, kind: Kind, keep: Callable[[str], bool]) -> tuple[Path, dict[str, Tensor]]:
    """The file and those of its tensors whose names are kept; others are not even read where the format allows it."""
    file = weights_file(folder)
    if file.suffix == ".safetensors":
        return file, {name: weight for name, weight in read_safetensors(file).items() if keep(name)}
    archive = open_archive(file)
    kept = {name: reference for name, reference in require(archive, kind).items() if keep(name)}
    return file, read_tensors(archive, kept)


def check_hubert(folder: Path) -> HubertConfig:
    """Raises CheckpointError as `load_hubert` does, as far as tables of contents tell. Needs no torch."""
    config = HubertConfig.read(read_config(folder, "hubert"))
    _check_weights(weights_file(folder), Kind.HUBERT)
    return config


def check_bert(folder: Path) -> None:
    """Raises CheckpointError as `load_bert` does, as far as tables of contents tell. Needs no torch."""
    BertConfig.read(read_config(folder, "bert"))
    _tokenizer(folder)
    _check_weights(weights_file(folder), Kind.BERT)


def _check_weights(file: Path, kind: Kind) -> None:
    if file.suffix != ".safetensors":
        require(open_archive(file), kind)
        return
    with map_file(file) as content:
        if not is_safetensors(content):
            raise CheckpointError(f"{file} is cut off or is no safetensors file: download it again.")


def _tokenizer(folder: Path) -> Path:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} has no tokenizer.json: download that file of the same model into the folder.")
    return path


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file. Raises CheckpointError if it is damaged or has values that are not finite."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    map_file(file).close()
    try:
        weights: dict[str, Tensor] = load_file(file)
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(f"{file} is cut off or damaged ({quoted(str(error))}): download it again.") from error
    require_finite(weights, file)
    return weights


def _bert_keeps(name: str, layers: int) -> bool:
    plain = name.removeprefix("bert.")
    layer = _LAYER.match(plain)
    if layer:
        return int(layer[1]) < layers
    return plain.startswith("embeddings.") and plain != "embeddings.position_ids"


def _bert_name(name: str) -> str:
    """Names of the first BERT conversions, still in public files, said gamma and beta."""
    plain = name.removeprefix("bert.")
    return plain.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _digest(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        with map_file(file) as content:
            digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()
