"""Decoding that does not wait for the host: turns follow each other on the device, looked at every few of them.

The next turns are asked for before the last ones' tokens are looked at, so that the device always has work. A sentence
that has ended rests until the host has seen it; nothing of that is in its tokens. The rules are decoder.py's, and so
are the tokens.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from sovits_rt.lanes import Lane, Mark
from sovits_rt.nn.t2s import T2S
from sovits_rt.noise import Keyed
from sovits_rt.schedule import Slots
from sovits_rt.stages.semantic.decoder import DecodeJob, Decoder, Prefill, Step
from sovits_rt.stages.semantic.reading import Reader, Reading
from sovits_rt.stages.semantic.sampling import FIRST_STEP_WITH_EOS
from sovits_rt.stages.semantic.table import Table
from sovits_rt.stages.semantic.turn import NOTHING, Rows
from sovits_rt.stopwatch import UNTIMED, Stage, Timer
from sovits_rt.types import Floats, Ints

_DEVICES_WITH_FLOAT64 = ("cpu", "cuda")  # which the numbers of a sentence's noise are computed in
RunTurn = Callable[..., None]  # see Turn's methods


@dataclass(slots=True)
class _Running:
    """asked: turns that the device was asked for since the job entered. done: all its tokens are there."""

    job: DecodeJob
    asked: int = 0
    tokens: list[int] = field(default_factory=list)
    done: bool = False


@dataclass(frozen=True, slots=True)
class _Launch:
    """Turns that the device was asked for. rows: who was in which slot. spoken: [N, B], when the mark is reached."""

    rows: tuple[_Running, ...]
    spoken: NDArray[np.int64]
    mark: Mark


class LoopingDecoder(Decoder):
    """turn, make_noise: of Turn, as the backend runs them. poll: turns between two looks. window: memory is looked at
    in multiples of it. The rest is as in Decoder."""

    def __init__(
        self,
        network: T2S,
        step: Step,
        turn: RunTurn,
        make_noise: RunTurn,
        *,
        slots: int,
        poll: int,
        window: int,
        prefill: Prefill | None = None,
        timer: Timer = UNTIMED,
    ) -> None:
        super().__init__(network, step, slots=slots, prefill=prefill, timer=timer)
        self._turn = turn
        self._make_noise = make_noise
        self._poll = poll
        self._multiple = window
        self._reader = Reader(network)
        self._lane = Lane(self._device, urgent=True)  # one for all tables: turns of two of them share memory
        self._ready: list[_State] = []

    @torch.inference_mode()
    def decode(self, jobs: Iterable[DecodeJob]) -> Iterator[tuple[DecodeJob, Ints]]:
        """Yield (job, tokens [t]) as sentences finish; all jobs are finished when the iterator ends."""
        with self._state() as state:
            waiting = iter(jobs)
            slots: Slots[_Running] = Slots(self._slots, ())
            readings: deque[Reading] = deque()
            before: _Launch | None = None
            while True:
                self._welcome(state.table, slots, readings, waiting)
                launched = self._launch(state, slots.running) if slots.running else None
                if before is not None:
                    yield from self._finish(state.table, slots, before)
                before = launched
                if before is None and not readings:
                    return

    def _welcome(
        self, table: Table, slots: Slots[_Running], readings: deque[Reading], waiting: Iterator[DecodeJob]
    ) -> None:
        """Have newcomers read, as many as will find a slot; those who have been read enter."""
        coming = sum(len(each.jobs) for each in readings)
        newcomers = list(islice(waiting, self._slots - len(slots.running) - coming))
        with self._timer.span(Stage.PREFILL, positions=sum(job.positions for job in newcomers)):
            readings.extend(self._reader.read(newcomers))
            while readings and (readings[0].done.reached or not slots.running):
                reading = readings.popleft()
                table.reserve(self._rounded(max(job.positions for job in reading.jobs) + 1))
                table.enter(len(slots.running), reading)
                for job in reading.jobs:
                    slots.enter(_Running(job))

    def _launch(self, state: "_State", running: list[_Running]) -> _Launch:
        """Ask for the next turns of all slots."""
        batch = min(1 << (len(running) - 1).bit_length(), self._slots)
        window = self._rounded(max(_needed(each, self._poll) for each in running))
        turns = self._poll
        with self._timer.span(Stage.DECODE, steps=turns, rows=turns * len(running), positions=turns * batch * window):
            state.table.reserve(window)
            rows = state.table.rows(batch, window)
            self._rehearse(state, rows)
            if self._device.type in _DEVICES_WITH_FLOAT64 and all(
                isinstance(each.job.noise, Keyed) for each in running
            ):
                state.table.make_noise(self._make_noise, rows)
            else:
                state.table.send_noise(rows, [self._noise(each) for each in running])
            state.table.turns(self._turn, rows, turns)
            spoken, mark = state.table.get_spoken(rows)
        for each in running:
            each.asked += turns
        return _Launch(tuple(running), spoken, mark)

    def _rehearse(self, state: "_State", rows: Rows) -> None:
        """Turns of a new shape are recorded in their first call, in which nobody may be running."""
        shape = rows.memory.data_ptr(), rows.memory.shape
        if shape not in state.rehearsed:
            with state.table.resting():
                self._turn(*rows.tensors)
            state.rehearsed.add(shape)

    def _noise(self, running: _Running) -> list[Floats]:
        """Of the next turns; of as many tokens as may be drawn in them, as Decoder asks for it."""
        job, size = running.job, self._network.config.audio_vocab
        steps = range(running.asked, min(running.asked + self._poll, job.max_tokens))
        with_end = [job.end_of_speech and step >= FIRST_STEP_WITH_EOS for step in steps]
        return [job.noise.token(step, size - (not may)) for step, may in zip(steps, with_end, strict=True)]

    def _finish(self, table: Table, slots: Slots[_Running], launch: _Launch) -> Iterator[tuple[DecodeJob, Ints]]:
        """Look at what was said; yield who is done, after the slots have been left."""
        done: list[_Running] = []
        if any(not each.done for each in launch.rows):
            with self._timer.span(Stage.DECODE):
                launch.mark.wait()
                done = [each for each, said in zip(launch.rows, launch.spoken.T, strict=False) if _hear(each, said)]
        with self._timer.span(Stage.DECODE, tokens=sum(len(each.tokens) for each in done)):
            for slot in reversed([slot for slot, each in enumerate(slots.running) if each.done]):
                moved = slots.leave(slot)
                table.leave(moved.slot, moved.moved_from)
        for each in done:
            yield each.job, np.array(each.tokens, np.int64)

    @contextmanager
    def _state(self) -> Iterator["_State"]:
        """That of the last decode, or another one while that decode is still under way."""
        try:
            state = self._ready.pop()
        except IndexError:
            state = _State(Table(self._network, self._lane, self._slots, self._poll))
        state.table.clear()
        try:
            yield state
        finally:
            self._ready = [state]

    def _rounded(self, positions: int) -> int:
        return -(-positions // self._multiple) * self._multiple


@dataclass(frozen=True, slots=True)
class _State:
    """rehearsed: places and shapes of memory with which there has been a turn."""

    table: Table
    rehearsed: set[tuple[int, torch.Size]] = field(default_factory=set)


def _needed(running: _Running, turns: int) -> int:
    """Rows of memory that so many turns more may touch."""
    return running.job.positions + min(running.asked + turns, running.job.max_tokens) + 1


def _hear(running: _Running, said: NDArray[np.int64]) -> bool:
    """Take a sentence's tokens [N] of some turns; returns whether it has ended with them."""
    if running.done:
        return False
    tokens = said[: running.job.max_tokens - len(running.tokens)]
    ends = np.flatnonzero(tokens == NOTHING)
    running.tokens.extend(tokens[: ends[0] if len(ends) else len(tokens)].tolist())
    running.done = bool(len(ends)) or len(running.tokens) >= running.job.max_tokens
    return running.done
