"""What `synth --stats` shows."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autotune.usage import Usage
from sovits_rt import stats
from sovits_rt.stats import Facts, shown_bytes

BARS = " ▁▂▃▄▅▆▇█"


def show_stats(facts: Facts, console: Console) -> None:
    """Two small tables, then the sentence."""
    console.print(stage_table(facts))
    table = Table(show_header=False, box=None)
    for name, value in rows(facts):
        table.add_row(name, Text(value))
    console.print(table)
    for sentence in (*stats.notes(facts), stats.limit(facts)):
        console.print(sentence, markup=False, soft_wrap=True)


def stage_table(facts: Facts) -> Table:
    table = Table("stage", "seconds", "share", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    listed = [(str(stage), seconds) for stage, seconds in facts.busy_seconds.items()]
    for name, seconds in (*listed, ("other", facts.other_seconds)):
        table.add_row(name, f"{seconds:.2f}", f"{seconds / facts.wall_seconds:.0%}")
    table.add_row("in all", f"{facts.wall_seconds:.2f}", "")
    return table


def rows(facts: Facts) -> Iterator[tuple[str, str]]:
    work, usage = facts.decoding, facts.usage
    yield "device", f"{facts.device} ({facts.device_name})" if facts.device_name else facts.device
    yield "first audio", f"{facts.first_audio_seconds:.2f} s after speaking began"
    if work.steps:
        speed = f"{work.tokens_per_second:.1f} tokens/s, {1000 * work.step_seconds:.3g} ms per step"
        roof = "" if facts.roofline is None else f" of {shown_bytes(facts.roofline.bandwidth)}/s"
        yield "decoder", f"{speed}, reads {shown_bytes(work.bytes_per_second)}/s{roof}"
    yield "memory", f"peak {shown_bytes(usage.peak_memory_bytes)}{device_memory(facts)}"
    yield from machine_rows(usage)
    yield "looking on", f"{facts.sampling_seconds:.3f} s of processor time"


def device_memory(facts: Facts) -> str:
    return "" if facts.device_peak_bytes is None else f", on the GPU {shown_bytes(facts.device_peak_bytes)}"


def machine_rows(usage: Usage) -> Iterator[tuple[str, str]]:
    """Cores, switches, throttling and GPUs, for `synth --stats` and `monitor`."""
    busy = f"{usage.own_cores:.2f} busy with this, {usage.foreign_cores:.2f} with others"
    yield "cores", f"{core_bars(usage)} {busy}, of {len(usage.cores)}"
    switches = f"{usage.voluntary_switches} to wait, {usage.involuntary_switches} since the core was given away"
    yield "switches", switches
    if usage.queued_threads is not None:
        yield "queued", f"{usage.queued_threads:.2f} threads waited for a core, on average"
    held = [
        f"{share:.1%} {what}"
        for share, what in ((usage.throttled_share, "by the quota"), (usage.stolen_share, "by other virtual machines"))
        if share
    ]
    if held:
        yield "held back", ", ".join(held)
    for device in usage.devices:
        parts = [
            "" if device.busy is None else f"{device.busy:.0%} busy",
            "" if device.memory_busy is None else f"memory {device.memory_busy:.0%} busy",
            "" if device.memory_bytes is None else f"{shown_bytes(device.memory_bytes)} in use by all",
            "" if device.power_watts is None else power(device.power_watts, device.power_limit_watts),
            device.held_back and f"held back by {device.held_back}",
        ]
        yield device.name, ", ".join(filter(None, parts))


def power(watts: float, limit: float | None) -> str:
    return f"{watts:.0f} W" if limit is None else f"{watts:.0f} of {limit:.0f} W"


def core_bars(usage: Usage) -> str:
    """One character per usable core."""
    return "".join(BARS[round(share * (len(BARS) - 1))] for share in usage.cores)
