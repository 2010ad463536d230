"""Decoding that the host looks at only now and then: the same tokens as step by step, whatever the shapes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from replaying import Replays
from speaking import RecordedNoise
from test_batching import jobs

from sovits_rt.backends._recording import Replayed
from sovits_rt.nn.t2s import T2S, T2SConfig
from sovits_rt.noise import SentenceNoise
from sovits_rt.stages.semantic.decoder import Decoder
from sovits_rt.stages.semantic.device_noise import exponential, signed
from sovits_rt.stages.semantic.looping import LoopingDecoder
from sovits_rt.stages.semantic.reading import Reader
from sovits_rt.stages.semantic.turn import ALL_RESIDENT, Turn


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = T2S(T2SConfig(width=16, heads=2, layers=2, text_vocab=20, audio_vocab=33), positions=128).eval()
    with torch.no_grad():
        network.ar_predict_layer.weight.mul_(3)
        network.ar_predict_layer.weight[-1].mul_(1.5)  # an end token that comes now and then
    return network


def looping(network, slots, poll=4, window=64, record=None):
    turn = Turn(network)
    run = turn.forward if record is None else Replayed(turn.forward, record, resident=ALL_RESIDENT, largest=64)
    return LoopingDecoder(network, network.step, run, turn.make_noise, slots=slots, poll=poll, window=window)


def spoken(decoder, work):
    return {job.index: tokens.tolist() for job, tokens in decoder.decode(iter(work))}


@pytest.mark.parametrize("poll", [1, 5, 32])
@pytest.mark.parametrize("slots", [1, 5])
def test_tokens_are_those_of_steps(network, random, slots, poll):
    """Twice, the second time in memory that the first has left behind."""
    work = jobs(random, 15)
    expected = spoken(Decoder(network, network.step, slots=4), work)
    decoder = looping(network, slots, poll)
    assert spoken(decoder, work) == expected
    assert spoken(decoder, work[::-1]) == expected
    assert any(len(expected[job.index]) < job.max_tokens for job in work), "no job ended by its end token"
    assert any(len(expected[job.index]) == job.max_tokens for job in work)


def test_tokens_are_those_of_steps_when_turns_are_replayed(network, random):
    """Every turn is one that was recorded, and each shape is recorded once while memory stays where it is."""
    work = jobs(random, 15)
    record = Replays()
    decoder = looping(network, 6, record=record)
    expected = spoken(Decoder(network, network.step, slots=4), work)
    assert spoken(decoder, work) == expected
    recorded = len(record.recorded)
    print(f"{recorded} recordings, {record.replays} replays")
    batches = {shape[0] for shape in record.recorded}
    assert batches <= {1, 2, 4, 6}
    assert len(batches) > 1
    assert record.replays > 2 * recorded
    assert spoken(decoder, work) == expected
    assert len(record.recorded) == recorded


def test_a_recording_that_changed_its_rows_would_be_heard(network, random, monkeypatch):
    """The comparison above can fail: turns are rehearsed while nobody is running, and without that tokens are lost."""
    work = jobs(random, 6)
    monkeypatch.setattr(LoopingDecoder, "_rehearse", lambda *_: None)
    assert spoken(looping(network, 4, record=Replays()), work) != spoken(Decoder(network, network.step, slots=4), work)


def test_the_smallest_shape_that_holds_everybody_is_used(network, random, monkeypatch):
    """Slots are rounded up to 1, 2, 4 … or all, memory to a multiple."""
    shapes = []
    original = LoopingDecoder._rehearse

    def noted(self, state, rows):
        shapes.append((rows.logits.shape[0], rows.memory.shape[4]))
        original(self, state, rows)

    monkeypatch.setattr(LoopingDecoder, "_rehearse", noted)
    (job,) = jobs(random, 1)
    job = replace(job, noise=RecordedNoise(), end_of_speech=False)
    three = [replace(job, index=index, max_tokens=20 + 8 * index) for index in range(3)]
    spoken(looping(network, 5, poll=4, window=16), three)
    positions = job.positions
    assert shapes[0] == (4, -(-(positions + 5) // 16) * 16)
    assert {batch for batch, _ in shapes} == {4, 2, 1}
    assert max(window for _, window in shapes) == -(-(positions + 37) // 16) * 16


def test_jobs_are_asked_for_only_when_a_slot_is_free(network, random):
    asked = []

    def arriving():
        for job in jobs(random, 6):
            asked.append(job.index)
            yield replace(job, max_tokens=3)

    decoded = looping(network, 2).decode(arriving())
    next(decoded)
    assert asked == [0, 1]
    assert len(list(decoded)) == 5


def test_a_decode_that_is_given_up_leaves_the_decoder_usable(network, random):
    work = jobs(random, 8)
    decoder = looping(network, 4)
    expected = spoken(decoder, work)
    given_up = decoder.decode(iter(work))
    next(given_up)
    given_up.close()
    assert spoken(decoder, work) == expected


def test_two_decodes_may_take_turns(network, random):
    work = jobs(random, 8)
    decoder = looping(network, 2)
    expected = spoken(decoder, work)
    pairs = zip(decoder.decode(iter(work)), decoder.decode(iter(work)), strict=True)
    for (first, tokens), (second, same) in pairs:
        assert first.index == second.index
        assert tokens.tolist() == same.tolist() == expected[first.index]


def test_sentences_read_together_equal_those_read_alone(network, random):
    work = jobs(random, 9)
    worst = 0.0
    with torch.inference_mode():
        for reading in Reader(network).read(work):
            for row, job in enumerate(reading.jobs):
                memory = network.new_memory(1, 64, dtype=torch.float32, device=torch.device("cpu"))[:, :, 0]
                given = (torch.from_numpy(each) for each in (job.phones, job.bert, job.prompt_tokens))
                logits = network.prefill(*given, memory)[-1]
                read = reading.memory[:, :, row, :, : job.positions]
                worst = max(worst, float((reading.logits[row] - logits).abs().max()))
                worst = max(worst, float((read - memory[:, :, :, : job.positions]).abs().max()))
    print(f"largest difference of logits and memory {worst:.1e}")
    assert worst < 1e-5


def test_reading_is_cut_where_it_would_be_too_much_at_once(network, random, monkeypatch):
    monkeypatch.setattr("sovits_rt.stages.semantic.reading._POSITIONS_AT_ONCE", 64)
    work = jobs(random, 9)
    with torch.inference_mode():
        readings = Reader(network).read(work)
    assert len(readings) > 2
    assert [job.index for each in readings for job in each.jobs] == list(range(9))
    assert spoken(looping(network, 4), work) == spoken(Decoder(network, network.step, slots=4), work)


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_noise_made_on_the_device_is_that_of_the_host(seed):
    """The same numbers to the bit; an odd one out in the last place would be the logarithm's."""
    noises = [SentenceNoise(seed, (number, 7), number) for number in range(3)]
    keys = torch.tensor([[signed(each) for each in noise.key] for noise in noises])
    steps, sizes = (0, 11, 1490), (1024, 1025, 1025)
    found = exponential(keys, torch.tensor(steps), 4, 1025).numpy()
    for row, (noise, first, size) in enumerate(zip(noises, steps, sizes, strict=True)):
        for turn in range(4):
            expected = noise.token(first + turn, size)
            different = int((found[turn, row, :size] != expected).sum())
            assert different == 0, f"{different} of {size} numbers differ"


def test_sentences_with_noise_of_the_device_and_of_the_host_mix(network, random):
    """Sentences bring their keys into their slots, and with them when they move."""
    work = jobs(random, 9)
    keyed = [replace(job, noise=SentenceNoise(4, (job.index,), 0)) for job in work]
    mixed = [*keyed[:6], *work[6:]]
    for some in (keyed, mixed):
        expected = spoken(Decoder(network, network.step, slots=4), some)
        assert spoken(looping(network, 3, poll=5), some) == expected
    assert spoken(looping(network, 3), keyed) != spoken(looping(network, 3), work)


def test_noise_of_steps_that_are_not_drawn_is_not_asked_for(network, random):
    """Recorded noise ends with the last step that may be."""
    (job,) = jobs(random, 1)
    noise = RecordedNoise({step: np.ones(33 if step >= 11 else 32, np.float32) for step in range(13)})
    assert len(spoken(looping(network, 1, poll=8), [replace(job, noise=noise, max_tokens=13)])[job.index]) <= 13
