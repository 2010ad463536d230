"""Noise is a function of seed, sentence and step: pinned numbers, independence, and the right distributions."""

import subprocess
import sys

import numpy as np
import pytest

from sovits_rt.engine import sentence_noises
from sovits_rt.noise import SentenceNoise
from sovits_rt.types import Segment, Sentence

IDS = (5, 6, 7)
PINNED_TOKEN = (0.24832153, 6.3670068, 0.5219571, 0.014018972)
PINNED_NEXT = (1.1930045, 0.67759544, 1.8111112, 1.2993895)
PINNED_LATENT = (0.92626202, 0.45667917, 0.4107343, 0.6220153, -0.57782871, -1.1909336)
SCRIPT = """
from sovits_rt.noise import SentenceNoise
noise = SentenceNoise(2**63 - 1, (5, 6, 7), 1)
print(noise.token(1498, 1025).tobytes().hex()[:64], noise.latent(9, 192).tobytes().hex()[-64:])
"""


def sentence(*ids):
    return Sentence("", (Segment("", "", "", ("",) * len(ids), ids, None),))


def test_the_numbers_are_these_everywhere():
    noise = SentenceNoise(42, IDS, 0)
    np.testing.assert_allclose(noise.token(0, 4), PINNED_TOKEN, rtol=1e-6)
    np.testing.assert_allclose(noise.token(1, 4), PINNED_NEXT, rtol=1e-6)
    np.testing.assert_allclose(noise.latent(2, 3).T.reshape(-1), PINNED_LATENT, rtol=1e-6)


def test_a_fresh_process_gives_the_same_bits():
    found = [subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True) for _ in "12"]
    noise = SentenceNoise(2**63 - 1, IDS, 1)
    here = f"{noise.token(1498, 1025).tobytes().hex()[:64]} {noise.latent(9, 192).tobytes().hex()[-64:]}"
    assert [each.stdout.strip() for each in found] == [here, here]


def test_a_longer_latent_begins_with_the_shorter():
    noise = SentenceNoise(1, IDS, 0)
    np.testing.assert_array_equal(noise.latent(100, 192)[:, :37], noise.latent(37, 192))


def test_asking_again_or_in_another_order_changes_nothing():
    noise, other = SentenceNoise(1, IDS, 0), SentenceNoise(1, IDS, 0)
    forwards = [noise.token(step, 64) for step in range(5)]
    noise.latent(5, 192)
    backwards = [other.token(step, 64) for step in reversed(range(5))][::-1]
    np.testing.assert_array_equal(forwards, backwards)
    np.testing.assert_array_equal(noise.token(3, 1025)[:1024], noise.token(3, 1024))


@pytest.mark.parametrize(
    "other", [SentenceNoise(2, IDS, 0), SentenceNoise(1, (5, 6, 8), 0), SentenceNoise(1, IDS, 1)], ids=str
)
def test_seed_sentence_and_occurrence_all_matter(other):
    noise = SentenceNoise(1, IDS, 0)
    assert not np.intersect1d(noise.token(0, 1025), other.token(0, 1025)).size > 2
    assert abs(np.corrcoef(noise.latent(200, 8).ravel(), other.latent(200, 8).ravel())[0, 1]) < 0.1


def test_steps_are_independent():
    steps = np.stack([SentenceNoise(1, IDS, 0).token(step, 1025) for step in range(200)]).astype(np.float64)
    correlation = np.corrcoef(steps)
    worst = np.abs(correlation - np.eye(200)).max()
    print(f"largest correlation of two steps {worst:.3f}")
    assert worst < 5.5 / np.sqrt(1025)


def test_tokens_are_exponential_and_latents_normal():
    noise = SentenceNoise(7, IDS, 0)
    drawn = np.concatenate([noise.token(step, 1025) for step in range(300)]).astype(np.float64)
    normal = noise.latent(2000, 192).astype(np.float64)
    print(
        f"exponential mean {drawn.mean():.4f} variance {drawn.var():.4f}; normal {normal.mean():.4f} {normal.var():.4f}"
    )
    assert drawn.min() > 0
    assert abs(drawn.mean() - 1) < 0.01
    assert abs(drawn.var() - 1) < 0.02
    assert abs((drawn > 1).mean() - np.exp(-1)) < 0.005
    assert abs(normal.mean()) < 0.01
    assert abs(normal.var() - 1) < 0.01
    assert abs((np.abs(normal) > 2).mean() - 0.0455) < 0.002


def test_extreme_bits_give_positive_finite_numbers(monkeypatch):
    class Extreme:
        def random_raw(self, size):
            return np.array([0, 2**64 - 1] * (size // 2), np.uint64)

    monkeypatch.setattr(SentenceNoise, "_bits", lambda self, stream, step: Extreme())
    drawn = SentenceNoise(0, IDS, 0).token(0, 2)
    assert np.isfinite(drawn).all()
    assert (drawn > 0).all()


def test_nothing_global_is_seeded():
    before = np.random.get_state()[1].copy()
    SentenceNoise(1, IDS, 0).latent(10, 10)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_repetitions_are_counted_per_sentence():
    noises = sentence_noises([sentence(1, 2), sentence(3), sentence(1, 2)], 4)
    for noise, (ids, occurrence) in zip(noises, [((1, 2), 0), ((3,), 0), ((1, 2), 1)], strict=True):
        np.testing.assert_array_equal(noise.token(0, 8), SentenceNoise(4, ids, occurrence).token(0, 8))
