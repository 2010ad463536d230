"""Training of the text-to-semantic decoder.

Teacher forcing on (prompt, sentence) pairs of one speaker, as `T2S.prefill` reads them at synthesis. Since the times of
all phones are known, one attention head of each middle layer is also told which phone the next token belongs to (guided
attention, after Tachibana et al. 2018, "Efficiently Trainable Text-to-Speech System Based on Deep Convolutional
Networks with Guided Attention", with the true path instead of the diagonal): without it such a small model needs many
times the steps to find its place in the text.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sovits_rt.nn.t2s import T2S
from sovits_rt.types import Ints
from tools.demo_voice import sizes
from tools.demo_voice.corpus import Utterance
from tools.demo_voice.training import device, half, padded, train

BATCH, STEPS, PEAK = 24, 5400, 1e-3
GUIDED_LAYERS, GUIDANCE = (2, 3, 4), 0.5
PAIRED = 0.3  # share of examples with a prompt in front
CORRUPTED = 0.2  # at most this share of the tokens that are read is wrong: what is spoken next follows from the text
IGNORED = -100


class Example:
    """phones: [n]. tokens: [t], all to be read. wanted: [t + 1], what follows each token and the text, IGNORED where
    nothing can be said. path: [t + 1], number of the phone that `wanted` belongs to, IGNORED for none."""

    def __init__(self, phones: Ints, tokens: Ints, wanted: Ints, path: Ints) -> None:
        self.phones, self.tokens, self.wanted, self.path = phones, tokens, wanted, path


def example(speaker: Sequence[tuple[Utterance, Ints]], random: np.random.Generator) -> Example:
    """One sentence, behind another one and the silence that every reference ends with, or alone."""
    spoken, codes = speaker[int(random.integers(len(speaker)))]
    phones, tokens = spoken.phones, codes[: spoken.tokens]
    path = spoken.phone_of_token()[: len(tokens)]
    wanted = np.concatenate([tokens, [sizes.CODES]])
    path = np.concatenate([path, [len(phones) - 1]])
    if random.random() < PAIRED:
        prompt, heard = speaker[int(random.integers(len(speaker)))]
        before = prompt.phone_of_token()
        silence = np.full(len(heard) - len(before), IGNORED)
        path = np.concatenate([before, silence, path + len(prompt.phones)])
        phones = np.concatenate([prompt.phones, phones])
        wanted = np.concatenate([heard, wanted])
    tokens = wanted[:-1]
    wrong = random.random(len(tokens)) < random.uniform(0, CORRUPTED)
    return Example(phones, np.where(wrong, random.permutation(tokens), tokens), wanted, path)


def forward(network: T2S, phones: Tensor, texts: Tensor, tokens: Tensor, audios: Tensor) -> tuple[Tensor, list[Tensor]]:
    """A padded batch of what `T2S.prefill` does, with a row for the end of the text.

    phones: [B, n] and tokens: [B, t] with the lengths texts and audios [B]. Returns logits [B, t + 1, V]: first that
    after the text alone, then those after each token; and of each guided layer the attention of its first head,
    logarithms [B, t + 1, n].
    """
    batch, n = phones.shape
    t = tokens.shape[1]
    steps = torch.arange(max(n, t), device=phones.device)
    bias = network.bert_proj.bias
    x = network.ar_text_position(network.ar_text_embedding(phones) + bias, steps[:n])
    y = network.ar_audio_position(network.ar_audio_embedding(tokens), steps[:t])
    hidden = torch.cat([x, y], dim=1)
    place = torch.arange(n + t, device=phones.device)
    seen = torch.where(place[:, None] < n, place[None] < n, place[None] <= place[:, None])
    real = torch.cat([steps[:n] < texts[:, None], steps[:t] < audios[:, None]], dim=1)
    mask = (seen & real[:, None])[:, None]
    last = (texts - 1)[:, None]
    guides = []
    for index, layer in enumerate(network.h):
        query, key, value = layer.self_attn.project(hidden)
        if index in GUIDED_LAYERS:
            rows = torch.arange(batch, device=phones.device)[:, None]
            asking = torch.cat([query[rows, 0, last], query[:, 0, n:]], dim=1)
            visible = torch.cat([mask[rows, 0, last], mask[:, 0, n:]], dim=1)
            scores = asking @ key[:, 0].transpose(1, 2) / query.shape[-1] ** 0.5
            guides.append(scores.masked_fill(~visible, -1e4).log_softmax(dim=-1)[..., :n])
        hidden = layer.finish(hidden, layer.self_attn.attend(query, key, value, mask))
    rows = torch.arange(batch, device=phones.device)[:, None]
    heads = torch.cat([hidden[rows, last], hidden[:, n:]], dim=1)
    logits: Tensor = network.ar_predict_layer(heads)
    return logits, guides


def train_t2s(path: Path, speakers: Sequence[Sequence[tuple[Utterance, Ints]]], steps: int = STEPS) -> T2S:
    torch.manual_seed(2)
    network = T2S(sizes.t2s()).to(device())
    for embedding in (network.ar_text_embedding, network.ar_audio_embedding):
        nn.init.normal_(embedding.word_embeddings.weight, std=0.3)
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK, betas=(0.9, 0.98), weight_decay=0.01)
    shares = np.array([len(speaker) for speaker in speakers]) / sum(len(speaker) for speaker in speakers)

    def step_of(step: int) -> dict[str, Tensor]:
        random = np.random.default_rng([2, step])
        # Twice as many as needed, sorted: the half of like lengths wastes less on padding.
        pool = [example(speakers[int(random.choice(len(speakers), p=shares))], random) for _ in range(2 * BATCH)]
        pool.sort(key=lambda each: len(each.tokens) + len(each.phones))
        start = int(random.integers(2)) * BATCH
        batch = pool[start : start + BATCH]
        phones = padded([torch.from_numpy(each.phones) for each in batch]).to(device())
        tokens = padded([torch.from_numpy(each.tokens) for each in batch]).to(device())
        wanted = padded([torch.from_numpy(each.wanted) for each in batch], IGNORED).to(device())
        place = padded([torch.from_numpy(each.path) for each in batch], IGNORED).to(device())
        texts = torch.tensor([len(each.phones) for each in batch], device=device())
        audios = torch.tensor([len(each.tokens) for each in batch], device=device())
        with half():
            logits, guides = forward(network, phones, texts, tokens, audios)
        loss = F.cross_entropy(logits.float().flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)
        known = place != IGNORED
        at = place.clamp(min=0)[..., None]
        astray = torch.stack([-guide.gather(2, at)[..., 0][known].clamp(min=-8).mean() for guide in guides]).mean()
        optimizer.zero_grad()
        (loss + GUIDANCE * astray).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        right = (logits.argmax(dim=2) == wanted)[wanted != IGNORED].float().mean()
        return {"loss": loss.detach(), "right": right, "astray": astray.detach()}

    train(path, {"t2s": network}, {"optimizer": optimizer}, step_of, steps=steps, peak=PEAK)
    return network.eval().requires_grad_(False)
