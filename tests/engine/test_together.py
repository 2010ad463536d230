"""Sentences that are rendered together sound as each of them rendered by itself."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from replaying import Replays

from sovits_rt.backends._recording import Replayed
from sovits_rt.models import Models
from sovits_rt.nn.hifigan import halo_frames
from sovits_rt.noise import SentenceNoise
from sovits_rt.schedule import gathered
from sovits_rt.stages.acoustic.together import TogetherRenderer, pieces
from sovits_rt.stages.acoustic.vits import Renderer, Utterance

WAVE = 1e-5
TOKENS = (70, 3, 40, 55, 12, 31)  # with a window of 50 frames some are shorter than a piece


@pytest.fixture(scope="module")
def case(speaker):
    return speaker.pack.case("v2_zh_greedy")


@pytest.fixture(scope="module")
def network(speaker, case):
    return Models(speaker.paths(case), torch.device("cpu")).sovits


@pytest.fixture(scope="module")
def utterances(case):
    tokens, phones = case["prompt_semantic"].astype(np.int64), case["seg0_phones"].astype(np.int64)
    return [
        Utterance(tokens[index : index + count], phones[: 5 + index], SentenceNoise(0, (index,), 0), 0.5, speed)
        for index, (count, speed) in enumerate(zip(TOKENS, (1.0, 1.0, 1.0, 1.3, 1.0, 1.0), strict=True))
    ]


@pytest.fixture(scope="module")
def alone(speaker, case, network, utterances):
    renderer = Renderer(network, network.generate, window=10**6)
    return [renderer.render(each, speaker.voice(case)) for each in utterances]


@pytest.mark.parametrize(("window", "most"), [(50, 4), (50, 1), (400, 8)])
def test_they_equal_each_by_itself(speaker, case, network, utterances, alone, window, most):
    renderer = TogetherRenderer(network, network.generate, window=window, most=most)
    found = renderer.render(utterances, speaker.voice(case))
    assert [len(wave) for wave in found] == [len(wave) for wave in alone]
    worst = max(np.abs(a - b).max() for a, b in zip(found, alone, strict=True))
    print(f"window {window}, {most} together: largest difference {worst:.1e} of samples up to {np.abs(alone[0]).max()}")
    assert worst <= WAVE


def test_they_equal_each_by_itself_when_runs_are_replayed(speaker, case, network, utterances, alone):
    record = Replays()
    generate = Replayed(network.generate, record, resident=(), largest=4)
    renderer = TogetherRenderer(network, generate, window=50, most=4)
    for _ in range(2):
        found = renderer.render(utterances, speaker.voice(case))
    assert max(np.abs(a - b).max() for a, b in zip(found, alone, strict=True)) <= WAVE
    assert {shape[2] for shape in record.recorded} == {50 + 2 * halo_frames(network.config.generator)}
    assert len(record.recorded) <= 2 * 3, "one per number of pieces, with and without a mask"


def test_a_piece_without_its_surroundings_would_be_heard(speaker, case, network, utterances, alone):
    renderer = TogetherRenderer(network, network.generate, window=72, most=4)
    renderer._halo = 0
    found = renderer.render(utterances, speaker.voice(case))
    assert max(np.abs(a - b).max() for a, b in zip(found, alone, strict=True)) > 1e-3


def test_the_first_is_not_kept_waiting_for_company():
    asked = []

    def finished():
        for number in range(8):
            asked.append(number)
            yield number

    groups = gathered(finished(), 3)
    assert next(groups) == [0]
    assert asked == [0]
    assert list(groups) == [[1, 2, 3], [4, 5, 6], [7]]
    assert list(gathered([], 3)) == []


@given(frames=st.lists(st.integers(1, 400), max_size=6), window=st.integers(1, 120), halo=st.integers(0, 15))
def test_pieces_cover_every_frame_once_with_its_surroundings(frames, window, halo):
    length = window + 2 * halo
    kept = [np.zeros(count, int) for count in frames]
    for piece in pieces(frames, length, halo):
        count = frames[piece.sentence]
        kept[piece.sentence][piece.start : piece.end] += 1
        assert piece.short == (count < length)
        right = count if piece.short else piece.left + length
        assert right <= count
        assert piece.left == 0 or piece.start - piece.left >= halo
        assert right == count or right - piece.end >= halo
    assert all((each == 1).all() for each in kept)
