"""How long each part of the work keeps its thread busy: the one seam through which the engine is observed.

The engine and its stages put `timer.span(…)` around their work; the timer is UNTIMED unless another one is given to
`Engine.load`. Spans belong to the thread that opens them and a span inside another is taken off the outer one, so sums
stay meaningful when stages run side by side on several threads: each thread's sum is its busy time.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Stage(StrEnum):
    LOAD = "load"  # reading and building networks, torch itself included
    TEXT = "text"  # splitting, normalising, phones; on the command line the check of everything given, too
    FEATURES = "features"  # BERT
    REFERENCE = "reference"  # a recording to a voice
    PREFILL = "prefill"  # text and prompt into the decoder's memory; counts positions
    DECODE = "decode"  # counts steps, rows (sentences, over all steps), positions (of memory read) and tokens
    VOCODER = "vocoder"  # tokens to waveform
    OUTPUT = "output"  # joining and writing


class Timer(Protocol):
    def span(self, stage: Stage, **counts: int) -> AbstractContextManager[None]:
        """Around a piece of work of `stage`, without a `yield` inside. counts: what it does, added up by name."""


class Untimed:
    """Measures nothing, and costs next to nothing."""

    def span(self, stage: Stage, **counts: int) -> AbstractContextManager[None]:
        return _NOTHING


_NOTHING = nullcontext()
UNTIMED = Untimed()


@dataclass(frozen=True, slots=True)
class StageTime:
    """One stage on one thread. seconds: busy, without the spans inside its spans. longest: of one span."""

    stage: Stage
    thread: str
    seconds: float
    spans: int
    longest: float
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Open:
    """A span that has begun. inner: seconds that went to spans inside it."""

    stage: Stage
    inner: float = 0.0


@dataclass(slots=True)
class _Sum:
    thread: str
    seconds: float = 0.0
    spans: int = 0
    longest: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)


class Stopwatch:
    """A Timer that adds up. Threads may share it.

    synchronize: called before the clock is read, so that work that a GPU still does counts for the stage that asked
    for it; without it, such work counts for whatever waits for the result. It costs speed, so it is not the default.
    """

    def __init__(self, synchronize: Callable[[], None] | None = None) -> None:
        self.synchronize = synchronize
        self._sums: dict[tuple[Stage, int], _Sum] = {}
        self._lock = threading.Lock()
        self._open: dict[int, list[_Open]] = {}  # by thread, outermost first; a thread changes only its own list

    @contextmanager
    def span(self, stage: Stage, **counts: int) -> Iterator[None]:
        spans = self._open.setdefault(threading.get_ident(), [])
        spans.append(_Open(stage))
        started = self._now()
        try:
            yield
        finally:
            elapsed = self._now() - started
            own = elapsed - spans.pop().inner
            if spans:
                spans[-1].inner += elapsed
            self._add(stage, own, counts)

    def doing(self) -> tuple[Stage, ...]:
        """The stages that threads are in at this moment."""
        return tuple(span.stage for spans in list(self._open.values()) for span in spans[-1:])

    def times(self) -> tuple[StageTime, ...]:
        """So far, in the order in which stages were first seen."""
        with self._lock:
            return tuple(
                StageTime(stage, each.thread, each.seconds, each.spans, each.longest, dict(each.counts))
                for (stage, _), each in self._sums.items()
            )

    def _add(self, stage: Stage, seconds: float, counts: Mapping[str, int]) -> None:
        thread = threading.current_thread()
        with self._lock:
            total = self._sums.setdefault((stage, threading.get_ident()), _Sum(thread.name))
            total.seconds += seconds
            total.spans += 1
            total.longest = max(total.longest, seconds)
            total.counts.update(counts)

    def _now(self) -> float:
        if self.synchronize is not None:
            self.synchronize()
        return time.perf_counter()
