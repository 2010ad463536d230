"""A sentence sounds the same alone and in any company; slots are refilled without mixing anything up."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from speaking import RecordedNoise

from sovits_rt.engine import sentence_noises
from sovits_rt.nn.t2s import T2S, T2SConfig
from sovits_rt.schedule import Slots
from sovits_rt.settings import SemanticSettings, Settings
from sovits_rt.stages.semantic.decoder import DecodeJob, Decoder
from sovits_rt.types import Sampling

TEXT = (
    "今天天气真不错。我们去公园玩吧。明天可能会下雨，记得带伞。后天我要去上海出差，大概三天后回来。"
    "这是最后一句话了。他说好。你听见没有？我不知道。学生们都在教室里认真地看书，谁也不说话。"
)
WAVE = 1e-5
MIXED = (Sampling(), Sampling(top_k=1), Sampling(top_p=0.7, temperature=0.6), Sampling(5, 0.9, 1.4, 1.1))


def with_slots(slots: int) -> Settings:
    return Settings(semantic=SemanticSettings(slots=slots))


@pytest.fixture
def case(speaker):
    return speaker.pack.case("v2_eos_batch1")


@pytest.mark.parametrize("sampling", [Sampling(top_k=1), Sampling()], ids=["greedy", "sampled"])
@pytest.mark.parametrize("slots", [4, 16])
def test_speech_in_a_batch_equals_speech_alone(speaker, case, slots, sampling):
    voice = speaker.voice(case)
    request = speaker.request(
        case, voice, text=TEXT, split="cut5", sampling=sampling, noise_scale=0.5, max_tokens=40, seed=3
    )
    alone = list(speaker.engine(case, with_slots(1)).synth(request))
    together = list(speaker.engine(case, with_slots(slots)).synth(request))
    assert len({len(chunk.tokens) for chunk in alone}) > 2, "the lengths should differ, or nothing is refilled"
    assert [chunk.tokens.tolist() for chunk in together] == [chunk.tokens.tolist() for chunk in alone]
    worst = max(np.abs(a.wave - b.wave).max() for a, b in zip(alone, together, strict=True))
    print(f"{slots} slots: largest difference of a wave {worst:.1e}")
    assert worst <= WAVE


def test_neighbours_and_their_order_do_not_matter(speaker, case):
    """The same sentence after, before and among others that are sampled from other noise."""
    engine, voice = speaker.engine(case, with_slots(4)), speaker.voice(case)
    request = speaker.request(case, voice, text=TEXT, sampling=Sampling(), max_tokens=40)
    sentences = engine.sentences(request)
    noises = sentence_noises(sentences, 5)
    expected = dict(engine.decode(sentences, noises, request))
    backwards = dict(engine.decode(sentences[::-1], noises[::-1], request))
    for index, tokens in expected.items():
        assert backwards[len(sentences) - 1 - index].tolist() == tokens.tolist()
    kept = sentence_noises(sentences, 5)[0]
    others = [kept, *sentence_noises(sentences, 6)[1:]]
    changed = dict(engine.decode(sentences, others, request))
    assert changed[0].tolist() == expected[0].tolist()
    assert any(changed[index].tolist() != expected[index].tolist() for index in range(1, len(sentences)))


def test_a_sentence_that_is_said_twice_gets_other_noise(speaker, case):
    engine, voice = speaker.engine(case), speaker.voice(case)
    request = speaker.request(case, voice, text="今天天气真不错。今天天气真不错。", sampling=Sampling(), max_tokens=40)
    first, second = engine.synth(request)
    assert first.sentence.ids == second.sentence.ids
    assert first.tokens.tolist() != second.tokens.tolist()
    again = list(engine.synth(request))
    assert [chunk.tokens.tolist() for chunk in again] == [first.tokens.tolist(), second.tokens.tolist()]


def test_two_requests_may_be_spoken_in_turns(speaker, case):
    """`synth` is lazy: another request may start while one is half done."""
    engine, voice = speaker.engine(case, with_slots(4)), speaker.voice(case)
    requests = [
        speaker.request(case, voice, text=TEXT, sampling=Sampling(), max_tokens=40, seed=seed) for seed in (1, 2)
    ]
    expected = [[chunk.tokens.tolist() for chunk in engine.synth(request)] for request in requests]
    in_turns = list(zip(*(engine.synth(request) for request in requests), strict=True))
    assert [list(each) for each in zip(*expected, strict=True)] == [[c.tokens.tolist() for c in p] for p in in_turns]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = T2S(T2SConfig(width=16, heads=2, layers=2, text_vocab=20, audio_vocab=33), positions=128).eval()
    with torch.no_grad():
        network.ar_predict_layer.weight.mul_(3)
        network.ar_predict_layer.weight[-1].mul_(1.5)  # an end token that comes now and then
    return network


def jobs(random, count):
    """Of mixed lengths, prompts, limits and sampling."""
    made = []
    for index in range(count):
        phones = int(random.integers(1, 30))
        made.append(
            DecodeJob(
                index=index,
                phones=random.integers(0, 20, phones),
                bert=random.normal(size=(phones, 1024)).astype(np.float32),
                prompt_tokens=random.integers(0, 32, int(random.integers(0, 12))),
                sampling=MIXED[index % len(MIXED)],
                noise=RecordedNoise(
                    {step: random.exponential(size=33 if step >= 11 else 32).astype(np.float32) for step in range(70)}
                ),
                max_tokens=int(random.integers(1, 70)),
            )
        )
    return made


@pytest.mark.parametrize("slots", [2, 4, 16])
def test_jobs_with_their_own_sampling_do_not_touch_each_other(network, random, slots):
    work = jobs(random, 23)
    alone = {job.index: tokens for job in work for _, tokens in Decoder(network, network.step, slots=1).decode([job])}
    together = Decoder(network, network.step, slots=slots)
    for _ in range(2):  # the second time in memory that the first has left behind
        found = [(job.index, tokens.tolist()) for job, tokens in together.decode(iter(work))]
        assert sorted(index for index, _ in found) == list(range(23))
        for index, tokens in found:
            assert tokens == alone[index].tolist()
    assert any(len(alone[job.index]) < job.max_tokens for job in work), "no job ended by its end token"
    assert any(len(alone[job.index]) == job.max_tokens for job in work)


def test_jobs_are_asked_for_only_when_a_slot_is_free(network, random):
    asked = []

    def arriving():
        for job in jobs(random, 6):
            asked.append(job.index)
            yield replace(job, max_tokens=3)

    decoded = Decoder(network, network.step, slots=2).decode(arriving())
    next(decoded)
    assert asked == [0, 1]
    assert len(list(decoded)) == 5


def test_a_decode_that_is_given_up_leaves_the_decoder_usable(network, random):
    work = jobs(random, 8)
    decoder = Decoder(network, network.step, slots=4)
    expected = [(job.index, tokens.tolist()) for job, tokens in decoder.decode(work)]
    given_up = decoder.decode(work)
    next(given_up)
    given_up.close()
    assert [(job.index, tokens.tolist()) for job, tokens in decoder.decode(work)] == expected


@given(
    lengths=st.lists(st.integers(1, 9), max_size=40),
    count=st.integers(1, 8),
    choose=st.randoms(use_true_random=False),
)
@settings(deadline=None)
def test_every_job_runs_once_in_dense_slots(lengths, count, choose):
    """The caller's own per-slot data, moved as `leave` says, stays with its job."""
    slots = Slots(count, enumerate(lengths))
    beside: list[int | None] = [None] * count
    finished, left = [], dict(enumerate(lengths))
    while True:
        for slot, (job, _) in slots.admit():
            beside[slot] = job
        running = slots.running
        assert len(running) <= count
        assert [job for job, _ in running] == beside[: len(running)]
        if not running:
            break
        for job, _ in running:
            left[job] -= 1
        done = [slot for slot, (job, _) in enumerate(running) if left[job] <= 0 or choose.random() < 0.1]
        for slot in reversed(done):
            finished.append(running[slot][0])
            move = slots.leave(slot)
            beside[move.slot] = beside[move.moved_from]
    assert sorted(finished) == list(range(len(lengths)))
