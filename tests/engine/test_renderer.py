"""Windows of the generator equal the whole, and precision is what the settings say."""

import numpy as np
import pytest
import torch
from speaking import RecordedNoise

from sovits_rt.models import Models
from sovits_rt.noise import SentenceNoise
from sovits_rt.settings import WHOLE_SENTENCE_FRAMES
from sovits_rt.stages.acoustic.vits import Renderer, Utterance

WINDOWS = (50, 100, 200, 400, WHOLE_SENTENCE_FRAMES)


@pytest.fixture(scope="module")
def case(speaker):
    return speaker.pack.case("v2_zh_greedy")


@pytest.fixture(scope="module")
def network(speaker, case):
    return Models(speaker.paths(case), torch.device("cpu")).sovits


@pytest.fixture(scope="module")
def utterance(case):
    """The prompt's own tokens and two thirds more, 433 frames, so that every window but the last cuts."""
    tokens = np.concatenate([case["prompt_semantic"], case["prompt_semantic"][:87]]).astype(np.int64)
    return Utterance(tokens, case["seg0_phones"].astype(np.int64), SentenceNoise(0, (1,), 0), 0.5, 1.0)


@pytest.fixture(scope="module")
def whole(speaker, case, network, utterance):
    wave = Renderer(network, network.generate, window=10**6).render(utterance, speaker.voice(case))
    assert wave.shape == (len(utterance.tokens) * 1280,)
    assert np.abs(wave).max() > 0.01
    return wave


@pytest.mark.parametrize("window", WINDOWS)
def test_windows_equal_the_whole(speaker, case, network, utterance, whole, window):
    runs = []

    def counted(latent, style):
        runs.append(latent.shape[2])
        return network.generate(latent, style)

    wave = Renderer(network, counted, window=window).render(utterance, speaker.voice(case))
    assert wave.shape == whole.shape
    difference = np.abs(wave - whole).max()
    print(f"window {window}: {len(runs)} runs, largest difference {difference:.1e}")
    assert len(runs) == -(-2 * len(utterance.tokens) // window)
    assert difference <= 1e-5


def test_a_window_without_its_surroundings_would_be_heard(speaker, case, network, utterance, whole):
    """The comparison above can fail: windows that do not overlap differ by far more than its bar."""
    renderer = Renderer(network, network.generate, window=100)
    renderer._halo = 0
    difference = np.abs(renderer.render(utterance, speaker.voice(case)) - whole).max()
    print(f"without overlap: largest difference {difference:.1e}")
    assert difference > 1e-3


def test_the_generator_may_be_in_half_precision(speaker, case, utterance, whole):
    half = Models(speaker.paths(case), torch.device("cpu")).sovits
    half.dec.to(torch.bfloat16)
    wave = Renderer(half, half.generate, window=200).render(utterance, speaker.voice(case))
    assert wave.dtype == np.float32
    ratio = 20 * np.log10(np.sqrt(np.mean(whole**2)) / np.sqrt(np.mean((wave - whole) ** 2)))
    print(f"signal-to-noise ratio of bf16 {ratio:.1f} dB")
    assert 10 < ratio < 80


def test_without_noise_the_latent_is_not_heard(speaker, case, network, utterance):
    renderer, voice = Renderer(network, network.generate, window=200), speaker.voice(case)
    first, second = (
        renderer.render(Utterance(utterance.tokens, utterance.phones, noise, 0.0, 1.0), voice)
        for noise in (RecordedNoise(), SentenceNoise(9, (1,), 0))
    )
    np.testing.assert_array_equal(first, second)
