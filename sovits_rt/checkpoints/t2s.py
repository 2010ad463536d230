"""Text-to-semantic checkpoints (upstream: GPT weights, `.ckpt`): {weight: model.*, config, info}, usually float16."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovits_rt.checkpoints.archive import open_archive
from sovits_rt.checkpoints.config import T2SConfig
from sovits_rt.checkpoints.files import Pathlike, content_digest
from sovits_rt.checkpoints.kinds import T2S_PHONE_TABLE, Kind, require
from sovits_rt.checkpoints.pickles import TensorRef
from sovits_rt.checkpoints.weights import read_tensors
from sovits_rt.checkpoints.wording import quoted
from sovits_rt.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_PREFIX = "model."
# Rows of the phone embedding -> symbol table. v1 reserved 512 rows for its 322 phones.
_SYMBOLS_BY_ROWS = {512: "v1", 732: "v2"}


@dataclass(frozen=True, slots=True, eq=False)
class T2SCheckpoint:
    """symbols: "v1" or "v2", the phone table it was trained on. weights: as stored, without the "model." prefix.

    info: upstream's remark, such as "GPT-e15".
    """

    config: T2SConfig
    weights: dict[str, Tensor]
    info: str
    symbols: str
    path: Path

    @property
    def digest(self) -> str:
        """SHA-256 of the file, which is read for it."""
        return content_digest(self.path)


def load_t2s(path: Pathlike) -> T2SCheckpoint:
    """Raises CheckpointError if the file is missing, damaged or not a T2S model."""
    archive = open_archive(path)
    references = require(archive, Kind.T2S)
    assert isinstance(archive.root, dict)
    config = T2SConfig.read(archive.root.get("config"), archive.path)
    symbols = t2s_symbols(config, references, archive.path)
    foreign = [name for name in references if not name.startswith(_PREFIX)]
    if foreign:
        raise CheckpointError(f"{archive.path} has a weight {quoted(foreign[0])} that no T2S model has: it is damaged.")
    weights = read_tensors(archive, references)
    plain = {name.removeprefix(_PREFIX): weight for name, weight in weights.items()}
    return T2SCheckpoint(config, plain, archive.info, symbols, archive.path)


def t2s_symbols(config: T2SConfig, references: dict[str, TensorRef], path: object) -> str:
    """The symbol table's name. Raises CheckpointError if config and embedding disagree or the size is unknown."""
    rows = (references[T2S_PHONE_TABLE].shape or (0,))[0]
    if rows != config.phoneme_vocab_size:
        raise CheckpointError(
            f"{path} contradicts itself: its config says {config.phoneme_vocab_size} phones, its weights have {rows}; "
            "download or export it again."
        )
    if rows not in _SYMBOLS_BY_ROWS:
        raise CheckpointError(
            f"{path} knows {rows} phones, but GPT-SoVITS has 512 (v1) or 732 (v2 and later): give another file."
        )
    return _SYMBOLS_BY_ROWS[rows]
