"""Decoding that survives a lack of memory: half as many slots, once more, and so from then on.

Sentences that were under way begin again; since each is decoded on its own, their tokens are what they would have been.
"""

import itertools
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

from sovits_rt.errors import OutOfMemoryError
from sovits_rt.memory import give_back, is_out_of_memory
from sovits_rt.stages.semantic.decoder import DecodeJob, Decoder
from sovits_rt.types import Ints

_log = logging.getLogger(__name__)


class SparingDecoder:
    """make: a decoder with so many slots. slots: the most to begin with; memory is taken for as many as are needed.

    decoder: the one of now.
    """

    def __init__(self, make: Callable[[int], Decoder], slots: int) -> None:
        self._make = make
        self.slots = slots
        self._made = 1
        self.decoder = make(self._made)

    def widest(self) -> Decoder:
        """With all slots."""
        return self._grown(self.slots)

    def decode(
        self, waiting: Sequence[int], job_of: Callable[[int], DecodeJob]
    ) -> Generator[tuple[int, Ints], None, None]:
        """waiting: numbers of sentences; job_of: the job of one, with its number as index, made when a slot is free.

        Yields (number, tokens [t]) as sentences finish. Raises OutOfMemoryError if not even one fits.
        """
        self._grown(len(waiting))
        queue = iter(waiting)
        begun: dict[int, None] = {}
        while True:
            try:
                for job, tokens in self.decoder.decode(_jobs([*begun], queue, begun, job_of)):
                    del begun[job.index]
                    yield job.index, tokens
                return
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self._made == 1:
                    raise OutOfMemoryError(
                        "The memory is too small to decode even one sentence at a time; choose a --split method that "
                        "cuts it, a smaller semantic.precision, or another device."
                    ) from error
            self._halve()  # not inside the handler: its traceback still holds the memory that is to be freed

    def _grown(self, sentences: int) -> Decoder:
        if (wanted := min(self.slots, sentences)) > self._made:
            self._made, self.decoder = wanted, self._make(wanted)
        return self.decoder

    def _halve(self) -> None:
        device = self.decoder.device
        self.slots = self._made = self._made // 2
        self.decoder = self._make(self._made)
        give_back(device)
        _log.warning(
            "Out of memory: going on with semantic.slots=%d; a profile that says so saves the try.", self.slots
        )


def _jobs(
    again: Iterable[int], queue: Iterator[int], begun: dict[int, None], job_of: Callable[[int], DecodeJob]
) -> Iterator[DecodeJob]:
    for number in itertools.chain(again, queue):
        begun[number] = None
        yield job_of(number)
