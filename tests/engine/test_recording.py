"""What is recorded, when, and on which memory; torch's graphs and streams are stood in for, as there is no GPU."""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from replaying import Replays

from sovits_rt.backends import _recording
from sovits_rt.backends._recording import CudaRecorder, Replayed
from sovits_rt.lanes import Lane, Mark, host_buffer, send

GPU = torch.device("cuda", 0)


def doubled(x, into):
    into.copy_(2 * x)
    return x + 1


def test_small_arguments_are_copied_and_resident_ones_are_used_where_they_lie():
    record = Replays()
    run = Replayed(doubled, record, resident=(1,), largest=8)
    into = torch.zeros(3)
    for first in (1.0, 5.0, -2.0):
        given = torch.full((3,), first)
        result = run(given, into)
        assert result.tolist() == [first + 1] * 3
        assert into.tolist() == [2 * first] * 3
    assert (len(record.recorded), record.replays) == (1, 3)


def test_a_result_stays_when_the_next_one_is_made():
    run = Replayed(doubled, Replays(), resident=(1,), largest=8)
    into = torch.zeros(2)
    first = run(torch.ones(2), into)
    run(torch.zeros(2), into)
    assert first.tolist() == [2, 2]


def test_other_memory_and_other_shapes_are_recorded_anew():
    record = Replays()
    run = Replayed(doubled, record, resident=(1,), largest=8)
    rows = torch.zeros(2, 4)
    for into in (rows[0], rows[1], rows[0], rows[1]):
        run(torch.ones(4), into)
    assert len(record.recorded) == 2
    run(torch.ones(3), rows[0, :3])
    run(torch.ones(4, dtype=torch.float64), rows[0])
    assert len(record.recorded) == 4


def test_larger_batches_are_not_recorded():
    record = Replays()
    run = Replayed(doubled, record, resident=(1,), largest=2)
    assert run(torch.ones(3), torch.zeros(3)).tolist() == [2, 2, 2]
    assert not record.recorded
    run(torch.ones(2), torch.zeros(2))
    assert len(record.recorded) == 1


def test_recordings_that_memory_left_behind_are_dropped(monkeypatch):
    monkeypatch.setattr(_recording, "_MOST_GRAPHS", 2)
    run = Replayed(doubled, Replays(), resident=(1,), largest=8)
    kept = [torch.zeros(2) for _ in range(5)]
    for into in kept:
        assert run(torch.ones(2), into).tolist() == [2, 2]
        assert run.graphs <= 2


@pytest.fixture
def said(monkeypatch):
    """What torch.cuda was asked for, in order."""
    asked = []

    class Stream:
        def __init__(self, *_, priority=0):
            self.priority = priority

        def wait_stream(self, other):
            asked.append("wait_stream")

        def wait_event(self, event):
            asked.append("wait_event")

    class Event:
        def record(self, stream):
            asked.append("record")

        def query(self):
            return False

        def synchronize(self):
            asked.append("synchronize event")

    class Graph:
        def replay(self):
            asked.append("replay")

    @contextmanager
    def graph(which, *, pool, capture_error_mode):
        asked.append(f"begin {pool} {capture_error_mode}")
        yield
        asked.append("end")

    handles = iter("ABC")
    fakes = {
        "Stream": Stream,
        "Event": Event,
        "CUDAGraph": Graph,
        "graph": graph,
        "stream": lambda _: nullcontext(asked.append("on stream")),
        "device": lambda _: nullcontext(),
        "current_stream": lambda *_: Stream(),
        "synchronize": lambda: asked.append("synchronize"),
        "graph_pool_handle": lambda: next(handles),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    return asked


def test_a_graph_is_recorded_after_warm_ups_that_are_over(said):
    calls = []

    def function(x):
        calls.append(said[-1])
        return x

    record = CudaRecorder()
    argument = SimpleNamespace(device=GPU)
    recorded = record(function, (argument,))
    assert said == ["wait_stream", "on stream", "wait_stream", "synchronize", "begin A thread_local", "end"]
    assert calls == ["on stream"] * 3 + ["begin A thread_local"], "warm-ups, then what is recorded"
    assert recorded.output is argument
    recorded.replay()
    assert said[-1] == "replay"
    record(function, (argument,))
    assert said.count("begin A thread_local") == 2, "graphs of one function share their memory"


def test_a_lane_goes_on_when_the_other_has_come_to_its_mark(said):
    reading, decoding = Lane(GPU), Lane(GPU, urgent=True)
    assert said == ["wait_stream", "wait_stream"], "both begin after what was asked of the device"
    assert (reading._stream.priority, decoding._stream.priority) == (0, -1)
    with reading.working():
        assert said[-1] == "on stream"
    mark = reading.mark()
    assert not mark.reached
    used = []
    decoding.after(mark, SimpleNamespace(record_stream=used.append))
    assert said[-2:] == ["record", "wait_event"]
    assert used == [decoding._stream], "its memory is not given to others before this lane is done with it"
    mark.wait()
    assert said[-1] == "synchronize event"


def test_elsewhere_a_lane_is_the_thread_itself():
    lane = Lane(torch.device("cpu"))
    with lane.working():
        made = torch.ones(2)
    lane.after(lane.mark(), made)
    assert lane.mark().reached
    Mark().wait()
    assert not host_buffer(2, 3, dtype=torch.int64, device=lane.device).is_pinned()
    assert send(made, lane.device).tolist() == [1, 1]
