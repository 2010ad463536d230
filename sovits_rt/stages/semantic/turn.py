"""One turn of decoding, from logits to the next logits, in which the host has nothing to do.

For every slot: penalty, top-k, top-p, noise, the drawn token, whether the sentence ends, and the network's next step.
All state is on the device, one row per slot, at addresses that stay, so that a turn can be recorded and replayed. Rows
that are not running are left as they are; what they compute is thrown away.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from sovits_rt.nn.t2s import T2S
from sovits_rt.stages.semantic.device_noise import exponential
from sovits_rt.stages.semantic.sampling import FIRST_STEP_WITH_EOS, SamplingRows, sample_on_device

NOTHING = -1  # what a row says that is not running


@dataclass(frozen=True, slots=True)
class Rows:
    """logits: [B, V] float32, what may follow the newest token. memory: [L, 2, B, H, S, D]. seen: [B, V] bool, tokens
    so far with the prompt's. lengths: [B] int64, rows of memory that are valid. positions: [B] int64 of the next token
    among the audio. steps: [B] int64, tokens drawn so far, and limits: the most. may_end: [B] bool. running: [B] bool.
    top_k: [B, 1] int64; top_p, temperature, repetition_penalty: [B, 1] float32. noise: [N, B, V] float32 and spoken:
    [N, B] int64, of N turns; turn: [1] int64, which of them is next.
    """

    logits: Tensor
    memory: Tensor
    seen: Tensor
    lengths: Tensor
    positions: Tensor
    steps: Tensor
    limits: Tensor
    may_end: Tensor
    running: Tensor
    top_k: Tensor
    top_p: Tensor
    temperature: Tensor
    repetition_penalty: Tensor
    noise: Tensor
    spoken: Tensor
    turn: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(getattr(self, each.name) for each in fields(self))

    @property
    def sampling(self) -> SamplingRows:
        return SamplingRows(self.top_k, self.top_p, self.temperature, self.repetition_penalty)


ALL_RESIDENT = tuple(range(len(fields(Rows))))
NOISE_RESIDENT = (0, 1, 2)


class Turn(nn.Module):
    def __init__(self, network: T2S) -> None:
        super().__init__()
        self.network = network

    def make_noise(self, steps: Tensor, keys: Tensor, noise: Tensor) -> None:
        """noise: [N, B, V] of the next N turns, written. steps: [B]. keys: [B, 2] int64, of each sentence's noise."""
        turns, _, size = noise.shape
        noise.copy_(exponential(keys, steps, turns, size))

    def forward(self, *tensors: Tensor) -> None:
        """tensors: those of `Rows`, all of them changed in place."""
        rows, eos = Rows(*tensors), self.network.config.eos
        may_end = rows.may_end & (rows.steps >= FIRST_STEP_WITH_EOS)
        logits = rows.logits.clone()
        logits[:, eos].masked_fill_(~may_end, -torch.inf)
        noise = rows.noise.index_select(0, rows.turn)[0]
        drawn, best = sample_on_device(logits, rows.seen, noise, rows.sampling)
        speaks = rows.running & (drawn != eos) & (best != eos)
        rows.spoken.index_copy_(0, rows.turn, drawn.where(speaks, NOTHING).unsqueeze(0))
        rows.steps.add_(speaks)
        rows.running.copy_(speaks & (rows.steps < rows.limits))
        newest = drawn.unsqueeze(1)
        rows.seen.scatter_(1, newest, rows.seen.gather(1, newest) | speaks.unsqueeze(1))
        following = self.network.step(drawn, rows.positions, rows.lengths, rows.memory).float()
        rows.logits.copy_(following.where(rows.running.unsqueeze(1), rows.logits))
        rows.lengths.add_(rows.running)
        rows.positions.add_(rows.running)
        rows.turn.add_(1).remainder_(rows.noise.shape[0])
