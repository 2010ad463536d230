"""Work that is done in order, beside other work: a stream on a CUDA device, the calling thread itself elsewhere.

Nothing in here waits for a device unless it says so.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class Mark:
    """A point in a lane's work."""

    def __init__(self, event: Any = None) -> None:
        self._event = event

    @property
    def reached(self) -> bool:
        return self._event is None or bool(self._event.query())

    def wait(self) -> None:
        """Until the device has come here."""
        if self._event is not None:
            self._event.synchronize()


class Lane:
    """urgent: its work goes first where both could run. A lane begins after what was asked of the device so far."""

    def __init__(self, device: torch.device, *, urgent: bool = False) -> None:
        self.device = device
        self._stream: Any = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device, priority=-1 if urgent else 0)  # type: ignore[no-untyped-call]
            self._stream.wait_stream(torch.cuda.current_stream(device))

    @contextmanager
    def working(self) -> Iterator[None]:
        """What is asked of the device inside belongs to this lane. No `yield` to foreign code inside."""
        if self._stream is None:
            yield
            return
        with torch.cuda.stream(self._stream):
            yield

    def mark(self) -> Mark:
        if self._stream is None:
            return Mark()
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(self._stream)
        return Mark(event)

    def after(self, mark: Mark, *made: Tensor) -> None:
        """This lane goes on when the other one has reached its mark; `made` there, the tensors are used here."""
        if self._stream is None:
            return
        if mark._event is not None:
            self._stream.wait_event(mark._event)
        for each in made:
            each.record_stream(self._stream)


def host_buffer(*shape: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Memory of the host from and to which the device copies without anybody waiting."""
    return torch.zeros(shape, dtype=dtype, pin_memory=device.type == "cuda")


def send(values: Tensor, device: torch.device) -> Tensor:
    """A copy on the device, made without waiting for what the device still has to do."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)
