"""Functions of tensors that are recorded once per shape, as a graph of the device's operations, and then replayed.

A graph runs on the memory that it was recorded with. So small arguments are copied into buffers of its own, and those
that are `resident` must lie where they lay: a graph belongs to their addresses.
"""

import threading
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., Any]
_WARM_UPS = 3  # libraries choose kernels and take workspace in the first calls, which can't be recorded
_MOST_GRAPHS = 256  # then all are dropped: memory that has moved leaves useless ones behind


@dataclass(frozen=True, slots=True)
class Recorded:
    """replay: does again what was recorded, on the same memory. output: where the result then is, a tensor or None."""

    replay: Callable[[], None]
    output: Tensor | None


Record = Callable[[Function, tuple[Tensor, ...]], Recorded]


class CudaRecorder:
    """Graphs of one function: they share their temporary memory, since they never run at the same time."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, function: Function, arguments: tuple[Tensor, ...]) -> Recorded:
        device = arguments[0].device
        with torch.cuda.device(device):
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UPS):
                    function(*arguments)
            torch.cuda.current_stream().wait_stream(stream)
            torch.cuda.synchronize()
            if self._pool is None:
                self._pool = torch.cuda.graph_pool_handle()
            graph = torch.cuda.CUDAGraph()
            # "thread_local": another thread, which renders, may go on asking the device for memory meanwhile
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                output = function(*arguments)
        return Recorded(graph.replay, output)


class InTurn:
    """Threads and streams that use the same buffers do so one after the other, on the device too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: Any = None

    @contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        with self._lock:
            if device.type != "cuda":
                yield
                return
            stream = torch.cuda.current_stream(device)
            if self._last is None:
                self._last = torch.cuda.Event()  # type: ignore[no-untyped-call]
            else:
                stream.wait_event(self._last)
            yield
            self._last.record(stream)


class Replayed:
    """function: recorded at its first call with new shapes, in which it runs more than once. resident: see EntryPoint.
    largest: batches above it are not recorded but run operation by operation."""

    def __init__(self, function: Function, record: Record, *, resident: Collection[int], largest: int) -> None:
        self._function = function
        self._record = record
        self._resident = frozenset(resident)
        self._largest = largest
        self._graphs: dict[Hashable, tuple[tuple[Tensor, ...], Recorded]] = {}
        self._in_turn = InTurn()

    @property
    def graphs(self) -> int:
        return len(self._graphs)

    def __call__(self, *arguments: Tensor) -> Any:
        if arguments[0].shape[0] > self._largest:
            return self._function(*arguments)
        with self._in_turn.on(arguments[0].device):
            return self._replay(arguments)

    def _replay(self, arguments: tuple[Tensor, ...]) -> Any:
        key = tuple(self._place(index, each) for index, each in enumerate(arguments))
        if key not in self._graphs:
            if len(self._graphs) >= _MOST_GRAPHS:
                self._graphs.clear()
            own = tuple(each if index in self._resident else each.clone() for index, each in enumerate(arguments))
            self._graphs[key] = own, self._record(self._function, own)
        own, recorded = self._graphs[key]
        for index, (buffer, given) in enumerate(zip(own, arguments, strict=True)):
            if index not in self._resident:
                buffer.copy_(given, non_blocking=True)
        recorded.replay()
        # The next replay of any graph may overwrite the result.
        return None if recorded.output is None else recorded.output.clone()

    def _place(self, index: int, argument: Tensor) -> Hashable:
        where = argument.data_ptr() if index in self._resident else 0
        return argument.shape, argument.stride(), argument.dtype, argument.device, where
