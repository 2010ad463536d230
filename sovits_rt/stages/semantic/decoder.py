"""Phones in, semantic tokens out: decodes many sentences at once, each in its own slot, each as if it were alone.

Slots are refilled between steps. A sentence's key/value rows, sampling parameters and noise are its own, so its tokens
do not depend on its neighbours. Rules (upstream AR/models/t2s_model.py): no end token in the first 11 steps; stop when
the end token is drawn or is the best one; at most `max_tokens`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from sovits_rt.nn.t2s import T2S
from sovits_rt.noise import Noise
from sovits_rt.schedule import Slots
from sovits_rt.stages.semantic.sampling import FIRST_STEP_WITH_EOS, SamplingRows, sample
from sovits_rt.types import Floats, Ints, Sampling

Step = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
_WINDOW_MULTIPLE = 64  # attention windows are rounded up to this, so that few different shapes occur


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """One sentence: phones [n] (prompt phones first), bert [n, 1024], prompt_tokens [t] (t may be 0)."""

    index: int
    phones: Ints
    bert: Floats
    prompt_tokens: Ints
    sampling: Sampling
    noise: Noise
    max_tokens: int
    end_of_speech: bool = True


@dataclass(slots=True)
class _Running:
    job: DecodeJob
    length: int  # valid rows of key/value memory
    tokens: list[int] = field(default_factory=list)


class Decoder:
    """network: on its device, in its precision. step: network.step as the backend runs it. slots: how many at once."""

    def __init__(self, network: T2S, step: Step, *, slots: int) -> None:
        self._network = network
        self._step = step
        self._slots = slots
        parameter = network.bert_proj.weight
        self._dtype, self._device = parameter.dtype, parameter.device
        self._memory = network.new_memory(slots, 0, dtype=self._dtype, device=self._device)

    @torch.inference_mode()
    def decode(self, jobs: Iterable[DecodeJob]) -> Iterator[tuple[DecodeJob, Ints]]:
        """Yield (job, tokens [t]) as sentences finish; all jobs are finished when the iterator ends."""
        vocabulary = self._network.config.audio_vocab
        seen = torch.zeros(self._slots, vocabulary, dtype=torch.bool, device=self._device)
        logits = torch.zeros(self._slots, vocabulary, device=self._device)
        slots: Slots[_Running] = Slots(self._slots, (_Running(job, 0) for job in jobs))
        while True:
            for slot, newcomer in slots.admit():
                logits[slot] = self._prefill(slot, newcomer)
                seen[slot] = False
                seen[slot, torch.as_tensor(newcomer.job.prompt_tokens, device=self._device)] = True
            running = slots.running
            if not running:
                return
            drawn, best = self._draw(logits[: len(running)], seen[: len(running)], running)
            for slot in self._take(running, drawn, best):
                finished = running[slot]
                moved = slots.leave(slot)
                self._memory[:, :, moved.slot] = self._memory[:, :, moved.moved_from]
                seen[moved.slot] = seen[moved.moved_from]
                yield finished.job, torch.tensor(finished.tokens, dtype=torch.int64).numpy()
            if running:
                newest = torch.tensor([each.tokens[-1] for each in running], device=self._device)
                seen[: len(running)].scatter_(1, newest.unsqueeze(1), True)
                logits[: len(running)] = self._advance(newest, running)

    @torch.inference_mode()
    def forced_logits(self, job: DecodeJob, tokens: Ints) -> Floats:
        """[t, V] float32: the logits after each of the given tokens [t], which follow the job's prompt."""
        forced = replace(job, prompt_tokens=np.concatenate([job.prompt_tokens, tokens]))
        return self._read(0, forced)[-len(tokens) :].float().cpu().numpy()

    def _prefill(self, slot: int, newcomer: _Running) -> Tensor:
        newcomer.length = len(newcomer.job.phones) + len(newcomer.job.prompt_tokens)
        return self._read(slot, newcomer.job)[-1].float()

    def _read(self, slot: int, job: DecodeJob) -> Tensor:
        """Text and prompt into a slot's memory; returns logits as T2S.prefill does."""
        self._reserve(len(job.phones) + len(job.prompt_tokens) + 1)
        logits = self._network.prefill(
            torch.as_tensor(job.phones, device=self._device),
            torch.as_tensor(job.bert, device=self._device).to(self._dtype),
            torch.as_tensor(job.prompt_tokens, device=self._device),
            self._memory[:, :, slot],
        )
        return logits

    def _draw(self, logits: Tensor, seen: Tensor, running: list[_Running]) -> tuple[list[int], list[int]]:
        eos = self._network.config.eos
        allowed = [
            each.job.end_of_speech and len(each.tokens) >= FIRST_STEP_WITH_EOS for each in running
        ]  # upstream cuts the end token's column off instead, hence the shorter noise
        barred = torch.tensor(allowed, device=self._device).logical_not()
        logits[:, eos] = logits[:, eos].masked_fill(barred, -torch.inf)
        noise = torch.ones(logits.shape)
        for row, (each, may_end) in enumerate(zip(running, allowed, strict=True)):
            size = logits.shape[1] if may_end else eos
            noise[row, :size] = torch.from_numpy(each.job.noise.token(len(each.tokens), size))
        rows = SamplingRows.stack([each.job.sampling for each in running], self._device)
        drawn, best = sample(logits, seen, noise.to(self._device), rows)
        return drawn.tolist(), best.tolist()

    def _take(self, running: list[_Running], drawn: list[int], best: list[int]) -> list[int]:
        """Append the drawn tokens; return the slots that are done, highest first."""
        eos = self._network.config.eos
        done = []
        for slot, each in enumerate(running):
            ended = eos in (drawn[slot], best[slot])
            if not ended:
                each.tokens.append(drawn[slot])
            if ended or len(each.tokens) >= each.job.max_tokens:
                done.append(slot)
        return done[::-1]

    def _advance(self, newest: Tensor, running: list[_Running]) -> Tensor:
        lengths = [each.length for each in running]
        self._reserve(max(lengths) + 1)
        window = min(_round_up(max(lengths) + 1, _WINDOW_MULTIPLE), self._memory.shape[4])
        positions = [len(each.job.prompt_tokens) + len(each.tokens) - 1 for each in running]
        logits = self._step(
            newest,
            torch.tensor(positions, device=self._device),
            torch.tensor(lengths, device=self._device),
            self._memory[:, :, : len(running), :, :window],
        )
        for each in running:
            each.length += 1
        return logits.float()

    def _reserve(self, rows: int) -> None:
        """Grow the memory so that every slot holds `rows`; what is there stays."""
        old = self._memory
        if rows <= old.shape[4]:
            return
        capacity = _round_up(rows + rows // 2, _WINDOW_MULTIPLE)
        self._memory = self._network.new_memory(self._slots, capacity, dtype=self._dtype, device=self._device)
        self._memory[:, :, :, :, : old.shape[4]] = old


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
