"""Recorded duels of one subject on one machine: a text file with a JSON document in each line.

The first line says what was recorded; then come starts of the control and duels against it, as they were measured. A
line counts when its end is written, so a recording that is killed loses at most one; the next one cuts off what is
torn. Knows files, not how anything is measured.
"""

import functools
import json
import lzma
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from autotune import knobs, plain, stats
from autotune.duel import Control
from autotune.errors import SearchError
from autotune.knobs import frozen
from autotune.machine import Machine
from autotune.measure import Gate, Outcome

SCHEMA = 1
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Header:
    """What was recorded.

    subject: name of the subject; target, arguments: where it came from. date: when it was begun. machine: its facts,
    without serial numbers. conditions: in words, what else the machine did. space: see `knobs.frozen`; its defaults are
    the control. pairs: per duel, fewer for what was surely slower. block_seconds: about what one block took.
    """

    subject: str
    target: str
    arguments: Mapping[str, Any]
    date: str
    machine: Any
    conditions: str
    space: Any
    pairs: int
    block_seconds: float
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class Row:
    """One duel, or why there was none (REJECTED).

    settings: knobs that differ from the defaults, by path. start: the how many-th duel of these settings, from 0.
    cost: as the subject orders them. log_ratios, control_seconds (of one block): of every pair in their order, also of
    disturbed ones, which are listed by index. open_seconds, warm_seconds: before the first pair; seconds: all of it.
    gates: the worst of each name.
    """

    settings: Mapping[str, Any]
    start: int
    outcome: Outcome
    reason: str = ""
    cost: tuple[float, ...] = ()
    log_ratios: tuple[float, ...] = ()
    control_seconds: tuple[float, ...] = ()
    disturbed: tuple[int, ...] = ()
    open_seconds: float = 0.0
    warm_seconds: float = 0.0
    seconds: float = 0.0
    memory_bytes: int = 0
    gates: tuple[Gate, ...] = ()

    @property
    def comparable(self) -> bool:
        return self.outcome in (Outcome.OK, Outcome.PRUNED) and bool(self.log_ratios)

    @property
    def quiet(self) -> tuple[float, ...]:
        """The log-ratios of undisturbed pairs; all of them if there are too few of those for a mean."""
        kept = tuple(each for index, each in enumerate(self.log_ratios) if index not in self.disturbed)
        return kept if 2 * len(kept) >= len(self.log_ratios) else self.log_ratios


@dataclass(frozen=True)
class Table:
    """What a file holds. rows: in the order of their measurement. Settings are of `settings_type`, made from the space
    in the header, so that a table can be read when its subject has changed or is not installed."""

    header: Header
    controls: tuple[Control, ...]
    rows: tuple[Row, ...]

    @functools.cached_property
    def machine(self) -> Machine:
        return Machine.from_dict(self.header.machine)

    @functools.cached_property
    def settings_type(self) -> type[Any]:
        return frozen.thaw(self.header.space)

    @functools.cached_property
    def default(self) -> Any:
        return knobs.default(self.settings_type)

    @functools.cached_property
    def by_key(self) -> Mapping[str, tuple[Row, ...]]:
        """All duels of the same settings, under their `knobs.key`."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(knobs.key(self.settings(row)), []).append(row)
        return {key: tuple(rows) for key, rows in found.items()}

    @functools.cached_property
    def truth(self) -> Mapping[str, float]:
        """What the recording says of all settings that work: their log-ratio to the default settings, under their key.

        The mean over starts of the trimmed means; the defaults have exactly 0.
        """
        means = {
            key: float(np.mean([stats.trimmed_mean(row.quiet) for row in rows if row.comparable]))
            for key, rows in self.by_key.items()
            if all(row.comparable for row in rows)
        }
        base = means.get(knobs.key(self.default), 0.0)
        return {key: mean - base for key, mean in means.items()}

    def settings(self, row: Row) -> Any:
        """Raises KnobError if the row does not fit to the space."""
        return knobs.unflatten(self.settings_type, {**knobs.flatten(self.default), **row.settings})


def differences(settings: Any, default: Any) -> dict[str, Any]:
    """The knobs of a row: those that differ from the defaults, by path."""
    plain_default = knobs.flatten(default)
    return {path: value for path, value in knobs.flatten(settings).items() if plain_default.get(path) != value}


def read(path: Path) -> Table:
    """A table, packed (.xz) or not; a torn last line is left out. Raises SearchError if it is damaged elsewhere."""
    try:
        data = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    except (OSError, lzma.LZMAError) as error:
        raise SearchError(f"{path} can't be read as a table ({error}); check the path.") from error
    lines = data[: data.rfind(b"\n") + 1].decode("utf-8", errors="replace").splitlines()
    controls: list[Control] = []
    rows: list[Row] = []
    header: Header | None = None
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        kind, content = _document(line, where)
        if kind == "header" and number == 1:
            header = _read(Header, content, where)
        elif kind == "control":
            controls.append(_read(Control, content, where))
        elif kind == "row":
            rows.append(_read(Row, content, where))
        else:
            raise SearchError(f"{where}: got {kind!r}, expected a control or a row; record the table again.")
    if header is None or header.schema != SCHEMA:
        said = "no header" if header is None else f"schema {header.schema}"
        raise SearchError(f"{path} has {said}, expected a table of schema {SCHEMA}; record it again.")
    return Table(header, tuple(controls), tuple(rows))


def _document(line: str, where: str) -> tuple[str, Any]:
    try:
        ((kind, content),) = json.loads(line).items()
    except (ValueError, AttributeError) as error:
        raise SearchError(f"{where}: this is no line of a table ({line[:60]!r}); record it again.") from error
    return kind, content


def _read(kind: type[T], content: Any, where: str) -> T:
    return plain.from_plain(kind, content, SearchError, where)


class Writer:
    """Appends to a table, each line flushed to the disk. path: made with the header if it is not there yet, else its
    torn end is cut off. Use as a context manager. Raises OSError as it comes."""

    def __init__(self, path: Path, header: Header) -> None:
        fresh = not path.exists() or b"\n" not in path.read_bytes()
        if not fresh:
            data = path.read_bytes()
            os.truncate(path, data.rfind(b"\n") + 1)
        self._file = path.open("wb" if fresh else "ab")
        if fresh:
            self._append("header", header)

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, item: Control | Row) -> None:
        self._append("control" if isinstance(item, Control) else "row", item)

    def _append(self, kind: str, item: Any) -> None:
        data = plain.to_plain(item)
        for each in fields(item):  # a table is mostly defaults
            if kind == "row" and data[each.name] == plain.to_plain(each.default):
                del data[each.name]
        text = json.dumps({kind: data}, ensure_ascii=True, separators=(",", ":"))
        self._file.write(text.encode("ascii") + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def pack(path: Path) -> Path:
    """A compressed copy beside the table, <name>.xz; to be kept in a repository."""
    packed = path.with_name(f"{path.name}.xz")
    packed.write_bytes(lzma.compress(path.read_bytes(), preset=9))
    return packed


def rounded(values: Sequence[float], digits: int) -> tuple[float, ...]:
    """With so many significant digits: more would be noise, and tables are kept."""
    return tuple(float(f"{value:.{digits}g}") for value in values)
