"""The values that travel between the stages. numpy only: no torch, no text, no files."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one sentence in one language, as the text frontend made it.

    text: what came in. norm_text: what is spoken, numbers written out.
    phones / ids: [n] phone names and their numbers in the symbol table.
    word2ph: phones per character of norm_text, for languages with BERT features (Chinese), else None.
    """

    text: str
    lang: str
    norm_text: str
    phones: tuple[str, ...]
    ids: tuple[int, ...]
    word2ph: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Sentence:
    """One unit of synthesis: decoded and rendered on its own.

    pause_seconds: silence after it that the text asked for, or None for the request's fragment interval.
    """

    text: str
    segments: tuple[Segment, ...]
    pause_seconds: float | None = None

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(i for segment in self.segments for i in segment.ids)

    @property
    def norm_text(self) -> str:
        return "".join(segment.norm_text for segment in self.segments)
