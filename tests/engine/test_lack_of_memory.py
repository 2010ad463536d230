"""Memory that runs out costs time, never a job and never a token."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sovits_rt.errors import OutOfMemoryError
from sovits_rt.memory import is_out_of_memory
from sovits_rt.models import Models
from sovits_rt.nn.t2s import T2S, T2SConfig
from sovits_rt.noise import SentenceNoise
from sovits_rt.schedule import Slots, admission_order
from sovits_rt.stages.acoustic.vits import LEAST_WINDOW, Renderer, Utterance
from sovits_rt.stages.semantic.decoder import DecodeJob, Decoder
from sovits_rt.stages.semantic.sparing import SparingDecoder
from sovits_rt.types import Sampling

CPU_MESSAGE = (
    "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
)
SHORTAGES = (torch.OutOfMemoryError("CUDA out of memory."), MemoryError(), RuntimeError(CPU_MESSAGE))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return T2S(T2SConfig(width=16, heads=2, layers=2, text_vocab=20, audio_vocab=33), positions=128).eval()


def job(index):
    phones = np.random.default_rng(index).integers(0, 20, 5 + index)
    bert = np.zeros((len(phones), 1024), np.float32)
    noise = SentenceNoise(1, (index,), 0)
    return DecodeJob(index, phones, bert, np.array([3, 4]), Sampling(), noise, max_tokens=10 + 7 * index)


def sparing(network, most, error, slots):
    """A decoder whose steps run out of memory with more than `most` sentences."""

    def step(tokens, *others):
        if len(tokens) > most:
            raise error
        return network.step(tokens, *others)

    return SparingDecoder(lambda count: Decoder(network, step, slots=count), slots)


@pytest.mark.parametrize("error", SHORTAGES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("most", "remembered"), [(3, 2), (1, 1), (8, 8)])
def test_tokens_survive_a_lack_of_memory(network, error, most, remembered, caplog):
    expected = {
        index: tokens.tolist()
        for index in range(11)
        for _, tokens in Decoder(network, network.step, slots=1).decode([job(index)])
    }
    decoder = sparing(network, most, error, slots=8)
    with caplog.at_level(logging.WARNING):
        for round_ in range(2):  # the second time without a try that fails
            found = {index: tokens.tolist() for index, tokens in decoder.decode(range(11), job)}
            assert found == expected
            halvings = [record.message for record in caplog.records]
            assert len(halvings) == {8: 0, 2: 2, 1: 3}[remembered], f"round {round_}"
    assert decoder.slots == remembered
    print(halvings)


def test_making_a_job_may_run_out_of_memory_too(network):
    failing = [True]

    def made(index):
        if index == 4 and failing:
            failing.clear()
            raise SHORTAGES[0]
        return job(index)

    decoder = sparing(network, 99, MemoryError(), slots=4)
    assert sorted(index for index, _ in decoder.decode(range(8), made)) == list(range(8))
    assert decoder.slots == 2


def test_when_not_even_one_sentence_fits_it_is_said(network):
    with pytest.raises(OutOfMemoryError, match="even one sentence"):
        list(sparing(network, 0, MemoryError(), slots=4).decode(range(3), job))


def test_other_faults_are_not_taken_for_a_lack_of_memory(network):
    with pytest.raises(RuntimeError, match="shapes"):
        list(sparing(network, 0, RuntimeError("shapes differ"), slots=4).decode(range(3), job))


def test_the_real_allocator_of_the_cpu_is_understood():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.fixture(scope="module")
def rendered(speaker):
    case = speaker.pack.case("v2_zh_greedy")
    sovits = Models(speaker.paths(case), torch.device("cpu")).sovits
    tokens = case["prompt_semantic"][:120].astype(np.int64)
    utterance = Utterance(tokens, case["seg0_phones"].astype(np.int64), SentenceNoise(0, (1,), 0), 0.5, 1.0)
    voice = speaker.voice(case)
    return sovits, utterance, voice, Renderer(sovits, sovits.generate, window=10**6).render(utterance, voice)


@pytest.mark.parametrize("most", [50, 100, 200])
def test_a_window_that_does_not_fit_is_halved_and_nothing_is_lost(rendered, most):
    sovits, utterance, voice, whole = rendered
    runs = []

    def generate(latent, style):
        runs.append(latent.shape[2])
        if latent.shape[2] > most:
            raise SHORTAGES[0]
        return sovits.generate(latent, style)

    renderer = Renderer(sovits, generate, window=10**6)
    for again in (False, True):
        difference = np.abs(renderer.render(utterance, voice) - whole).max()
        failed = sum(frames > most for frames in runs)
        print(f"at most {most}: {len(runs)} runs, {failed} failed, largest difference {difference:.1e}")
        assert difference <= 1e-5
        assert (failed == 0) == again, "the window that fits is remembered"
        runs.clear()


def test_when_not_even_a_short_window_fits_it_is_said(rendered):
    sovits, utterance, voice, _ = rendered

    def generate(latent, style):
        raise MemoryError

    with pytest.raises(OutOfMemoryError, match=f"{LEAST_WINDOW / 50:g} s of speech"):
        Renderer(sovits, generate, window=100).render(utterance, voice)


@given(lengths=st.lists(st.integers(0, 500), max_size=60), longest_first=st.booleans())
def test_every_sentence_gets_its_turn_and_the_first_is_first(lengths, longest_first):
    order = admission_order(lengths, longest_first=longest_first)
    assert sorted(order) == list(range(len(lengths)))
    assert order[:1] == [0][: len(lengths)]
    if longest_first:
        assert [lengths[number] for number in order[1:]] == sorted(lengths[1:], reverse=True)
    else:
        assert order == list(range(len(lengths)))


def test_the_longest_first_leaves_nobody_alone_at_the_end():
    """Steps until all are done, one token of every running sentence per step."""

    def steps(order, lengths, slots):
        queue, count = Slots(slots, ([lengths[number]] for number in order)), 0
        while True:
            list(queue.admit())
            if not queue.running:
                return count
            count += 1
            for left in queue.running:
                left[0] -= 1
            for slot in reversed([slot for slot, left in enumerate(queue.running) if left[0] == 0]):
                queue.leave(slot)

    random = np.random.default_rng(0)
    ratios = []
    for _ in range(200):
        lengths = random.integers(20, 250, 24).tolist()
        text, longest = (steps(admission_order(lengths, longest_first=choice), lengths, 8) for choice in (False, True))
        ratios.append(longest / text)
    print(f"steps with the longest first: {np.median(ratios):.2f} of those in the text's order")
    assert np.median(ratios) < 0.95
