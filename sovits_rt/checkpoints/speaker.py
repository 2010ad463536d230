"""The speaker verification network of the Pro versions, ERes2NetV2: a bare state dict, loaded as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovits_rt.checkpoints.archive import open_archive
from sovits_rt.checkpoints.files import Pathlike, content_digest
from sovits_rt.checkpoints.kinds import Kind, require
from sovits_rt.checkpoints.weights import read_tensors

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class SpeakerCheckpoint:
    """weights: as stored, batch norm counters included."""

    weights: dict[str, Tensor]
    path: Path

    @property
    def digest(self) -> str:
        """SHA-256 of the file, which is read for it."""
        return content_digest(self.path)


def load_speaker(path: Pathlike) -> SpeakerCheckpoint:
    """Raises CheckpointError if the file is missing, damaged or not this network."""
    archive = open_archive(path)
    weights = read_tensors(archive, require(archive, Kind.SPEAKER))
    return SpeakerCheckpoint(weights, archive.path)
