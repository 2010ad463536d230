"""Several engines behind one queue: each has a device of its own, and takes the next sentences when it is free.

Sentences are spoken in the text's order and as one engine would speak them, whoever does it. An engine whose device
fails takes no part any more; what it had not finished goes to the others.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.engine import Engine, sentence_noises
from sovits_rt.errors import SettingsError, SovitsError
from sovits_rt.settings import Settings
from sovits_rt.text import Dictionary
from sovits_rt.types import AudioChunk, Request, Sentence

_LOOK_UP_SECONDS = 0.5  # a thread that waits for ever can't be interrupted on Windows
_log = logging.getLogger(__name__)


class Fleet:
    """engines: of the same checkpoints. least: sentences that an engine takes at once, its number of slots."""

    def __init__(self, engines: Sequence[Engine], *, least: int) -> None:
        assert engines
        self.engines = list(engines)
        self._least = least

    @classmethod
    def load(cls, paths: ModelPaths, settings: Settings, devices: Sequence[str]) -> "Fleet":
        """devices: torch's names, "cuda:0", "cuda:1" …; one engine on each.

        Raises CheckpointError, and SettingsError for no device or one that is named twice.
        """
        if not devices or len(set(devices)) < len(devices):
            raise SettingsError(
                f"The devices are {', '.join(devices) or 'none'}, but each of at least one must be named once."
            )
        return cls([Engine.load(paths, settings, device=each) for each in devices], least=settings.semantic.slots)

    def synth(self, request: Request, dictionary: Dictionary | None = None) -> Iterator[AudioChunk]:
        """As Engine.synth."""
        return self.speak(self._serving()[0].sentences(request, dictionary), request)

    def speak(self, sentences: Sequence[Sentence], request: Request) -> Iterator[AudioChunk]:
        """As Engine.speak. Raises what the last engine raised if all of them fail, SovitsError if they have."""
        engines = self._serving()
        queue = _Queue(len(sentences), self._least, len(engines))
        noises = sentence_noises(sentences, request.seed)

        def work(engine: Engine) -> None:
            def speak(numbers: Sequence[int]) -> Iterator[AudioChunk]:
                some, their = [sentences[each] for each in numbers], [noises[each] for each in numbers]
                for place, tokens in engine.decode(some, their, request):
                    yield engine.render(some[place], tokens, their[place], request, index=numbers[place])

            if not queue.serve(speak):
                _log.warning("The device %s failed; the others go on without it.", engine.device)
                self.engines.remove(engine)

        with ThreadPoolExecutor(len(engines), thread_name_prefix="device") as threads:
            for engine in engines:
                threads.submit(work, engine)
            try:
                yield from queue.in_order()
            finally:
                queue.stop()

    def _serving(self) -> tuple[Engine, ...]:
        if not self.engines:
            raise SovitsError("Every device of these engines has failed; load them again.")
        return tuple(self.engines)


@dataclass(slots=True)
class _Queue:
    """Numbers of sentences to speak, and what was spoken. count: of sentences. engines: that still serve."""

    count: int
    least: int
    engines: int
    _waiting: deque[int] = field(init=False)
    _spoken: "SimpleQueue[AudioChunk | BaseException]" = field(default_factory=SimpleQueue)
    _change: threading.Condition = field(default_factory=threading.Condition)
    _unfinished: int = field(init=False)
    _stopped: bool = False

    def __post_init__(self) -> None:
        self._waiting = deque(range(self.count))
        self._unfinished = self.count

    def serve(self, speak: Callable[[Sequence[int]], Iterator[AudioChunk]]) -> bool:
        """On an engine's thread, until everything is spoken; False if its device failed."""
        while numbers := self._take():
            left = dict.fromkeys(numbers)
            try:
                for chunk in speak(numbers):
                    del left[chunk.index]
                    self._done(chunk)
                    if self._stopped:
                        return True
            except (RuntimeError, MemoryError) as error:  # what torch raises for a device
                self._give_back(list(left), error)
                return False
            except BaseException as error:
                self._spoken.put(error)
                self.stop()
                raise
        return True

    def in_order(self) -> Iterator[AudioChunk]:
        early: dict[int, AudioChunk] = {}
        for number in range(self.count):
            while number not in early:
                try:
                    result = self._spoken.get(timeout=_LOOK_UP_SECONDS)
                except Empty:
                    continue
                if isinstance(result, BaseException):
                    raise result
                early[result.index] = result
            yield early.pop(number)

    def stop(self) -> None:
        with self._change:
            self._stopped = True
            self._change.notify_all()

    def _take(self) -> list[int]:
        """The next sentences, fewer and fewer towards the end, so that all engines end together. Waits while those
        that others are speaking may come back."""
        with self._change:
            while not self._waiting and self._unfinished and not self._stopped:
                self._change.wait()
            if self._stopped:
                return []
            share = max(self.least, len(self._waiting) // (2 * self.engines))
            return [self._waiting.popleft() for _ in range(min(share, len(self._waiting)))]

    def _done(self, chunk: AudioChunk) -> None:
        self._spoken.put(chunk)
        with self._change:
            self._unfinished -= 1
            if not self._unfinished:
                self._change.notify_all()

    def _give_back(self, numbers: Sequence[int], error: BaseException) -> None:
        with self._change:
            self.engines -= 1
            self._waiting.extendleft(reversed(numbers))
            if not self.engines:
                self._spoken.put(error)
            self._change.notify_all()
