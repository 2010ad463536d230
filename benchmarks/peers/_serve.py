"""A contestant's end of the line: answers requests of a benchmark, one line of JSON each, until its input ends.

    {"do": "decode", "with": {"batch": 1, "tokens": 64}, "save": "outputs.npz"}   save: where outputs go, or null
    {"seconds": 1.9, "parts": {"prefill": 0.3}, "counts": {"tokens": 64}, "facts": {}, "peak_bytes": 1476395008}
    {"missing": "why this contestant has no such thing"}
    {"error": "TypeError: what went wrong"}

Runs in the Python of whatever is measured: the standard library and numpy, nothing of this project. What a contestant
prints goes to its standard error. A contestant is an object; its public methods are what it can be asked to do.
"""

import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


class MissingError(Exception):
    """Raised by a contestant that can't do what is asked; the text says why."""


@dataclass
class Done:
    """seconds: of the unit. parts: seconds of pieces of it, by name; "first" is the time to the first audio.
    counts: what was done, such as tokens decoded one by one. outputs: arrays to compare. facts: anything else."""

    seconds: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """What everybody is given. Token and phone ids are int64, the rest float32.

    phones [sentences, n], prompt_phones [p], prompt_tokens [c], tokens [t] (to be rendered), wave32k [m] the reference,
    spectrum [1, 1025, f] and speaker [1, 20480] (empty for versions without) of it, style [1, gin, 1] and
    style_text [1, mixer, 1] from these, wave16k [k] what the speech encoder reads.
    """

    arrays: Mapping[str, Any]

    @classmethod
    def read(cls, path: str) -> "Work":
        with np.load(path, allow_pickle=False) as stored:
            return cls({name: stored[name] for name in stored.files})

    def __getitem__(self, name: str) -> Any:
        return self.arrays[name]

    def sentences(self, count: int, phones: int) -> list[Any]:
        """The first `phones` phones of so many sentences."""
        rows = self.arrays["phones"]
        return [rows[index % len(rows), :phones] for index in range(count)]


class Clock:
    """Adds up the time spent in named pieces of a unit of work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, with its time added to `name`."""

        def timed(*arguments: Any, **named: Any) -> Any:
            with self.part(name):
                return call(*arguments, **named)

        return timed

    def take(self) -> dict[str, float]:
        """What was added up since the last time."""
        taken, self.seconds = self.seconds, {}
        return taken


def peak_bytes() -> int:
    """Largest resident size of this process so far. Not ru_maxrss where there is better: on Linux that may be what the
    parent had when it started this process."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest if sys.platform == "darwin" else largest * 1024


def answer(contestant: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    call = getattr(contestant, request["do"], None) if not request["do"].startswith("_") else None
    if call is None:
        return {"missing": f"it is not asked to do {request['do']!r}"}
    try:
        done = call(**request.get("with", {}))
    except MissingError as error:
        return {"missing": str(error)}
    except Exception as error:  # noqa: BLE001  # whatever a peer raises is an answer; the next request may work
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    if request.get("save"):
        np.savez(request["save"], **{name: np.asarray(value) for name, value in done.outputs.items()})
    return {
        "seconds": done.seconds,
        "parts": dict(done.parts),
        "counts": dict(done.counts),
        "facts": dict(done.facts),
        "peak_bytes": peak_bytes(),
    }


def serve(contestant: Any) -> None:
    """Answer until the input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what is printed must not get among the answers
    sys.stdout = sys.stderr
    for line in sys.stdin:
        replies.write(json.dumps(answer(contestant, json.loads(line))) + "\n")
        replies.flush()
