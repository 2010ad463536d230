"""A model of what the knobs do: each value adds something to the log-ratio, whatever the others are.

Bayesian linear regression on indicator features (Bishop, Pattern Recognition and Machine Learning, 3.3), with more
weight on what is nearly as fast as the best, because there it has to be right. Times multiply and so logarithms add: a
few dozen trials tell much of what hundreds of settings do. numpy only; knows nothing of Optuna.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from autotune.knobs import Scalar

Flat = Mapping[str, Scalar]
CAP = math.log(2.0)  # above the best: how much slower, or whether it works at all, does not matter beyond this
WIDTH = 0.5  # in log units from the best: where the weight has fallen to 1/e
PRIOR, NOISE = 0.5, 0.05  # standard deviations: of what a value adds, of what this model misses
OPTIMISM = 1.0  # standard deviations that a prediction is lowered by, so that what is unknown is tried


def optimistic(known: Sequence[tuple[Flat, float | None]], asked: Sequence[Flat]) -> NDArray[np.float64]:
    """A lower bound of the log-ratio of each of the asked settings [n].

    known: settings as `knobs.flatten` gives them, with their log-ratio, or None if they do not work; at least one works.
    """
    names = {name: index for index, name in enumerate(sorted({n for flat, _ in known for n in _features(flat)}))}
    for flat in asked:
        for name in _features(flat):
            names.setdefault(name, len(names))
    values = np.array([math.inf if value is None else value for _, value in known])
    best = float(values.min())
    targets = np.minimum(values, best + CAP)
    weights = np.exp(-(targets - best) / WIDTH)
    inputs = _matrix([flat for flat, _ in known], names)
    centre = float(np.average(targets, weights=weights))
    weighted = inputs * (weights / NOISE**2)[:, None]
    precision = inputs.T @ weighted + np.eye(len(names)) / PRIOR**2
    covariance = np.linalg.inv(precision)
    effects = covariance @ (weighted.T @ (targets - centre))
    questions = _matrix(asked, names)
    spread = np.sqrt(np.einsum("nf,fg,ng->n", questions, covariance, questions))
    bound: NDArray[np.float64] = centre + questions @ effects - OPTIMISM * spread
    return bound


def _features(flat: Flat) -> list[str]:
    return [f"{path}={value!r}" for path, value in flat.items()]


def _matrix(settings: Sequence[Flat], names: Mapping[str, int]) -> NDArray[np.float64]:
    """[settings, features], 1 where a knob has that value."""
    found = np.zeros((len(settings), len(names)))
    for row, flat in enumerate(settings):
        found[row, [names[name] for name in _features(flat)]] = 1.0
    return found
