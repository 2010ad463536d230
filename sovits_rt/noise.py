"""Randomness as a function: the same (seed, sentence, step) gives the same numbers on every machine and in any company.

A counter-based generator (Philox 4x64, Salmon et al. 2011) is keyed by the seed and by what the sentence says, so a
sentence sounds the same alone, in a batch, or after others; a sentence that is said again gets other numbers. Nothing
global is seeded.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from sovits_rt.types import Floats

_TOKEN_STREAM = 0
_LATENT_STREAM = 1


class Noise(Protocol):
    """What decoding and rendering draw from; tests supply recorded numbers."""

    def token(self, step: int, size: int) -> Floats:
        """[size] Exponential(1) numbers for decoding step `step`."""
        ...

    def latent(self, frames: int, channels: int) -> Floats:
        """[channels, frames] normal numbers; the first n frames do not depend on how many are asked for."""
        ...


@runtime_checkable
class Keyed(Protocol):
    """Noise whose `token` is `SentenceNoise`'s with this key, two unsigned 64-bit numbers."""

    @property
    def key(self) -> tuple[int, int]: ...


class SentenceNoise:
    """Noise of the `occurrence`-th sentence with these phone ids under `seed`."""

    def __init__(self, seed: int, ids: Sequence[int], occurrence: int) -> None:
        said = hashlib.sha256(np.asarray([occurrence, *ids], dtype="<i8").tobytes()).digest()
        self._key = np.array([seed, int.from_bytes(said[:8], "little")], dtype=np.uint64)

    @property
    def key(self) -> tuple[int, int]:
        return int(self._key[0]), int(self._key[1])

    def token(self, step: int, size: int) -> Floats:
        raw = self._bits(_TOKEN_STREAM, step).random_raw(size)
        # 52 bits, so that + 0.5 is exact: with 53 the largest would round up to 1, and its logarithm to 0
        uniform = ((raw >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
        return (-np.log(uniform)).astype(np.float32)

    def latent(self, frames: int, channels: int) -> Floats:
        normal = np.random.Generator(self._bits(_LATENT_STREAM, 0)).standard_normal((frames, channels), np.float32)
        return np.ascontiguousarray(normal.T)

    def _bits(self, stream: int, step: int) -> np.random.Philox:
        return np.random.Philox(key=self._key, counter=np.array([0, 0, step, stream], dtype=np.uint64))
