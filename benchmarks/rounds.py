"""Everybody does the same piece of work in turns: what one round is compared with is the same round of the others."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.contestants import Answer, Contestant, ContestantError, Entry, MissingWorkError
from benchmarks.equivalence import IS_REFERENCE, NOTHING, Outputs, as_long, compare, together
from benchmarks.outcome import Check, Line, Taking, Versus, shown, versus
from benchmarks.tasks import Figure, Task, decoding, rendering

Tell = Callable[[str], None]
LEAST_ROUNDS = 2
SAMPLES = {"tokens": decoding(1, tokens=32), "wave": rendering(phones=40, tokens=32)}


@dataclass(slots=True)
class _Taken:
    """What one contestant gave for one task."""

    warm_up: Answer | None = None
    answers: list[Answer] = field(default_factory=list)
    outputs: Outputs = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """rounds: at most, after the warm-up. budget_seconds: for all tasks together; each gets its share of what is left,
    and at least two rounds, a long one (see Task) at least one."""

    rounds: int
    budget_seconds: float


class Company:
    """Contestants that are running, the first of them the reference. Use as a context manager.

    work: the file that everybody is given. tell: is told what goes on, and what went wrong.
    """

    def __init__(self, entries: Sequence[Entry], work: Path, tell: Tell) -> None:
        self._entries, self._work, self._tell = list(entries), work, tell
        self._running: dict[str, Contestant] = {}
        self._takings: dict[str, Taking] = {}
        self._absent: dict[str, str] = {}
        self._general: dict[str, dict[str, Check]] = {}

    def __enter__(self) -> "Company":
        try:
            for entry in self._entries:
                self._start(entry)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for each in self._running.values():
            each.close()
        self._running.clear()

    @property
    def takings(self) -> tuple[Taking, ...]:
        return tuple(self._takings[each.name] for each in self._entries if each.name in self._takings)

    def measure(self, tasks: Sequence[Task], limits: Limits) -> list[Line]:
        """Raises ContestantError if the reference fails; without it nothing can be said."""
        lines: list[Line] = []
        end = time.monotonic() + limits.budget_seconds
        self._compare_all()
        for index, task in enumerate(tasks):
            share = (end - time.monotonic()) / (len(tasks) - index)
            self._tell(f"{task.name}: {', '.join(figure.name for figure in task.figures)}")
            lines.extend(self._measure(task, limits.rounds, share))
        return lines

    def _compare_all(self) -> None:
        """Greedy tokens of one sentence, and the wave of given tokens without noise: what stands beside figures whose
        own output can't be compared, such as that of a pipeline with its own noise."""
        self._tell("comparing tokens and waves")
        for kind, task in SAMPLES.items():
            taken = {entry.name: _Taken(note=self._absent.get(entry.name, "")) for entry in self._entries}
            for entry in self._entries:
                if not taken[entry.name].note:
                    self._take_turn(entry, task, taken[entry.name], first=True)
            for name, check in self._checks(task, taken).items():
                self._general.setdefault(name, {})[kind] = check

    def _start(self, entry: Entry) -> None:
        self._tell(f"{entry.name} is getting ready")
        try:
            contestant = Contestant(entry)
            self._running[entry.name] = contestant
            if entry.peer and self._converted(contestant):
                contestant.close()  # so that what is measured never did it
                contestant = self._running[entry.name] = Contestant(entry)
            facts = contestant.ask("prepare", self._given(entry)).facts
        except (ContestantError, MissingWorkError) as error:
            self._leave(entry, str(error))
            return
        self._takings[entry.name] = Taking(entry.name, entry.peer, entry.commit, dict(entry.settings), dict(facts))

    def _converted(self, contestant: Contestant) -> bool:
        """Whether it made files of its own from the checkpoints, which is not part of any figure."""
        try:
            contestant.ask("convert", self._given(contestant.entry))
        except MissingWorkError:
            return False
        return True

    def _given(self, entry: Entry) -> dict[str, object]:
        return {"work": str(self._work), **entry.prepared}

    def _leave(self, entry: Entry, reason: str) -> None:
        """A peer that fails is left out, with its reason; one of ours must not."""
        if not entry.peer:
            raise ContestantError(reason)
        self._tell(f"{entry.name} is left out: {reason}")
        self._absent[entry.name] = reason
        if entry.name in self._running:
            self._running.pop(entry.name).close()

    def _measure(self, task: Task, rounds: int, seconds: float) -> list[Line]:
        taken = {entry.name: _Taken(note=self._absent.get(entry.name, "")) for entry in self._entries}
        end = time.monotonic() + seconds
        warm_ups, least = (0, 1) if task.long else (1, LEAST_ROUNDS)
        for number in range(warm_ups + rounds):
            started = time.monotonic()
            for entry in self._order(number):
                if not taken[entry.name].note:
                    self._take_turn(entry, task, taken[entry.name], first=number < warm_ups)
            took = time.monotonic() - started
            if number + 1 >= warm_ups + least and time.monotonic() + took > end:
                break
        return self._lines(task, taken)

    def _order(self, number: int) -> list[Entry]:
        """Another one begins in each round, so that nobody always follows the same one."""
        turn = number % len(self._entries)
        return self._entries[turn:] + self._entries[:turn]

    def _take_turn(self, entry: Entry, task: Task, taken: _Taken, *, first: bool) -> None:
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "outputs.npz" if first and task.compared else None
                answer = self._ask(entry, task, path)
                if path is not None:
                    with np.load(path) as stored:
                        taken.outputs = {name: stored[name] for name in stored.files}
        except MissingWorkError as error:
            taken.note = str(error)
            return
        except ContestantError as error:
            taken.note = str(error)
            self._leave(entry, str(error))
            return
        if first:
            taken.warm_up = answer
        else:
            taken.answers.append(answer)

    def _ask(self, entry: Entry, task: Task, save: Path | None) -> Answer:
        if not task.fresh:
            return self._running[entry.name].ask(task.do, task.arguments, save)
        with Contestant(entry) as contestant:
            contestant.ask("prepare", self._given(entry))
            answer = contestant.ask(task.do, task.arguments, save)
            seconds = time.perf_counter() - contestant.started
        return Answer(seconds, answer.parts, answer.counts, answer.facts, answer.peak_bytes)

    def _lines(self, task: Task, taken: Mapping[str, _Taken]) -> list[Line]:
        checks = self._checks(task, taken)
        return [
            self._line(task, figure, entry.name, taken, checks[entry.name])
            for figure in task.figures
            for entry in self._entries
        ]

    def _checks(self, task: Task, taken: Mapping[str, _Taken]) -> dict[str, Check]:
        reference = self._entries[0].name
        checks = {}
        for name, each in taken.items():
            if not task.compared:
                length = _length(task, taken[reference], each) if name != reference else NOTHING
                checks[name] = together([*self._general[name].values(), length])
            elif not each.outputs:
                checks[name] = NOTHING
            elif name == reference:
                checks[name] = IS_REFERENCE
            else:
                checks[name] = compare(task.compared, taken[reference].outputs, each.outputs)
        return checks

    def _line(self, task: Task, figure: Figure, name: str, taken: Mapping[str, _Taken], check: Check) -> Line:
        costs = {other: _costs(figure, each.answers) for other, each in taken.items()}
        own, warm_up = costs[name], taken[name].warm_up
        compared: list[Versus] = []
        for entry in self._entries:
            theirs = costs[entry.name]
            pairs = min(len(own), len(theirs))
            if entry.name != name and pairs:
                compared.append(versus(entry.name, own[:pairs], theirs[:pairs]))
        first = None if warm_up is None else figure.cost(warm_up)
        note = taken[name].note or ("" if own else "it does not tell this apart")
        return Line(
            task=task.name,
            figure=figure.name,
            unit=figure.unit,
            contestant=name,
            samples=tuple(shown(figure.unit, cost) for cost in own),
            warm_up=None if first is None else shown(figure.unit, first),
            versus=tuple(compared),
            check=check,
            note=note,
        )


def _length(task: Task, reference: _Taken, found: _Taken) -> Check:
    """Of what was spoken; of streaming only the first chunk counts."""
    if task.do != "speech" or not reference.answers or not found.answers:
        return NOTHING
    spoken, other = (each.answers[0].counts.get("samples", 0.0) for each in (reference, found))
    return as_long(spoken, other) if spoken and other else NOTHING


def _costs(figure: Figure, answers: Sequence[Answer]) -> list[float]:
    return [cost for cost in map(figure.cost, answers) if cost is not None]
