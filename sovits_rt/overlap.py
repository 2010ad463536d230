"""Two stages side by side: sentences are decoded ahead on a thread of their own while finished ones are rendered.

Decoding a few sentences is bound by memory, rendering by arithmetic, so on several cores one costs the other little.
What is said and in which order does not depend on it; samples are the same to the bit in "shared", and up to rounding
where the number of threads changes along the way. The mode (`process.overlap`) is "serial", "shared" (both stages
may use all threads), or the share of the threads that the decoder keeps while something is being rendered; a stage
that is alone has them all. torch counts threads per calling thread, so each stage sets its own.
"""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import Any, Generic, Protocol, TypeVar

from sovits_rt import process

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Part = TypeVar("Part")
Result = TypeVar("Result")

SERIAL, SHARED = "serial", "shared"
_END = object()
_LOOK_UP_SECONDS = 0.5  # a thread that waits for ever can't be interrupted on Windows


class Ahead(Protocol[T_co]):
    """Results of decoding, as they come."""

    def __iter__(self) -> Iterator[T_co]: ...

    def beside(self, parts: Iterable[Part]) -> Iterator[Part]:
        """The parts, each made while decoding goes on."""


class Overlap:
    """mode: see `process.overlap`."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._here = threading.local()
        self._one_at_a_time = threading.Lock()

    def stepping(self, step: Callable[..., Result]) -> Callable[..., Result]:
        """A decoding step that keeps to its threads, ends when its results are no longer wanted, and is never entered
        by two threads, as its backend may keep buffers."""
        if self._mode == SERIAL:
            return step

        def stepped(*arguments: Any) -> Result:
            running: _SideBySide[Any] | None = getattr(self._here, "running", None)
            if running is not None:
                running.before_step()
            with self._one_at_a_time:
                return step(*arguments)

        return stepped

    @contextmanager
    def ahead(self, results: Generator[T, None, None]) -> Iterator[Ahead[T]]:
        """results: of decoding, whose steps are `stepping`. Whatever happens inside, no thread is left behind."""
        if self._mode == SERIAL:
            with closing(results):
                yield _InTurns(results)
            return
        running = _SideBySide(results, self._mode, self._here)
        try:
            yield running
        finally:
            running.close()


class _InTurns(Generic[T]):
    def __init__(self, results: Iterator[T]) -> None:
        self._results = results

    def __iter__(self) -> Iterator[T]:
        return self._results

    def beside(self, parts: Iterable[Part]) -> Iterator[Part]:
        return iter(parts)


class _StoppedError(Exception):
    """The decoder need not go on."""


class _SideBySide(Generic[T]):
    def __init__(self, results: Generator[T, None, None], mode: str, here: threading.local) -> None:
        self._here = here
        self._all = process.threads()
        decoding = self._all if mode == SHARED else max(1, round(self._all * float(mode)))
        self._decoding_threads = decoding
        self._rendering_threads = self._all if mode == SHARED else max(1, self._all - decoding)
        self._decoding, self._rendering, self._stopped = True, False, False
        self._used_by_decoder = 0
        self._results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._work = self._executor.submit(self._decode, results)

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                result = self._results.get(timeout=_LOOK_UP_SECONDS)
            except queue.Empty:
                continue
            if result is _END:
                self._work.result()  # raises what decoding raised
                return
            yield result

    def beside(self, parts: Iterable[Part]) -> Iterator[Part]:
        iterator = iter(parts)
        while True:
            self._rendering = True
            process.use_threads(self._rendering_threads if self._decoding else self._all)
            try:
                part = next(iterator, _END)
            finally:
                self._rendering = False
                process.use_threads(self._all)
            if part is _END:
                return
            yield part  # type: ignore[misc]

    def before_step(self) -> None:
        """On the decoder's thread."""
        if self._stopped:
            raise _StoppedError
        wanted = self._decoding_threads if self._rendering else self._all
        if wanted != self._used_by_decoder:
            process.use_threads(wanted)
            self._used_by_decoder = wanted

    def close(self) -> None:
        """Waits for the step that is under way."""
        self._stopped = True
        self._executor.shutdown()

    def _decode(self, results: Generator[T, None, None]) -> None:
        self._here.running = self
        try:
            with suppress(_StoppedError), closing(results):
                for result in results:
                    self._results.put(result)
        finally:
            self._decoding = False
            self._results.put(_END)


def in_order(ahead: Ahead[tuple[int, T]], parts_of: Callable[[int, T], Iterable[Part]]) -> Iterator[Part]:
    """The parts of sentence 0, 1, 2 …, whatever is decoded first.

    Until the first sentence is there nothing else is rendered, so that it is heard soon; later ones that come out of
    turn are rendered at once and kept.
    """
    following = 0
    waiting: dict[int, Iterable[Part]] = {}
    for index, result in ahead:
        parts = ahead.beside(parts_of(index, result))
        waiting[index] = parts if following in (0, index) else [*parts]
        while following in waiting:
            yield from waiting.pop(following)
            following += 1
