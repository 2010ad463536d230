"""Who runs in which slot. Knows nothing of networks or tensors.

Running jobs always occupy slots 0 … n-1: when one leaves, the last one moves into its place. The caller repeats that
move on its own per-slot data.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

Job = TypeVar("Job")


@dataclass(frozen=True, slots=True)
class Leave:
    """The job in `slot` is done; the one in `moved_from` (the last) now sits there. Equal when it was the last."""

    slot: int
    moved_from: int


def admission_order(lengths: Sequence[int], *, longest_first: bool) -> list[int]:
    """In which order jobs of these lengths get a slot: as they come, or the longest first, so that no long one is left
    alone at the end. The first comes first in any case: somebody waits for it."""
    order = list(range(len(lengths)))
    return order[:1] + sorted(order[1:], key=lambda number: -lengths[number]) if longest_first else order


def gathered(results: Iterable[Job], most: int) -> Iterator[list[Job]]:
    """The first by itself, since somebody waits for it, then as they come in groups of `most`."""
    iterator = iter(results)
    yield from ([first] for first in islice(iterator, 1))
    while group := list(islice(iterator, most)):
        yield group


class Slots(Generic[Job]):
    def __init__(self, count: int, waiting: Iterable[Job]) -> None:
        self._count = count
        self._waiting: Iterator[Job] = iter(waiting)
        self.running: list[Job] = []

    def admit(self) -> Iterator[tuple[int, Job]]:
        """Fill free slots from the queue, in order; yields (slot, job) for each newcomer."""
        while len(self.running) < self._count:
            for job in self._waiting:
                self.running.append(job)
                yield len(self.running) - 1, job
                break
            else:
                return

    def enter(self, job: Job) -> int:
        """Put a job that did not wait in the queue into the next slot, of which one must be free; returns the slot."""
        assert len(self.running) < self._count
        self.running.append(job)
        return len(self.running) - 1

    def leave(self, slot: int) -> Leave:
        last = len(self.running) - 1
        self.running[slot] = self.running[last]
        self.running.pop()
        return Leave(slot, last)
