"""What `synth` leaves behind besides the sound: the summary and the dump."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sovits_rt import stats
from sovits_rt.errors import RequestError
from sovits_rt.stats import Facts
from sovits_rt.types import AudioChunk, Floats, Voice


@dataclass(frozen=True, slots=True)
class Result:
    """wall_seconds: from the first sentence to the written file, without loading. characters: of the text as spoken.
    facts: with --stats."""

    sentences: int
    audio_seconds: float
    wall_seconds: float
    characters: int
    device: str
    profile: str
    output: str
    facts: Facts | None = None

    @property
    def rtf(self) -> float:
        """Real-time factor: seconds of work per second of audio; 0 if there is no audio."""
        return self.wall_seconds / self.audio_seconds if self.audio_seconds else 0.0

    @property
    def characters_per_second(self) -> float:
        return self.characters / self.wall_seconds

    @property
    def line(self) -> str:
        return (
            f"{self.audio_seconds:.2f} s of audio in {self.wall_seconds:.2f} s, RTF {self.rtf:.3f}, "
            f"{self.characters_per_second:.1f} characters/s, device {self.device}, profile {self.profile}"
            f" -> {self.output}"
        )

    def as_dict(self) -> dict[str, Any]:
        measured = {} if self.facts is None else {"stats": stats.to_dict(self.facts)}
        return {
            "sentences": self.sentences,
            "audio_seconds": self.audio_seconds,
            "wall_seconds": self.wall_seconds,
            "rtf": self.rtf,
            "characters_per_second": self.characters_per_second,
            "device": self.device,
            "profile": self.profile,
            "output": self.output,
            **measured,
        }


def dump(path: Path, chunks: Sequence[AudioChunk], voice: Voice, features: Sequence[Floats], sample_rate: int) -> None:
    """Everything that can be compared with another engine, as .npz; arrays of sentence i end in _i.

    features: [n, 1024] per sentence. Raises RequestError if the file can't be written.
    """
    arrays: dict[str, Any] = {
        "prompt_phones": voice.prompt_phones,
        "prompt_tokens": voice.prompt_tokens,
        "sample_rate": np.array(sample_rate),
    }
    for chunk, rows in zip(chunks, features, strict=True):
        arrays[f"phones_{chunk.index}"] = np.array(chunk.sentence.ids, np.int64)
        arrays[f"bert_{chunk.index}"] = np.ascontiguousarray(rows.T)
        arrays[f"tokens_{chunk.index}"] = chunk.tokens
        arrays[f"wav_{chunk.index}"] = chunk.wave
    special = path.exists() and not path.is_file()
    unfinished = path if special else path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as file:
            np.savez(file, **arrays)
        if not special:
            unfinished.replace(path)
    except OSError as error:
        if not special:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
        raise RequestError(f"--dump {path} can't be written ({error.strerror}); choose another place.") from error
