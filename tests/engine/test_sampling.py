"""Sampling against the rules written out in float64, one row at a time."""

import numpy as np
import pytest
import torch
from speaking import RecordedNoise

from sovits_rt.nn.t2s import T2S, T2SConfig
from sovits_rt.stages.semantic.decoder import DecodeJob, Decoder
from sovits_rt.stages.semantic.sampling import FIRST_STEP_WITH_EOS, SamplingRows, draw, keep_top_k, keep_top_p, sample
from sovits_rt.types import Sampling

VOCABULARY = 64
EOS = VOCABULARY - 1
ROWS = (
    Sampling(),
    Sampling(top_k=1),
    Sampling(top_k=3, temperature=0.3),
    Sampling(top_k=100, top_p=0.6),
    Sampling(top_k=10, top_p=0.95, temperature=1.7, repetition_penalty=2.0),
    Sampling(top_k=64, top_p=0.01, repetition_penalty=0.8),
    Sampling(top_k=64, temperature=1e-6),
)


def drawn_by_the_rules(logits, seen, noise, row):
    """(drawn, best) for one row: the rules of upstream's logits_to_probs, without any library but numpy."""
    scores = logits.astype(np.float64)
    for token in np.flatnonzero(seen):
        scores[token] = (
            scores[token] * row.repetition_penalty if scores[token] < 0 else scores[token] / (row.repetition_penalty)
        )
    best = int(np.argmax(scores))
    if row.top_p < 1:
        order = np.argsort(-scores, kind="stable")
        probability = np.exp(scores[order] - scores.max())
        total = np.cumsum(probability / probability.sum())
        for place in range(1, len(order)):
            if total[place] > row.top_p:  # the one that crosses is dropped too
                scores[order[place]] = -np.inf
    scores = scores / max(row.temperature, 1e-5)
    pivot = np.sort(scores)[::-1][min(row.top_k, len(scores)) - 1]
    scores[scores < pivot] = -np.inf
    weights = np.exp(scores - scores.max())
    return int(np.argmax(weights / weights.sum() / noise)), best


@pytest.mark.parametrize("barred", [False, True], ids=["end allowed", "end barred"])
@pytest.mark.parametrize("seed", range(20))
def test_rows_are_drawn_by_the_rules(seed, barred):
    random = np.random.default_rng(seed)
    logits = random.normal(scale=3, size=(len(ROWS), VOCABULARY)).astype(np.float32)
    if barred:
        logits[:, EOS] = -np.inf
    seen = random.random((len(ROWS), VOCABULARY)) < 0.3
    noise = random.exponential(size=logits.shape).astype(np.float32)
    rows = SamplingRows.stack(list(ROWS), torch.device("cpu"))
    drawn, best = sample(torch.from_numpy(logits), torch.from_numpy(seen), torch.from_numpy(noise), rows)
    expected = [drawn_by_the_rules(logits[i], seen[i], noise[i].astype(np.float64), row) for i, row in enumerate(ROWS)]
    assert list(zip(drawn.tolist(), best.tolist(), strict=True)) == expected
    one_by_one = [draw(logits[i], seen[i], lambda i=i: noise[i, : EOS if barred else None], ROWS[i]) for i in range(7)]
    assert one_by_one == expected


def test_ties_are_drawn_among_with_noise():
    """In both ways of drawing: what ties with the last that is kept stays, and noise decides."""
    logits = np.array([0.0, 2.0, 2.0, 2.0, -np.inf], np.float32)
    noise = np.array([1.0, 3.0, 1.0, 2.0], np.float32)
    row = Sampling(top_k=1, repetition_penalty=1.0)
    assert draw(logits, np.zeros(5, np.bool_), lambda: noise, row) == (2, 1)
    rows = SamplingRows.stack([row], torch.device("cpu"))
    both = sample(torch.from_numpy(logits)[None], torch.zeros(1, 5).bool(), torch.ones(1, 5), rows)
    assert [int(each) for each in both] == [1, 1]


def test_noise_is_not_asked_for_where_nothing_is_left_to_chance():
    logits, seen = np.array([0.0, 2.0, 1.0], np.float32), np.zeros(3, np.bool_)
    assert draw(logits, seen, lambda: pytest.fail("asked"), Sampling(top_k=1)) == (1, 1)
    assert draw(logits, seen, lambda: pytest.fail("asked"), Sampling(top_k=3, top_p=0.1)) == (1, 1)


def test_frequencies_follow_the_probabilities():
    random = np.random.default_rng(0)
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).expand(20000, 4)
    noise = torch.from_numpy(random.exponential(size=(20000, 4)).astype(np.float32))
    rows = SamplingRows.stack([Sampling(top_k=3)] * 20000, torch.device("cpu"))
    drawn, _ = sample(logits, torch.zeros(20000, 4, dtype=torch.bool), noise, rows)
    shares = np.bincount(drawn.numpy(), minlength=4) / 20000
    expected = np.exp([2.0, 1.0, 0.0]) / np.exp([2.0, 1.0, 0.0]).sum()
    print(f"largest difference of a share {np.abs(shares[:3] - expected).max():.4f}")
    assert shares[3] == 0
    np.testing.assert_allclose(shares[:3], expected, atol=0.015)


def test_ties_with_the_last_kept_stay():
    kept = keep_top_k(torch.tensor([[3.0, 1.0, 1.0, 1.0, 0.0]]), torch.tensor([[2]]))
    assert torch.isfinite(kept).tolist() == [[True, True, True, True, False]]


def test_top_p_drops_the_token_that_crosses_and_keeps_the_best():
    logits = torch.tensor([[0.5, 0.3, 0.2], [0.9, 0.06, 0.04], [0.5, 0.3, 0.2]]).log()
    kept = keep_top_p(logits, torch.tensor([[0.6], [0.1], [1.0]]))
    assert torch.isfinite(kept).tolist() == [[True, False, False], [True, False, False], [True, True, True]]


class Scripted:
    """A network whose logits are a table: row k is what step k sees. Only what Decoder uses of a T2S."""

    config = T2SConfig(width=4, heads=1, layers=1, text_vocab=4, audio_vocab=VOCABULARY)
    new_memory = T2S.new_memory

    def __init__(self, logits):
        self.bert_proj = torch.nn.Linear(1, 1)
        self.logits = torch.as_tensor(logits, dtype=torch.float32)
        self.steps = 0

    def prefill(self, phones, bert, tokens, memory):
        self.steps = 0
        return self.logits[:1].clone()

    def step(self, tokens, audio_positions, lengths, memory):
        self.steps += 1
        return self.logits[self.steps : self.steps + 1].clone()


def decode(logits, *, prompt=(), sampling=None, noise=None, max_tokens=100, end_of_speech=True):
    network = Scripted(logits)
    job = DecodeJob(
        index=0,
        phones=np.array([1, 2]),
        bert=np.zeros((2, 1024), np.float32),
        prompt_tokens=np.array(prompt, np.int64),
        sampling=sampling or Sampling(top_k=1, repetition_penalty=1.0),
        noise=noise or RecordedNoise(),
        max_tokens=max_tokens,
        end_of_speech=end_of_speech,
    )
    ((_, tokens),) = Decoder(network, network.step, slots=1).decode([job])
    return tokens.tolist()


def table(steps, best):
    """Logits [steps, V]: token `best` wins every step, the end token is second."""
    logits = np.zeros((steps, VOCABULARY))
    logits[:, EOS] = 5.0
    logits[:, best] = 9.0
    return logits


def test_the_end_token_is_barred_for_eleven_steps():
    logits = table(40, EOS)
    logits[:, 7] = 1.0
    assert decode(logits) == [7] * FIRST_STEP_WITH_EOS
    assert FIRST_STEP_WITH_EOS == 11


def test_the_end_token_stops_when_it_is_drawn_though_not_best():
    noise = {step: np.ones(VOCABULARY if step >= 11 else EOS, np.float32) for step in range(40)}
    noise[15][EOS] = 1e-6
    tokens = decode(table(40, 3), sampling=Sampling(top_k=5, repetition_penalty=1.0), noise=RecordedNoise(noise))
    assert tokens == [3] * 15


def test_the_end_token_stops_when_it_is_best_though_not_drawn():
    logits = table(40, 3)
    logits[20, EOS] = 10.0
    noise = {step: np.ones(VOCABULARY if step >= 11 else EOS, np.float32) for step in range(40)}
    noise[20][3] = 1e-6
    tokens = decode(logits, sampling=Sampling(top_k=5, repetition_penalty=1.0), noise=RecordedNoise(noise))
    assert tokens == [3] * 20


def test_what_is_best_is_asked_after_the_penalty():
    """Token 3 was said before: halved, it falls behind the end token as soon as that is allowed."""
    assert decode(table(40, 3), sampling=Sampling(top_k=1, repetition_penalty=2.0)) == [3] * FIRST_STEP_WITH_EOS


def test_the_penalty_counts_the_prompt():
    logits = np.zeros((3, VOCABULARY))
    logits[:, 5], logits[:, 6] = 3.0, 2.0
    penalised = Sampling(top_k=1, repetition_penalty=2.0)
    assert decode(logits, sampling=penalised, max_tokens=1) == [5]
    assert decode(logits, sampling=penalised, prompt=[5, 5], max_tokens=1) == [6]
    assert decode(logits, prompt=[5], max_tokens=1) == [5]


def test_at_most_max_tokens():
    assert decode(table(40, 3), max_tokens=1) == [3]
    assert decode(table(40, 3), max_tokens=39) == [3] * 39


def test_without_end_of_speech_the_end_token_never_comes():
    assert EOS not in decode(table(40, EOS), max_tokens=30, end_of_speech=False)
    assert len(decode(table(40, EOS), max_tokens=30, end_of_speech=False)) == 30
