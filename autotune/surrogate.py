"""What untried settings may be worth, judged from the tried ones: a Gaussian process over settings.

Its kernel is the sum of one that lets each knob add something of its own to the log-ratio (times multiply, logarithms
add) and one that falls with the number of knobs in which two settings differ, so that combinations count. Its few
parameters are fitted by the marginal likelihood (Rasmussen and Williams, Gaussian Processes for Machine Learning,
5.4.1); the answer is the expected improvement (Jones, Schonlau and Welch 1998). numpy only; knows nothing of Optuna.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Scalar = str | int | float | bool
Flat = Mapping[str, Scalar]
Array = NDArray[np.float64]

CAP = 1.0  # log units above the best: how much slower, or whether it works at all, does not matter beyond this
LENGTHS = (1.5, 3.0, 6.0)  # differing knobs over which likeness is lost
AMPLITUDES = (0.1, 0.4)  # variance of log-ratios
SHARES = (0.3, 0.7)  # of the variance, what knobs explain alone
NOISES = (0.03, 0.1)  # standard deviation of an answer
TINY = 1e-9


def improvements(known: Sequence[tuple[Flat, float | None]], asked: Sequence[Flat]) -> Array:
    """Expected improvement over the best known settings, of each of the asked settings [n], in log units.

    known: settings as `knobs.flatten` gives them, with their log-ratio, or None if they do not work; at least
    one works.
    """
    values = np.array([math.inf if value is None else value for _, value in known])
    values = np.minimum(values, values.min() + CAP)
    centre = float(values.mean())
    settings, count = [flat for flat, _ in known], len(known)
    apart, used = _distance(settings, [*settings, *asked])
    choices = itertools.product(LENGTHS, AMPLITUDES, SHARES, NOISES)
    fitted = max(choices, key=lambda choice: _likelihood(apart[:, :count], used, values - centre, *choice))
    length, amplitude, share, noise = fitted
    likeness = _kernel(apart, used, length, amplitude, share)
    inverse = np.linalg.inv(likeness[:, :count] + (noise**2 + TINY) * np.eye(count))
    cross = likeness[:, count:]
    residual = inverse @ (values - centre)
    mean = centre + cross.T @ residual
    best = centre + float((likeness[:, :count] @ residual).min())  # smoothed: the best answer was lucky too
    spread = np.sqrt(np.maximum(amplitude - np.einsum("kn,kl,ln->n", cross, inverse, cross), TINY))
    gain = (best - mean) / spread
    density = np.exp(-gain * gain / 2) / math.sqrt(2 * math.pi)
    below = np.array([math.erfc(-each / math.sqrt(2)) / 2 for each in gain])
    expected: Array = (best - mean) * below + spread * density
    return expected


def _distance(rows: Sequence[Flat], columns: Sequence[Flat]) -> tuple[Array, int]:
    """In how many knobs settings differ [rows, columns], near numbers less than one; and how many knobs there are."""
    levels: dict[str, set[Scalar]] = {}
    for flat in columns:
        for path, value in flat.items():
            levels.setdefault(path, set()).add(value)
    apart = np.zeros((len(rows), len(columns)))
    for path, found in levels.items():
        order = {value: place for place, value in enumerate(sorted(found, key=lambda each: (str(type(each)), each)))}
        left, right = (
            np.array([order[flat[path]] if path in flat else -1 for flat in side], dtype=np.float64)
            for side in (rows, columns)
        )
        steps = np.abs(left[:, None] - right[None, :])
        numeric = all(type(value) in (int, float) for value in found)
        gap = 1.0 - np.exp(-steps) if numeric else (steps > 0).astype(np.float64)
        apart += np.where((left >= 0)[:, None] != (right >= 0)[None, :], 1.0, gap)
    return apart, len(levels)


def _kernel(apart: Array, used: int, length: float, amplitude: float, share: float) -> Array:
    found: Array = amplitude * (share * (1.0 - apart / used) + (1 - share) * np.exp(-apart / length))
    return found


def _likelihood(
    apart: Array, used: int, values: Array, length: float, amplitude: float, share: float, noise: float
) -> float:
    """Log marginal likelihood of the values [known], up to a constant."""
    count = len(values)
    root = np.linalg.cholesky(_kernel(apart, used, length, amplitude, share) + (noise**2 + TINY) * np.eye(count))
    whitened = np.linalg.solve(root, values)
    return -float(whitened @ whitened) / 2 - float(np.log(np.diag(root)).sum())
