"""Is the speech of some settings as good as that of the reference settings? Gates on the outputs of a rehearsal.

Limits are the starting values of the project's tuning notes: mean KL divergence and top-1 agreement of the decoder's
logits on given tokens; signal-to-noise ratio of the vocoder on given tokens. Settings that claim to change nothing must
give the same tokens, and the same wave up to rounding.
"""

import numpy as np
from numpy.typing import NDArray

from autotune.measure import Gate
from autotune.stats import wilson_lower
from autotune.subject import Outputs
from sovits_rt.types import Floats

EXACT_WAVE = 1e-4
LOUDNESS_DECIBELS = 1.0
MEAN_DIVERGENCE = 1e-3
# Lower bound of the share of equal first choices: over 2,000 and more, of which up to 20 may differ; and over fewer,
# which can't show as much.
TOP1_AGREEMENT, TOP1_AGREEMENT_OF_FEW, MANY = 0.985, 0.97, 2000
SIGNAL_TO_NOISE_DECIBELS = 25.0
# Of tokens that are read one by one, and together: settings may change one of the two alone, so both must pass.
LOGITS = ("stepped", "read")


def gates(reference: Outputs, output: Outputs, *, exact: bool) -> list[Gate]:
    """reference, output: of Rehearsal's work; of settings that are not exact also of `forced`. exact: whether the
    settings claim to be."""
    found = [_length(reference, output, ("wave", "tokens") if exact else ("wave", "tokens", *LOGITS))]
    if found[0].passed:
        found.append(_loudness(reference["wave"], output["wave"]))
    if not all(gate.passed for gate in found):
        return found
    if exact:
        return [*found, _same_tokens(reference, output), _same_wave(reference["wave"], output["wave"])]
    return [
        *found,
        _worse([_divergence(reference[name], output[name]) for name in LOGITS]),
        _worse([_agreement(reference[name], output[name]) for name in LOGITS]),
        _signal_to_noise(reference["wave"], output["wave"]),
    ]


def _worse(found: list[Gate]) -> Gate:
    """One that does not pass, else the first."""
    return min(found, key=lambda gate: gate.passed)


def _length(reference: Outputs, output: Outputs, names: tuple[str, ...]) -> Gate:
    differing = sum(reference[name].shape != output[name].shape for name in names)
    return Gate("length", differing == 0, float(differing), 0.0, "outputs of another length")


def _loudness(reference: Floats, output: Floats) -> Gate:
    change = abs(20 * np.log10(_level(output) / _level(reference)))
    passed = bool(change <= LOUDNESS_DECIBELS)
    return Gate("loudness", passed, float(change), LOUDNESS_DECIBELS, "change of the level in decibels")


def _level(wave: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) + 1e-12


def _same_tokens(reference: Outputs, output: Outputs) -> Gate:
    differing = float(np.count_nonzero(reference["tokens"] != output["tokens"]))
    return Gate("tokens", differing == 0, differing, 0.0, "tokens that differ")


def _same_wave(reference: Floats, output: Floats) -> Gate:
    difference = float(np.abs(reference - output).max(initial=0.0))
    return Gate("wave", difference <= EXACT_WAVE, difference, EXACT_WAVE, "largest difference of a sample")


def _divergence(reference: Floats, output: Floats) -> Gate:
    p, q = _log_softmax(reference), _log_softmax(output)
    mean = float((np.exp(p) * (p - q)).sum(axis=1).mean())
    return Gate("divergence", mean <= MEAN_DIVERGENCE, mean, MEAN_DIVERGENCE, "mean KL divergence of the decoder")


def _agreement(reference: Floats, output: Floats) -> Gate:
    equal = reference.argmax(axis=1) == output.argmax(axis=1)
    bound = wilson_lower(int(equal.sum()), equal.size)
    limit = TOP1_AGREEMENT if equal.size >= MANY else TOP1_AGREEMENT_OF_FEW
    return Gate("top-1", bound >= limit, bound, limit, "lower bound of equal first choices")


def _signal_to_noise(reference: Floats, output: Floats) -> Gate:
    ratio = 20 * np.log10(_level(reference) / _level(output - reference))
    passed = bool(ratio >= SIGNAL_TO_NOISE_DECIBELS)
    return Gate("signal", passed, float(ratio), SIGNAL_TO_NOISE_DECIBELS, "signal-to-noise ratio in decibels")


def _log_softmax(logits: Floats) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    normalised: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalised
