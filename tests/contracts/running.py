"""What a command answered."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output must be one line of JSON."""
        assert self.out.count("\n") == 1
        return json.loads(self.out)


Run = Callable[..., Answer]
