"""Rendered sentences to one stream: each limited to full scale, a pause after each; parts to sentences. numpy only.

Source: `audio_postprocess` in upstream's GPT_SoVITS/TTS_infer_pack/TTS.py.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sovits_rt.errors import AudioError
from sovits_rt.types import AudioChunk, Floats


def limit_peak(samples: Floats) -> Floats:
    """[n] divided by its largest magnitude if that is over 1, else as it is."""
    peak = np.abs(samples).max(initial=np.float32(0.0))
    return samples / peak if peak > 1 else samples


def pause(rate: int, seconds: float) -> Floats:
    """[int(rate * seconds)] zeros."""
    return np.zeros(int(rate * seconds), np.float32)


def whole(chunks: Iterable[AudioChunk]) -> Iterator[AudioChunk]:
    """One chunk per sentence, from its parts in order."""
    parts: list[AudioChunk] = []
    for chunk in chunks:
        parts.append(chunk)
        if chunk.last:
            yield chunk if len(parts) == 1 else _joined(parts)
            parts = []


def _joined(parts: list[AudioChunk]) -> AudioChunk:
    wave, samples = (np.concatenate(each) for each in zip(*((part.wave, part.samples) for part in parts), strict=True))
    return replace(parts[0], wave=wave, samples=samples, last=True)


def finish_sentence(samples: Floats, rate: int, pause_seconds: float) -> Floats:
    """[n] wave of one sentence to [n + int(rate * pause_seconds)]: limited, followed by its pause."""
    return np.concatenate([limit_peak(samples), pause(rate, pause_seconds)])


def pcm16(samples: Floats) -> NDArray[np.int16]:
    """[n] in [-1, 1] to 16-bit integers: times 32768, fraction dropped.

    Values beyond the range saturate, 1.0 becomes 32767. Upstream lets them wrap, so 1.0 becomes -32768, a loud click;
    everything else is equal.

    Raises:
        AudioError: a sample is no number.
    """
    if not np.isfinite(samples).all():
        raise AudioError("The audio has samples that aren't numbers (NaN or infinite); report this and the settings.")
    scaled = np.asarray(samples, np.float32) * np.float32(32768)
    integers: NDArray[np.int16] = np.clip(scaled, -32768, 32767).astype(np.int16)
    return integers
