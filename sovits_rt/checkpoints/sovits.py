"""SoVITS checkpoints (`.pth`): {weight, config: utils.HParams, info}, usually float16, and which version they are.

Upstream tells versions by header digits, by hash and by file size (process_ckpt.py). Here the keys decide: v1 and v2
differ in the phone table, the Pro versions have a speaker embedding layer. The header must agree with them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovits_rt.checkpoints.archive import Archive, open_archive
from sovits_rt.checkpoints.config import SovitsConfig
from sovits_rt.checkpoints.files import Pathlike
from sovits_rt.checkpoints.kinds import PHONE_TABLE, Kind, require
from sovits_rt.checkpoints.pickles import TensorRef
from sovits_rt.checkpoints.t2s import T2SCheckpoint
from sovits_rt.checkpoints.weights import fold_weight_norm, read_tensors
from sovits_rt.checkpoints.wording import quoted
from sovits_rt.errors import CheckpointError
from sovits_rt.versions import VERSIONS, ModelVersion

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

_TRAINING_ONLY = "enc_q."
_SPEAKER_LAYER = "sv_emb.weight"
_SYMBOLS_BY_ROWS = {322: "v1", 732: "v2"}
_VERSION_BY_HEADER = {"00": "v1", "01": "v2", "05": "v2Pro", "06": "v2ProPlus"}
# Without a header (base files) the wider generator tells v2ProPlus from v2Pro.
_PLUS_FIRST_KERNEL = 20
_PLUS_CHANNELS = 768


@dataclass(frozen=True, slots=True, eq=False)
class SovitsCheckpoint:
    """weights: as stored, but with weight norm folded (those in float32) and without the training-only enc_q.*.

    recognised_by: what the version was told from. info: upstream's remark. digest: SHA-256 of the file.
    """

    version: ModelVersion
    config: SovitsConfig
    weights: dict[str, Tensor]
    info: str
    path: Path
    digest: str
    recognised_by: str


def load_sovits(path: Pathlike, version: str | None = None) -> SovitsCheckpoint:
    """version: what the caller expects the file to be, or None.

    Raises CheckpointError if the file is missing, damaged, of another kind or of another version.
    """
    archive = open_archive(path)
    references = require(archive, Kind.SOVITS)
    assert isinstance(archive.root, dict)
    config = SovitsConfig.read(archive.root.get("config"), archive.path)
    found, recognised_by = recognise_version(archive, references, config)
    if version is not None and version != found.name:
        known = "" if version in VERSIONS else f", which is none of {', '.join(VERSIONS)}"
        raise CheckpointError(
            f"{archive.path} is SoVITS {found.name} (told from {recognised_by}), "
            f"but {quoted(version)} was asked for{known}."
        )
    needed = {name: reference for name, reference in references.items() if not name.startswith(_TRAINING_ONLY)}
    digest = archive.digest
    weights = fold_weight_norm(read_tensors(archive, needed), dim=0, path=archive.path)
    archive.leave_memory()  # most of it is folded, and lies in memory once more
    return SovitsCheckpoint(found, config, weights, archive.info, archive.path, digest, recognised_by)


def recognise_version(
    archive: Archive, references: Mapping[str, TensorRef], config: SovitsConfig
) -> tuple[ModelVersion, str]:
    """The version and, in words, what told it. Raises CheckpointError if header and weights contradict each other."""
    name, reason = _version_by_keys(archive.path, references, config)
    claimed = _VERSION_BY_HEADER.get(archive.header, "")
    if archive.header and not claimed:
        raise CheckpointError(
            f"{archive.path} has the version header {archive.header}, which does not go with its weights; "
            "download or export it again."
        )
    both_pro = claimed in VERSIONS and VERSIONS[claimed].speaker_embedding and VERSIONS[name].speaker_embedding
    if claimed and claimed != name and not both_pro:
        raise CheckpointError(
            f"{archive.path} contradicts itself: its header {archive.header} says {claimed}, but {reason} says {name}; "
            "download or export it again."
        )
    if claimed:
        name, reason = claimed, f"header {archive.header} and {reason}"
    hint = _configured_version(archive)
    if hint not in ("", name):
        logger.warning(
            "%s: config says version %s, %s says %s; it is used as %s", archive.path, hint, reason, name, name
        )
    return VERSIONS[name], reason


def _version_by_keys(path: Path, references: Mapping[str, TensorRef], config: SovitsConfig) -> tuple[str, str]:
    rows = (references[PHONE_TABLE].shape or (0,))[0]
    if rows not in _SYMBOLS_BY_ROWS:
        raise CheckpointError(
            f"{path} knows {rows} phones, but GPT-SoVITS has 322 (v1) or 732 (v2 and later): give another file."
        )
    reason = f"{rows} phones"
    if _SPEAKER_LAYER not in references:
        return _SYMBOLS_BY_ROWS[rows], reason
    if _SYMBOLS_BY_ROWS[rows] != "v2":
        raise CheckpointError(
            f"{path} contradicts itself: it has the phones of v1 and the speaker layer of v2Pro; export it again."
        )
    plus = config.upsample_kernel_sizes[0] == _PLUS_FIRST_KERNEL or config.upsample_initial_channel == _PLUS_CHANNELS
    width = f"generator of {config.upsample_initial_channel} channels"
    return "v2ProPlus" if plus else "v2Pro", f"{reason}, speaker embedding layer, {width}"


def _configured_version(archive: Archive) -> str:
    """config.model.version as text, "" if there is none; upstream overwrites it while loading, so it is only a hint."""
    value: object = archive.root
    for key in ("config", "model", "version"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""


def check_pairing(t2s: T2SCheckpoint, sovits: SovitsCheckpoint) -> None:
    """Raises CheckpointError if the two models were trained on different phone tables: speech would be gibberish."""
    require_same_table(t2s.path, t2s.symbols, sovits.path, sovits.version)


def require_same_features(hubert: Path, channels: int, sovits: Path, ssl_dim: int) -> None:
    """channels: of HuBERT's features. Raises CheckpointError if the SoVITS model was trained with another HuBERT."""
    if channels != ssl_dim:
        raise CheckpointError(
            f"{hubert} (HuBERT, features of {channels} channels) does not go with {sovits} (SoVITS, reads {ssl_dim}): "
            "give the HuBERT that it was trained with."
        )


def require_same_table(t2s: Path, symbols: str, sovits: Path, version: ModelVersion) -> None:
    """`check_pairing` before anything is loaded."""
    wanted = version.symbols
    if symbols != wanted:
        which = "v1" if wanted == "v1" else "v2 or later"
        raise CheckpointError(
            f"{t2s} (T2S, phone table {symbols}) does not go with {sovits} "
            f"(SoVITS {version.name}, phone table {wanted}): give a T2S model of {which}."
        )
