"""A contestant for tests: it takes no time and says how long it took. Arguments: its speed, and what it does wrong."""

import os
import sys
import time

import numpy as np
from _serve import Done, MissingError, serve


class Fake:
    def __init__(self, speed: str = "1", fault: str = "") -> None:
        self._speed, self._fault = float(speed), fault
        self._renders = 0

    def prepare(self, *, work: str, **_: object) -> Done:
        print("loading", work)  # must not get among the answers
        if self._fault == "unprepared":
            raise RuntimeError("the weights are of another kind")
        return Done(facts={"versions": {"numpy": np.__version__}, "threads": 1, "stand_ins": ["nothing"]})

    def decode(self, *, batch: int, tokens: int, **_: object) -> Done:
        made = np.arange(batch * tokens).reshape(batch, tokens)
        if self._fault == "token":
            made[0, 3] += 1
        seconds = batch * tokens / self._speed
        return Done(seconds + 1, {"prefill": 1.0, "decode": seconds}, {"stepped": batch * tokens}, {"tokens": made})

    def render(self, *, tokens: int, **_: object) -> Done:
        self._renders += 1
        if self._fault == "late" and self._renders > 2:
            raise RuntimeError("no more")
        wave = np.sin(np.arange(tokens * 8, dtype=np.float32))
        return Done(tokens / 25 / self._speed, {}, {"samples": wave.size}, {"wave": wave * (1 + 1e-3 / self._speed)})

    def speech(self, **_: object) -> Done:
        if self._fault == "dies":
            os.write(2, b"MemoryError: out of memory\n")
            os._exit(3)
        samples = 100 if self._fault == "short" else 200
        return Done(1 / self._speed, {"first": 0.5 / self._speed}, {"samples": samples})

    def stream(self, **_: object) -> Done:
        raise MissingError("it does not stream")

    def hang(self) -> Done:
        time.sleep(60)
        return Done()


if __name__ == "__main__":
    serve(Fake(*sys.argv[1:]))
