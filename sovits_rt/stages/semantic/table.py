"""The rows of all slots on the device, and the few operations that the host makes on them between turns."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sovits_rt.lanes import Lane, Mark, host_buffer, send
from sovits_rt.nn.t2s import T2S
from sovits_rt.noise import Keyed
from sovits_rt.stages.semantic.decoder import DecodeJob
from sovits_rt.stages.semantic.device_noise import signed
from sovits_rt.stages.semantic.reading import Reading
from sovits_rt.stages.semantic.sampling import SamplingRows
from sovits_rt.stages.semantic.turn import Rows
from sovits_rt.types import Floats

_KEYS = "keys"  # a column that turns do not read
_HOST_BUFFERS = 2  # one is filled while the device still reads the other


class Table:
    """lane: in which everything on the device is done. poll: turns whose noise and tokens it holds. Memory grows by
    `reserve`; addresses stay but for that."""

    def __init__(self, network: T2S, lane: Lane, slots: int, poll: int) -> None:
        device, numbers = lane.device, poll * slots * network.config.audio_vocab
        self._network, self._lane, self._slots, self._poll = network, lane, slots, poll
        with lane.working():
            self._memory = self._new(0)
            self._noise = torch.ones(numbers, device=device)
            self._spoken = torch.zeros(poll * slots, dtype=torch.int64, device=device)
            self._turn = torch.zeros(1, dtype=torch.int64, device=device)
            self._columns = _new_columns(slots, network.config.audio_vocab, device)
        self._noise_sent = [host_buffer(numbers, dtype=torch.float32, device=device) for _ in range(_HOST_BUFFERS)]
        self._spoken_got = [host_buffer(poll * slots, dtype=torch.int64, device=device) for _ in range(_HOST_BUFFERS)]
        self._sent = [Mark() for _ in range(_HOST_BUFFERS)]
        self._launches = 0
        for each in self._noise_sent:
            each.fill_(1)
        self.clear()

    def _new(self, capacity: int) -> Tensor:
        network = self._network
        return network.new_memory(self._slots, capacity, dtype=network.bert_proj.weight.dtype, device=self._lane.device)

    @property
    def capacity(self) -> int:
        return int(self._memory.shape[4])

    def clear(self) -> None:
        """No row is running."""
        with self._lane.working():
            self._columns["running"].zero_()
            self._columns["lengths"].zero_()

    def reserve(self, capacity: int) -> None:
        """Grow so that every slot holds `capacity` rows; what is there stays, at another address. At least twofold:
        turns are recorded anew for each address."""
        old = self._memory
        if capacity <= old.shape[4]:
            return
        with self._lane.working():
            self._memory = self._new(max(capacity, 2 * old.shape[4]))
            self._memory[:, :, :, :, : old.shape[4]] = old

    def rows(self, batch: int, window: int) -> Rows:
        """Of the first `batch` slots, with `window` rows of memory."""
        shared = {
            "memory": self._memory[:, :, :batch, :, :window],
            "noise": self._noise[: self._poll * batch * self._network.config.audio_vocab].view(self._poll, batch, -1),
            "spoken": self._spoken[: self._poll * batch].view(self._poll, batch),
            "turn": self._turn,
        }
        return Rows(**shared, **{name: values[:batch] for name, values in self._columns.items() if name != _KEYS})

    def enter(self, first: int, reading: Reading) -> None:
        """Jobs that have been read take the slots from `first` on; memory must have room for them."""
        slots, length = slice(first, first + len(reading.jobs)), min(self.capacity, reading.memory.shape[4])
        self._lane.after(reading.done, reading.memory, reading.logits)
        with self._lane.working():
            self._memory[:, :, slots, :, :length] = reading.memory[:, :, :, :, :length]
            self._columns["logits"][slots] = reading.logits
            for name, values in _columns_of(reading.jobs, self._network.config.audio_vocab).items():
                self._columns[name][slots] = send(values, self._memory.device)

    def leave(self, slot: int, moved_from: int) -> None:
        """The last row moves into the place of one that is done."""
        with self._lane.working():
            if slot != moved_from:
                self._memory[:, :, slot] = self._memory[:, :, moved_from]
                for values in self._columns.values():
                    values[slot] = values[moved_from]
            self._columns["running"][moved_from] = False
            self._columns["lengths"][moved_from] = 0

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Inside, no row is running: whatever turns there are change nothing."""
        running = self._columns["running"]
        with self._lane.working():
            kept = running.clone()
            running.zero_()
            yield
            running.copy_(kept)

    def send_noise(self, rows: Rows, noises: Sequence[Sequence[Floats]]) -> None:
        """noises[slot][turn]: numbers for the first tokens, as many as may be drawn."""
        buffer = self._launches % _HOST_BUFFERS
        self._sent[buffer].wait()
        sent = self._noise_sent[buffer][: rows.noise.numel()].view(rows.noise.shape)
        array = sent.numpy()
        for slot, turns in enumerate(noises):
            for turn, numbers in enumerate(turns):
                array[turn, slot, : len(numbers)] = numbers
        with self._lane.working():
            rows.noise.copy_(sent, non_blocking=True)
            rows.turn.zero_()

    def make_noise(self, make: Callable[..., None], rows: Rows) -> None:
        """The device makes it from the sentences' keys."""
        with self._lane.working():
            make(rows.steps, self._columns[_KEYS][: len(rows.steps)], rows.noise)
            rows.turn.zero_()

    def turns(self, turn: Callable[..., None], rows: Rows, count: int) -> None:
        with self._lane.working():
            for _ in range(count):
                turn(*rows.tensors)

    def get_spoken(self, rows: Rows) -> tuple[NDArray[np.int64], Mark]:
        """[N, B], there when the mark is reached, until two more are asked for."""
        buffer = self._launches % _HOST_BUFFERS
        got = self._spoken_got[buffer][: rows.spoken.numel()].view(rows.spoken.shape)
        self._launches += 1
        with self._lane.working():
            got.copy_(rows.spoken, non_blocking=True)
        self._sent[buffer] = self._lane.mark()
        return got.numpy(), self._sent[buffer]


def _new_columns(slots: int, vocabulary: int, device: torch.device) -> dict[str, Tensor]:
    """What `Rows` says of each slot but for its memory, and the key of its noise; values that can be computed with."""

    def column(dtype: torch.dtype = torch.int64, *more: int) -> Tensor:
        return torch.ones(slots, *more, dtype=dtype, device=device)

    return {
        "logits": torch.zeros(slots, vocabulary, device=device),
        "seen": torch.zeros(slots, vocabulary, dtype=torch.bool, device=device),
        **{name: column() for name in ("lengths", "positions", "steps", "limits")},
        **{name: column(torch.bool) for name in ("may_end", "running")},
        "top_k": column(torch.int64, 1),
        _KEYS: column(torch.int64, 2),
        **{name: column(torch.float32, 1) for name in ("top_p", "temperature", "repetition_penalty")},
    }


def _key_of(job: DecodeJob) -> list[int]:
    return [signed(each) for each in (job.noise.key if isinstance(job.noise, Keyed) else (0, 0))]


def _columns_of(jobs: Sequence[DecodeJob], vocabulary: int) -> dict[str, Tensor]:
    """What `Rows` says of jobs that have just been read, but for memory and logits."""
    seen = torch.zeros(len(jobs), vocabulary, dtype=torch.bool)
    for row, job in zip(seen, jobs, strict=True):
        row[torch.from_numpy(job.prompt_tokens)] = True
    sampling = SamplingRows.stack([job.sampling for job in jobs], torch.device("cpu"))
    return {
        "seen": seen,
        "lengths": torch.tensor([job.positions for job in jobs]),
        "positions": torch.tensor([len(job.prompt_tokens) for job in jobs]),
        "steps": torch.zeros(len(jobs), dtype=torch.int64),
        "limits": torch.tensor([job.max_tokens for job in jobs]),
        "may_end": torch.tensor([job.end_of_speech for job in jobs]),
        "running": torch.ones(len(jobs), dtype=torch.bool),
        "top_k": sampling.top_k,
        _KEYS: torch.tensor([_key_of(job) for job in jobs]),
        "top_p": sampling.top_p,
        "temperature": sampling.temperature,
        "repetition_penalty": sampling.repetition_penalty,
    }
