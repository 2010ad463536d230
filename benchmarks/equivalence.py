"""Is it the same speech? What a contestant gave, against what the reference gave for the same work."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.outcome import Check

EXACT_WAVE = 1e-4
SAME_LENGTH = 0.02  # as a share; loops that end one token earlier or later differ by less
Outputs = Mapping[str, NDArray[Any]]

NOTHING = Check("-")
IS_REFERENCE = Check("reference", exact=True)


def compare(kind: str, reference: Outputs, found: Outputs) -> Check:
    """kind: the name of the output, see Task.compared."""
    if kind not in found or kind not in reference:
        return NOTHING
    if kind in ("tokens", "codes"):
        return same_tokens(reference[kind], found[kind])
    if kind == "wave":
        return near_wave(reference[kind], found[kind])
    return near(reference[kind], found[kind])


def same_tokens(reference: NDArray[Any], found: NDArray[Any]) -> Check:
    """Both [sentences, t], or [t]; counts those that agree from the start on, over all sentences."""
    rows, others = np.atleast_2d(reference), np.atleast_2d(found)
    length = min(rows.shape[1], others.shape[1])
    equal = rows[:, :length] == others[:, :length]
    agreeing = int(np.cumprod(equal, axis=1).sum())
    if rows.shape == others.shape and agreeing == rows.size:
        return Check(f"all {rows.size} tokens equal", exact=True)
    return Check(f"{agreeing} of {rows.size} tokens equal before the first other one", exact=False)


def near_wave(reference: NDArray[Any], found: NDArray[Any]) -> Check:
    """Both [samples], full scale 1."""
    if reference.shape != found.shape:
        return Check(f"{found.size} samples instead of {reference.size}", exact=False)
    difference = float(np.abs(reference - found).max(initial=0.0))
    power, error = float(np.square(reference).sum()), float(np.square(reference - found).sum())
    if error == 0.0 or power == 0.0:
        return Check(f"wave: {difference:.1e}", exact=difference <= EXACT_WAVE, difference=difference)
    snr = 10 * math.log10(power / error)
    text = f"wave: {difference:.1e}, {snr:.0f} dB"
    return Check(text, exact=difference <= EXACT_WAVE, difference=difference, snr_db=snr)


def near(reference: NDArray[Any], found: NDArray[Any]) -> Check:
    if reference.shape != found.shape:
        return Check(f"shape {found.shape} instead of {reference.shape}", exact=False)
    difference = float(np.abs(reference - found).max(initial=0.0))
    return Check(f"largest difference {difference:.1e}", exact=difference <= EXACT_WAVE, difference=difference)


def as_long(reference: float, found: float) -> Check:
    """Samples of audio, pauses left out: a peer that speaks less has less to do."""
    share = found / reference
    return Check("as long", exact=None) if abs(share - 1) <= SAME_LENGTH else Check(f"{share:.0%} as long", exact=False)


def together(checks: Sequence[Check]) -> Check:
    """Several as one; it is as good as the worst of them."""
    said = [each for each in checks if each != NOTHING]
    if not said or all(each == IS_REFERENCE for each in said):
        return said[0] if said else NOTHING
    known = [each.exact for each in said if each.exact is not None]
    differences = [each.difference for each in said if each.difference is not None]
    ratios = [each.snr_db for each in said if each.snr_db is not None]
    return Check(
        "; ".join(each.text for each in said),
        exact=all(known) if known else None,
        difference=max(differences, default=None),
        snr_db=min(ratios, default=None),
    )
