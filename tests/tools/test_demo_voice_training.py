"""The recipe of the bundled voices: alignment, features, codes, and that an interrupted training goes on as if not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sovits_rt.nn.t2s import T2S
from tools.demo_voice import acoustic, content, corpus, sizes, t2s, training


def utterance(phones: int = 4, tokens: int = 10) -> corpus.Utterance:
    ends = np.linspace(0, tokens * corpus.TOKEN_SECONDS, phones + 1)[1:].astype(np.float32)
    wave = np.zeros(tokens * content.SAMPLES, np.int16)
    return corpus.Utterance("x", np.arange(10, 10 + phones), wave, ends)


def test_alignment_finds_the_counterpart_of_every_phone() -> None:
    ours, theirs = ["pau", "hh", "ah", "l", "ow", "pau"], ["pau", "hh", "ax", "l", "ow", "pau"]
    assert corpus.align(ours, theirs) == ([0, 1, 2, 3, 4, 5], 0.0)
    found, differing = corpus.align(["t", "r", "ay"], ["pau", "t", "r", "ay", "pau"])
    assert found == [1, 2, 3]
    assert differing == 0  # silence is not a phone


def test_phones_that_are_not_spoken_take_no_time() -> None:
    found, _ = corpus.align(["d", "pau", "m"], ["d", "m"])
    assert found == [0, -1, 1]


def test_every_token_has_the_phone_that_sounds_in_its_middle() -> None:
    assert utterance(phones=2, tokens=4).phone_of_token().tolist() == [0, 0, 1, 1]


def test_utterances_come_back_from_their_file(tmp_path: Path) -> None:
    kept = [utterance(3, 5), utterance(2, 7)]
    corpus.save(kept, tmp_path / "x.npz")
    back = corpus.load(tmp_path / "x.npz")
    for a, b in zip(kept, back, strict=True):
        assert a.text == b.text
        assert all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("phones", "wave", "ends"))


@pytest.mark.parametrize("hertz", [80.0, 130.0, 220.0])
def test_pitch_of_a_known_tone(hertz: float) -> None:
    time = torch.arange(corpus.RATE) / corpus.RATE
    tone = sum(torch.sin(2 * torch.pi * hertz * k * time) / k for k in range(1, 6)) * 0.2
    found = content.pitch(tone, 20)[2:-2]
    assert (found[:, 1] == 1).all()
    assert torch.allclose(found[:, 0].exp(), torch.tensor(hertz), rtol=0.02)
    assert content.pitch(torch.zeros(corpus.RATE), 20).abs().sum() == 0


def test_clusters_find_separate_points() -> None:
    generator = torch.Generator().manual_seed(0)
    middles = torch.randn(8, 4, generator=generator) * 10
    points = middles.repeat(50, 1) + torch.randn(400, 4, generator=generator) * 0.01
    centres = content.cluster(points, 8)
    assert content.nearest_centres(points, centres)[1].max() < 0.1
    assert len(set(content.nearest_centres(middles, centres)[0].tolist())) == 8


def test_teacher_forcing_gives_the_logits_of_synthesis() -> None:
    torch.manual_seed(0)
    network = T2S(sizes.t2s(), positions=64).eval()
    rows = [(torch.randint(1, 300, (n,)), torch.randint(0, sizes.CODES, (t,))) for n, t in ((7, 12), (5, 9))]
    texts, audios = (torch.tensor([len(row[part]) for row in rows]) for part in (0, 1))
    with torch.no_grad():
        logits, guides = t2s.forward(
            network, training.padded([row[0] for row in rows]), texts, training.padded([row[1] for row in rows]), audios
        )
        for index, (phones, tokens) in enumerate(rows):
            memory = network.new_memory(1, 64, dtype=torch.float32, device=torch.device("cpu"))[:, :, 0]
            expected = network.prefill(phones, torch.zeros(len(phones), 1024), tokens, memory)
            assert (logits[index, 1 : len(tokens) + 1] - expected).abs().max() < 1e-4
    assert len(guides) == len(t2s.GUIDED_LAYERS)
    assert all((guide.exp().sum(dim=-1) < 1 + 1e-4).all() for guide in guides)


def test_an_example_says_of_every_token_what_follows() -> None:
    codes = np.arange(25)  # ten of the utterance, fifteen of the silence behind it
    made = t2s.example([(utterance(), codes)], np.random.default_rng(1))
    assert len(made.tokens) == len(made.wanted) - 1
    assert made.wanted[-1] == sizes.CODES
    assert len(made.path) == len(made.wanted)
    assert made.path[-1] == len(made.phones) - 1


def test_some_tokens_are_read_wrong_and_none_is_wanted_wrong() -> None:
    speaker = [(utterance(tokens=50), np.arange(65))]
    made = [t2s.example(speaker, np.random.default_rng(seed)) for seed in range(50)]
    wrong = np.array([np.mean(each.tokens != each.wanted[:-1]) for each in made])
    assert 0.3 * t2s.CORRUPTED < wrong.mean() < 0.7 * t2s.CORRUPTED
    assert wrong.max() < 1.5 * t2s.CORRUPTED
    assert all(set(each.wanted[:-1]) <= set(range(65)) and each.wanted[-1] == sizes.CODES for each in made)


def test_a_training_that_was_cut_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    def run(path: Path, *ends: int) -> torch.Tensor:
        for end in ends:
            torch.manual_seed(0)
            layer = nn.Linear(3, 1)
            optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)

            def step_of(step: int, layer: nn.Linear = layer, optimizer: torch.optim.Optimizer = optimizer):  # type: ignore[no-untyped-def]
                x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
                loss = (layer(x) - x.sum(dim=1, keepdim=True)).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                return {"loss": loss.detach()}

            stopped = step_of if end == ends[-1] else stopping_at(end, step_of)
            try:
                training.train(path, {"layer": layer}, {"optimizer": optimizer}, stopped, steps=ends[-1], peak=0.1)
            except KeyboardInterrupt:
                continue
        return layer.weight.detach()

    whole = run(tmp_path / "whole.pt", 20)
    assert torch.equal(run(tmp_path / "cut.pt", 7, 20), whole)


def stopping_at(end: int, step_of):  # type: ignore[no-untyped-def]
    def step(number: int):  # type: ignore[no-untyped-def]
        if number == end:
            raise KeyboardInterrupt
        return step_of(number)

    return step


def test_the_spectral_loss_is_zero_for_equal_sound_only() -> None:
    wave = torch.randn(1, 4096, generator=torch.Generator().manual_seed(1)) * 0.1
    voiced = torch.tensor([[1.0, 0.0]])
    assert acoustic.spectral_loss(wave, wave, voiced) == 0
    assert acoustic.spectral_loss(wave, wave * 0.5, voiced) > 0.1
    assert (
        acoustic.spectral_loss(wave, wave * 0.5, voiced * 0) > acoustic.spectral_loss(wave, wave * 0.5, voiced) + 0.01
    )


@pytest.mark.parametrize("hertz", [110.0, 190.0])
def test_the_probe_is_told_of_pitch_voicing_and_loudness(hertz: float) -> None:
    spoken = utterance(tokens=20)
    time = np.arange(len(spoken.wave) // 2) / corpus.RATE  # the second half is silence
    tone = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 6)) * 6000
    told = acoustic.probed(replace(spoken, wave=np.pad(tone, (0, len(time))).astype(np.int16))).float()
    assert told.shape == (content.MELS + 2, 40)
    loudness, pitch, voiced = told[: content.MELS].mean(dim=0), told[-2], told[-1]
    assert voiced[2:17].all()
    assert not voiced[23:].any()
    assert torch.allclose(128 * 2 ** pitch[2:17], torch.tensor(hertz), rtol=0.02)
    assert loudness[2:17].min() > loudness[23:].max() + 1


def test_the_probe_counts_real_frames_and_pitch_only_where_there_is_one() -> None:
    probe = acoustic.Probe(4)
    mean, wanted = torch.randn(2, 4, 6), torch.randn(2, content.MELS + 2, 6)
    wanted[:, -1] = torch.tensor([1.0, 1, 0, 0, 1, 1])
    real = torch.arange(6)[None, None] < torch.tensor([6, 3])[:, None, None]
    before = probe(mean, wanted, real)
    wanted[1, :, 3:] += 100  # not real
    wanted[:, -2, 2:4] += 100  # not voiced
    assert all(torch.equal(before[name], value) for name, value in probe(mean, wanted, real).items())
