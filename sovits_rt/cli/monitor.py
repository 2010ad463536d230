"""`sovits-rt monitor`: what a process, those it started and the machine do, second by second, and what limits."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from autotune import bottleneck, plain
from autotune.machine import Machine
from autotune.probe import probe
from autotune.usage import Meter, Moment, Reading, Usage, between
from sovits_rt.cli.options import JSON
from sovits_rt.cli.stats import core_bars, machine_rows, power
from sovits_rt.errors import RequestError
from sovits_rt.stats import shown_bytes

INTERVAL_SECONDS = 1.0
GRACE_SECONDS = 5.0  # that a command gets to end by itself once it is asked to
KEPT_MOMENTS = 3600
_STANDARD_ERROR = 2  # the file descriptor
Command = subprocess.Popen[bytes]


@click.command("monitor", context_settings={"allow_interspersed_args": False})
@click.option("--pid", type=click.IntRange(min=1), help="A running process; those it started count, too.")
@JSON
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND …]")
def monitor_command(pid: int | None, as_json: bool, command: tuple[str, ...]) -> None:
    """Show cores, memory and GPU every second for a process, or for a COMMAND that is started, and what limits.

    Ends with the process, or with Ctrl-C. What COMMAND writes to standard output goes to standard error; its exit code
    becomes this one's.
    """
    if (pid is None) == (not command):
        what = "Both --pid and a command were" if command else "Neither --pid nor a command was"
        raise click.UsageError(f"{what} given; give --pid PID, or a command after --")
    machine = probe()
    gpus = sorted({device.kind for device in machine.accelerators})
    if pid is not None:
        watch(Meter(machine, pid, device_kinds=gpus), machine, view(as_json))
        return
    started = start(command, piped=not as_json and Console().is_terminal)
    shown = view(as_json)
    try:
        with shown_above(started, shown):
            watch(Meter(machine, started.pid, waits=True, device_kinds=gpus), machine, shown, started)
    finally:
        end(started)
    sys.exit(exit_code(started))


def start(command: tuple[str, ...], *, piped: bool) -> Command:
    """piped: take what it writes, to show it above the table. Raises RequestError if it can't be started."""
    sys.stdout.flush()
    output = subprocess.PIPE if piped else _STANDARD_ERROR
    errors = subprocess.STDOUT if piped else None
    try:
        return subprocess.Popen(command, stdout=output, stderr=errors)
    except FileNotFoundError as error:
        raise RequestError(
            f"The command {command[0]!r} was not found; give a program that exists, with its path if it is not in PATH."
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RequestError(
            f"The command {command[0]!r} can't be started ({reason}); give a program that you may run."
        ) from error


def end(command: Command) -> None:
    """Wait for it; Ctrl-C has reached it already where it belongs to the same terminal."""
    for ask in (command.poll, command.terminate, command.kill):
        if command.poll() is None:
            ask()
            with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                command.wait(GRACE_SECONDS)


def exit_code(command: Command) -> int:
    """A shell's: 128 and the signal for a command that one ended."""
    code = command.returncode
    return 1 if code is None else code if code >= 0 else 128 - code


class View(Protocol):
    def reading(self, seconds: float, usage: Usage) -> None:
        """seconds: since the beginning. usage: of the last interval."""

    def summary(self, usage: Usage, sentences: tuple[str, ...]) -> None:
        """usage: of the whole time. sentences: the last one says what limits. Ends the view."""


class JsonView:
    def reading(self, seconds: float, usage: Usage) -> None:
        click.echo(json.dumps({"kind": "reading", "at_seconds": seconds, **plain.to_plain(usage)}))

    def summary(self, usage: Usage, sentences: tuple[str, ...]) -> None:
        *notes, limit = sentences
        click.echo(json.dumps({"kind": "summary", **plain.to_plain(usage), "notes": notes, "limit": limit}))


class PlainView:
    def reading(self, seconds: float, usage: Usage) -> None:
        click.echo(line(seconds, usage))

    def summary(self, usage: Usage, sentences: tuple[str, ...]) -> None:
        for name, value in (("peak memory", shown_bytes(usage.peak_memory_bytes)), *machine_rows(usage)):
            click.echo(f"{name}: {value}")
        for sentence in sentences:
            click.echo(sentence)


class LiveView(PlainView):
    def __init__(self) -> None:
        self._live = Live(auto_refresh=False, transient=True)
        self._live.start()

    def print(self, text: str) -> None:
        """Above the table."""
        self._live.console.print(text, markup=False, highlight=False)

    def reading(self, seconds: float, usage: Usage) -> None:
        table = Table(show_header=False, box=None, title=f"{seconds:.0f} s", title_justify="left")
        memory = f"{shown_bytes(usage.memory_bytes)}, peak {shown_bytes(usage.peak_memory_bytes)}"
        for name, value in (("memory", memory), ("threads", str(usage.threads)), *machine_rows(usage)):
            table.add_row(name, Text(value))
        self._live.update(table, refresh=True)

    def summary(self, usage: Usage, sentences: tuple[str, ...]) -> None:
        self._live.stop()
        super().summary(usage, sentences)


def view(as_json: bool) -> View:
    if as_json:
        return JsonView()
    return LiveView() if Console().is_terminal else PlainView()


@contextmanager
def shown_above(command: Command, shown: View) -> Iterator[None]:
    """What the command writes, above a live table."""
    if command.stdout is None or not isinstance(shown, LiveView):
        yield
        return
    lines = command.stdout

    def copy() -> None:
        for each in lines:
            shown.print(each.decode("utf-8", "replace").rstrip())

    copying = threading.Thread(target=copy, daemon=True)
    copying.start()
    yield
    copying.join(GRACE_SECONDS)


@dataclass(slots=True)
class Record:
    """first and last reading; moments: every one, then every second one, … so that hours fit."""

    first: Reading
    last: Reading
    moments: list[Moment]

    def add(self, reading: Reading) -> None:
        self.last = reading
        self.moments.append(reading.moment)
        if len(self.moments) > KEPT_MOMENTS:
            del self.moments[::2]


def watch(meter: Meter, machine: Machine, shown: View, command: Command | None = None) -> None:
    """Until the process ends or Ctrl-C; then the summary and the sentence."""
    first = meter.read()
    record = Record(first, first, [first.moment])
    try:
        while wait(meter, command):
            before = record.last
            record.add(meter.read())
            shown.reading(record.last.when - first.when, between(before, record.last))
    except KeyboardInterrupt:
        if command is not None:
            end(command)
    record.add(meter.read())
    usage = between(record.first, record.last, record.moments)
    shown.summary(usage, verdict(usage, machine.usable_cores))


def wait(meter: Meter, command: Command | None) -> bool:
    """One interval; False as soon as the process has ended."""
    if command is None:
        ends_at = time.monotonic() + INTERVAL_SECONDS
        while meter.alive and (left := ends_at - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
        return meter.alive
    try:
        command.wait(INTERVAL_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def verdict(usage: Usage, usable_cores: int) -> tuple[str, ...]:
    """Notes, then what limits."""
    device = bottleneck.busiest_device(usage)
    note = "" if device is None else bottleneck.low_use(device)
    return (*filter(None, (note,)), bottleneck.limit(usage, usable_cores))


def line(seconds: float, usage: Usage) -> str:
    parts = [
        f"{seconds:5.0f} s",
        f"cores [{core_bars(usage)}] {usage.own_cores:.2f} own {usage.foreign_cores:.2f} others",
        f"memory {shown_bytes(usage.memory_bytes)}",
    ]
    for device in usage.devices:
        busy = "" if device.busy is None else f" {device.busy:.0%}"
        watts = "" if device.power_watts is None else f" {power(device.power_watts, device.power_limit_watts)}"
        parts.append(f"{device.name}{busy}{watts}")
    if usage.throttled_share:
        parts.append(f"throttled {usage.throttled_share:.0%}")
    return "  ".join(parts)
