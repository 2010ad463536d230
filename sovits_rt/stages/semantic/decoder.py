"""Phones in, semantic tokens out: decodes many sentences at once, each in its own slot, each as if it were alone.

Slots are refilled between steps. A sentence's key/value rows, sampling parameters and noise are its own, so its tokens
do not depend on its neighbours. Rules (upstream AR/models/t2s_model.py): no end token in the first 11 steps; stop when
the end token is drawn or is the best one; at most `max_tokens`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from sovits_rt.nn.t2s import T2S
from sovits_rt.noise import Noise
from sovits_rt.schedule import Slots
from sovits_rt.stages.semantic.sampling import FIRST_STEP_WITH_EOS, SamplingRows, draw, sample
from sovits_rt.stopwatch import UNTIMED, Stage, Timer
from sovits_rt.types import Floats, Ints, Sampling

Step = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Prefill = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
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

    @property
    def positions(self) -> int:
        """What prefill reads."""
        return len(self.phones) + len(self.prompt_tokens)


@dataclass(frozen=True, slots=True)
class StepCost:
    """What a decoding step must at least read. weights: numbers, each used once per sentence. weight_bytes: theirs.
    position_bytes: of keys and values per position of a sentence's memory. precision: torch's name, "float32"."""

    weights: int
    weight_bytes: int
    position_bytes: int
    precision: str


@dataclass(slots=True)
class _Running:
    job: DecodeJob
    length: int  # valid rows of key/value memory
    tokens: list[int] = field(default_factory=list)


class _Memory:
    """Key/value rows of every slot, as T2S.new_memory lays them out."""

    def __init__(self, network: T2S, slots: int, dtype: torch.dtype) -> None:
        self._network = network
        self._slots = slots
        self._dtype = dtype
        self.rows = self._new(0)

    def reserve(self, capacity: int) -> None:
        """Grow so that every slot holds `capacity` rows; what is there stays."""
        old = self.rows
        if capacity > old.shape[4]:
            self.rows = self._new(_round_up(capacity + capacity // 2, _WINDOW_MULTIPLE))
            self.rows[:, :, :, :, : old.shape[4]] = old

    def _new(self, capacity: int) -> Tensor:
        device = self._network.bert_proj.weight.device
        return self._network.new_memory(self._slots, capacity, dtype=self._dtype, device=device)


class Decoder:
    """network: on its device, in its precision. step, prefill: network.step and network.prefill as the backend runs
    them. slots: how many at once. memory_dtype: of keys and values, the network's if not given. timer: times prefill
    and decoding. weight_bytes: of one weight in the format that the step keeps it in, if that is not the network's.
    """

    def __init__(
        self,
        network: T2S,
        step: Step,
        *,
        slots: int,
        prefill: Prefill | None = None,
        memory_dtype: torch.dtype | None = None,
        timer: Timer = UNTIMED,
        weight_bytes: float | None = None,
    ) -> None:
        self._weight_bytes = weight_bytes
        self._network = network
        self._step = step
        self._run_prefill = network.prefill if prefill is None else prefill
        self._slots = slots
        self._timer = timer
        parameter = network.bert_proj.weight
        self._dtype, self._device = parameter.dtype, parameter.device
        self._memory_dtype = self._dtype if memory_dtype is None else memory_dtype
        self._idle: list[_Memory] = []

    @property
    def device(self) -> torch.device:
        return self._device

    @property
    def step_cost(self) -> StepCost:
        parameters = [*self._network.h.parameters(), self._network.ar_predict_layer.weight]
        config = self._network.config
        weights = sum(each.numel() for each in parameters)
        return StepCost(
            weights=weights,
            weight_bytes=round(weights * (self._weight_bytes or self._dtype.itemsize)),
            position_bytes=2 * config.layers * config.width * self._memory_dtype.itemsize,
            precision=str(self._dtype).removeprefix("torch."),
        )

    @torch.inference_mode()
    def decode(self, jobs: Iterable[DecodeJob]) -> Iterator[tuple[DecodeJob, Ints]]:
        """Yield (job, tokens [t]) as sentences finish; all jobs are finished when the iterator ends."""
        with self._memory() as memory:
            yield from self._decode(jobs, memory)

    def _decode(self, jobs: Iterable[DecodeJob], memory: _Memory) -> Iterator[tuple[DecodeJob, Ints]]:
        vocabulary = self._network.config.audio_vocab
        seen = torch.zeros(self._slots, vocabulary, dtype=torch.bool, device=self._device)
        logits = torch.zeros(self._slots, vocabulary, device=self._device)
        slots: Slots[_Running] = Slots(self._slots, (_Running(job, 0) for job in jobs))
        while True:
            for slot, newcomer in slots.admit():
                with self._timer.span(Stage.PREFILL, positions=newcomer.job.positions):
                    logits[slot] = self._prefill(memory, slot, newcomer)
                    seen[slot] = False
                    seen[slot, torch.as_tensor(newcomer.job.prompt_tokens, device=self._device)] = True
            running = slots.running
            if not running:
                return
            with self._timer.span(Stage.DECODE):
                drawn, best = self._draw(logits[: len(running)], seen[: len(running)], running)
                done = self._take(running, drawn, best)
            for slot in done:
                finished = running[slot]
                with self._timer.span(Stage.DECODE, tokens=len(finished.tokens)):
                    moved = slots.leave(slot)
                    memory.rows[:, :, moved.slot] = memory.rows[:, :, moved.moved_from]
                    seen[moved.slot] = seen[moved.moved_from]
                yield finished.job, torch.tensor(finished.tokens, dtype=torch.int64).numpy()
            if running:
                window = self._window(memory, running)
                with self._timer.span(Stage.DECODE, steps=1, rows=len(running), positions=len(running) * window):
                    newest = torch.tensor([each.tokens[-1] for each in running], device=self._device)
                    seen[: len(running)].scatter_(1, newest.unsqueeze(1), True)
                    logits[: len(running)] = self._advance(memory, newest, running, window)

    @torch.inference_mode()
    def forced_logits(self, jobs: Sequence[DecodeJob], tokens: Ints, *, stepped: int = 0) -> Floats:
        """[n, t, V] float32: the logits after each of the given tokens [n, t], which follow the n jobs' prompts.

        The last `stepped` tokens (fewer than t) are read one by one, as in decoding, with every slot in use.
        """
        assert 0 <= stepped < tokens.shape[1]
        found = []
        with self._memory() as memory:
            for first in range(0, len(jobs), self._slots):
                group = [(first + slot) % len(jobs) for slot in range(self._slots)]
                wanted = min(self._slots, len(jobs) - first)
                found.append(self._forced(memory, [jobs[each] for each in group], tokens[group], stepped)[:wanted])
        return torch.cat(found).cpu().numpy()

    def _forced(self, memory: _Memory, jobs: Sequence[DecodeJob], tokens: Ints, stepped: int) -> Tensor:
        """`forced_logits` of as many jobs as there are slots."""
        read = tokens.shape[1] - stepped
        running, together = [], []
        for slot, (job, given) in enumerate(zip(jobs, tokens, strict=True)):
            forced = replace(job, prompt_tokens=np.concatenate([job.prompt_tokens, given[:read]]))
            together.append(self._read(memory, slot, forced)[-read:].float())
            running.append(_Running(forced, forced.positions))
        logits = [torch.stack(together)]
        for column in tokens[:, read:].T:
            for each, token in zip(running, column.tolist(), strict=True):
                each.tokens.append(token)
            newest = torch.as_tensor(column.copy(), device=self._device)
            logits.append(self._advance(memory, newest, running, self._window(memory, running)).unsqueeze(1).clone())
        return torch.cat(logits, dim=1)

    @contextmanager
    def _memory(self) -> Iterator[_Memory]:
        """That of the last decode, or another one while that decode is still under way."""
        try:
            memory = self._idle.pop()
        except IndexError:
            memory = _Memory(self._network, self._slots, self._memory_dtype)
        try:
            yield memory
        finally:
            self._idle = [memory]

    def _prefill(self, memory: _Memory, slot: int, newcomer: _Running) -> Tensor:
        newcomer.length = newcomer.job.positions
        return self._read(memory, slot, newcomer.job)[-1].float()

    def _read(self, memory: _Memory, slot: int, job: DecodeJob) -> Tensor:
        """Text and prompt into a slot's memory; returns logits as T2S.prefill does."""
        memory.reserve(job.positions + 1)
        logits = self._run_prefill(
            torch.as_tensor(job.phones, device=self._device),
            torch.as_tensor(job.bert, device=self._device).to(self._dtype),
            torch.as_tensor(job.prompt_tokens, device=self._device),
            memory.rows[:, :, slot],
        )
        return logits

    def _draw(self, logits: Tensor, seen: Tensor, running: list[_Running]) -> tuple[list[int], list[int]]:
        """(drawn, best) of every running sentence. Upstream cuts the end token's column off where it may not come yet,
        hence the shorter noise."""
        size, eos = logits.shape[1], self._network.config.eos
        allowed = [each.job.end_of_speech and len(each.tokens) >= FIRST_STEP_WITH_EOS for each in running]
        for row, may_end in enumerate(allowed):
            if not may_end:
                logits[row, eos] = -torch.inf
        noises = [
            partial(each.job.noise.token, len(each.tokens), size if may_end else eos)
            for each, may_end in zip(running, allowed, strict=True)
        ]
        if self._device.type == "cpu":
            found = [
                draw(*each) for each in zip(logits.numpy(), seen.numpy(), noises, _samplings(running), strict=True)
            ]
            return [drawn for drawn, _ in found], [best for _, best in found]
        noise = torch.ones(logits.shape)
        for row, each in enumerate(noises):
            given = torch.from_numpy(each())
            noise[row, : len(given)] = given
        rows = SamplingRows.stack(_samplings(running), self._device)
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

    def _window(self, memory: _Memory, running: list[_Running]) -> int:
        """Rows of memory that the next step looks at; afterwards there is room for them."""
        needed = max(each.length for each in running) + 1
        memory.reserve(needed)
        return min(_round_up(needed, _WINDOW_MULTIPLE), memory.rows.shape[4])

    def _advance(self, memory: _Memory, newest: Tensor, running: list[_Running], window: int) -> Tensor:
        lengths = [each.length for each in running]
        positions = [len(each.job.prompt_tokens) + len(each.tokens) - 1 for each in running]
        logits = self._step(
            newest,
            torch.tensor(positions, device=self._device),
            torch.tensor(lengths, device=self._device),
            memory.rows[:, :, : len(running), :, :window],
        )
        for each in running:
            each.length += 1
        return logits.float()


def _samplings(running: list[_Running]) -> list[Sampling]:
    return [each.job.sampling for each in running]


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
