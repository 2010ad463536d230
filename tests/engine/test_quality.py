"""Gates: what is equal passes, every planted fault is caught."""

import numpy as np
import pytest

from sovits_rt import quality
from sovits_rt.backends.compiled import Compiled
from sovits_rt.settings import AcousticSettings, SemanticSettings, Settings
from sovits_rt.tuning import is_exact

RATE = 32_000


@pytest.fixture
def reference(random):
    """Something like speech: a tone that swells; logits of a decoder that is mostly sure."""
    time = np.arange(RATE) / RATE
    logits = random.normal(scale=2, size=(512, 1025)).astype(np.float32)
    logits[np.arange(512), random.integers(0, 1025, 512)] += 12
    return {
        "wave": (0.3 * np.sin(2 * np.pi * 220 * time) * np.sin(np.pi * time)).astype(np.float32),
        "tokens": random.integers(0, 1024, (8, 6)),
        "read": logits,
        "stepped": logits[:256],
        "exact": np.array(True),
    }


def verdict(reference, output, *, exact):
    found = quality.gates(reference, output, exact=exact)
    print("; ".join(gate.sentence for gate in found))
    return {gate.name for gate in found if not gate.passed}


def noisy(wave, decibels, random):
    noise = random.normal(size=wave.shape)
    wanted = np.sqrt(np.mean(wave**2)) / 10 ** (decibels / 20)
    return (wave + noise * wanted / np.sqrt(np.mean(noise**2))).astype(np.float32)


@pytest.mark.parametrize("exact", [True, False])
def test_equal_outputs_pass(reference, exact):
    assert not verdict(reference, {name: each.copy() for name, each in reference.items()}, exact=exact)


def test_rounding_passes_as_exact(reference, random):
    tiny = reference["wave"] + random.uniform(-5e-6, 5e-6, RATE).astype(np.float32)
    assert not verdict(reference, {**reference, "wave": tiny}, exact=True)


def test_half_precision_passes_as_inexact(reference, random):
    logits = reference["read"] + random.normal(scale=0.01, size=(512, 1025)).astype(np.float32)
    output = {**reference, "read": logits, "stepped": logits[:256], "wave": noisy(reference["wave"], 40, random)}
    assert not verdict(reference, output, exact=False)
    assert verdict(reference, output, exact=True) == {"wave"}


def put_nan(wave):
    broken = wave.copy()
    broken[100] = np.nan
    return broken


WAVE_FAULTS = {
    "NaN": put_nan,
    "infinite": lambda wave: np.where(np.arange(RATE) == 5, np.float32(np.inf), wave),
    "silence": np.zeros_like,
    "truncated": lambda wave: wave[: RATE // 2],
    "empty": lambda wave: wave[:0],
    "half as loud": lambda wave: wave / 2,
    "upside down": lambda wave: -wave,
    "halves swapped": lambda wave: np.roll(wave, RATE // 2),
    "one window silent": lambda wave: np.where((np.arange(RATE) // 3200) == 5, np.float32(0), wave),
    "late by one sample in ten": lambda wave: np.roll(wave, 10),
    "noise at 15 dB": lambda wave: noisy(wave, 15, np.random.default_rng(0)),
}


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("fault", WAVE_FAULTS.values(), ids=WAVE_FAULTS)
def test_a_fault_of_the_wave_is_caught(reference, fault, exact):
    with np.errstate(invalid="ignore", over="ignore"):
        assert verdict(reference, {**reference, "wave": fault(reference["wave"])}, exact=exact)


LOGIT_FAULTS = {
    "NaN": lambda logits: np.where(np.arange(1025) == 3, np.float32(np.nan), logits),
    "zeroed scale": np.zeros_like,
    "half the scale": lambda logits: logits / 2,
    "rows swapped": lambda logits: logits[::-1],
    "columns shuffled": lambda logits: logits[:, np.random.default_rng(0).permutation(1025)],
    "truncated": lambda logits: logits[:-1],
    "one row in sixteen of another sentence": lambda logits: np.where(
        (np.arange(len(logits)) % 16 == 0)[:, None], np.roll(logits, 1, axis=0), logits
    ),
}


@pytest.mark.parametrize("name", quality.LOGITS)
@pytest.mark.parametrize("fault", LOGIT_FAULTS.values(), ids=LOGIT_FAULTS)
def test_a_fault_of_the_decoder_is_caught(reference, fault, name):
    """Also of steps alone, where tokens that are read together are right."""
    with np.errstate(invalid="ignore"):
        assert verdict(reference, {**reference, name: fault(reference[name])}, exact=False)


def test_shuffled_tokens_are_caught(reference, random):
    shuffled = random.permuted(reference["tokens"], axis=1)
    assert verdict(reference, {**reference, "tokens": shuffled}, exact=True) == {"tokens"}
    assert verdict(reference, {**reference, "tokens": reference["tokens"][::-1]}, exact=True) == {"tokens"}
    assert verdict(reference, {**reference, "tokens": reference["tokens"][:, :-1]}, exact=False) == {"length"}


@pytest.mark.parametrize(
    ("settings", "exact"),
    [
        (Settings(), True),
        (Settings(semantic=SemanticSettings(slots=32, backend=Compiled())), True),
        (Settings(acoustic=AcousticSettings(window=50)), True),
        (Settings(semantic=SemanticSettings(precision="bf16")), False),
        (Settings(acoustic=AcousticSettings(precision="bf16")), False),
    ],
)
def test_only_knobs_that_may_change_the_audio_count(settings, exact):
    assert is_exact(settings) is exact
