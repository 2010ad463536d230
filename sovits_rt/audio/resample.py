"""The two resamplers of upstream's reference path.

soxr_hq       what `librosa.load(path, sr=…)` does; feeds HuBERT
windowed_sinc what `torchaudio.transforms.Resample` does with its defaults; feeds spectrogram and speaker network
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import soxr

from sovits_rt.errors import AudioError
from sovits_rt.types import Floats

if TYPE_CHECKING:
    import torch

ZERO_CROSSINGS = 6  # of the sinc, on each side
ROLLOFF = 0.99  # cut-off as a fraction of the lower Nyquist frequency
LARGEST_KERNEL = 50_000_000  # values: 200 MB, reached only by rates that share almost no factor with the target


def soxr_hq(samples: Floats, rate: int, target: int) -> Floats:
    """[n] at `rate` Hz to [ceil(n * target / rate)] at `target` Hz, with SoX's high-quality recipe."""
    if rate == target:
        return samples
    length = math.ceil(samples.shape[0] * (target / rate))
    out = np.zeros(length, np.float32)
    resampled = soxr.resample(samples, rate, target, quality="HQ")[:length]
    out[: resampled.shape[0]] = resampled
    return out


def windowed_sinc(samples: Floats, rate: int, target: int) -> Floats:
    """[n] at `rate` Hz to [ceil(n * target / rate)] at `target` Hz, by a Hann-windowed sinc in float32.

    Raises:
        AudioError: the two rates share so few factors that the filters would not fit into memory.
    """
    if rate == target:
        return samples
    check_rates(rate, target)
    step, phases = ratio(rate, target)
    reach = filter_reach(step, phases)
    import torch

    padded = torch.nn.functional.pad(torch.from_numpy(samples), (reach, reach + step))
    filtered = torch.nn.functional.conv1d(padded[None, None], sinc_filters(step, phases)[:, None], stride=step)
    length = math.ceil(phases * samples.shape[0] / step)
    out: Floats = filtered[0].T.reshape(-1)[:length].numpy()
    return np.ascontiguousarray(out)


def ratio(rate: int, target: int) -> tuple[int, int]:
    """The two rates in lowest terms."""
    common = math.gcd(rate, target)
    return rate // common, target // common


def check_rates(rate: int, target: int) -> None:
    """Raises AudioError if `windowed_sinc` would refuse these rates."""
    step, phases = ratio(rate, target)
    if rate != target and phases * (2 * filter_reach(step, phases) + step) > LARGEST_KERNEL:
        raise AudioError(
            f"A recording at {rate:,} Hz can't be resampled to {target:,} Hz exactly; save it with a usual rate, "
            "such as 44,100 or 48,000 Hz."
        )


def filter_reach(step: int, phases: int) -> int:
    """How many input samples each filter reaches to the left."""
    return math.ceil(ZERO_CROSSINGS * step / (min(step, phases) * ROLLOFF))


@lru_cache(maxsize=8)
def sinc_filters(step: int, phases: int) -> torch.Tensor:
    """[phases, 2 * reach + step] one filter per output phase: `phases` outputs for every `step` inputs.

    Computed in float64 and rounded once; the reference does so too, and it shows in the sixth digit.
    """
    import torch

    cutoff = min(step, phases) * ROLLOFF
    reach = filter_reach(step, phases)
    taps = torch.arange(-reach, reach + step, dtype=torch.float64) / step
    offsets = torch.arange(phases, dtype=torch.float64)[:, None] / phases
    crossings = ((taps - offsets) * cutoff).clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS)
    window = torch.cos(crossings * (math.pi / ZERO_CROSSINGS / 2)) ** 2
    return (torch.sinc(crossings) * window * (cutoff / step)).to(torch.float32)
