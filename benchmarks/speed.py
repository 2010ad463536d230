"""How fast sovits-rt is, beside others where their checkouts are given; every figure with its equivalence check.

    python -m benchmarks.speed stages             prefill, T2S at batch 1 … 64, encoder and flow, vocoder, HuBERT, BERT
    python -m benchmarks.speed one-user           phones to 10 s of audio
    python -m benchmarks.speed long-text          16 sentences
    python -m benchmarks.speed characters         100, 500 and 1000 characters
    python -m benchmarks.speed first-audio        until something can be heard
    python -m benchmarks.speed start              a new process to its first audio; peak memory
    python -m benchmarks.speed growth             100 … 20,000 characters: time and memory
    python -m benchmarks.speed ablation           one setting at a time against the defaults
    python -m benchmarks.speed show FILE …        the tables and pictures of earlier runs

benchmarks/README.md says how peers are given, and what the figures mean.
"""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from autotune import knobs
from autotune.errors import AutotuneError
from autotune.machine import Machine
from autotune.probe import probe
from benchmarks import outcome, tables, tasks
from benchmarks.materials import REFERENCE
from benchmarks.options import Common, common
from benchmarks.session import draw, measure, output
from sovits_rt.evaluation.sentences import own_sentences
from sovits_rt.settings import Settings

BATCHES, BATCHES_WITH_PEERS = (1, 2, 4, 8, 16, 32, 64), (1, 4, 16)
LENGTHS = (100, 500, 1000)
GROWTH = (100, 300, 1000, 3000, 10_000, 20_000)
CHINESE = "今天天气真不错我们一起去公园散步吧那里的花都开了湖边还有很多人在放风筝"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure the speed of sovits-rt, and of peers beside it."""


@main.command()
@common
@click.option(
    "--batch",
    "batches",
    type=click.IntRange(1, 64),
    multiple=True,
    show_default=f"{BATCHES_WITH_PEERS} with peers, else {BATCHES}",
    help="Sentences decoded together.",
)
@click.option("--only", type=click.Choice(("decode", "render", "reference", "text")), multiple=True)
def stages(batches: tuple[int, ...], only: tuple[str, ...], **options: Any) -> None:
    """Every stage by itself: T2S prefill and decoding, encoder and flow, vocoder, HuBERT, BERT."""
    settled = Common.of(options)
    batches = batches or (BATCHES_WITH_PEERS if settled.peers else BATCHES)
    wanted = {
        "decode": [tasks.decoding(batch) for batch in batches],
        "render": [tasks.rendering()],
        "reference": [tasks.reference(str(REFERENCE))],
        "text": [tasks.features(CHINESE)],
    }
    chosen = [task for name, group in wanted.items() if not only or name in only for task in group]
    measure("stages", chosen, settled, companions=not only or bool({"reference", "text"} & set(only)))


@main.command("one-user")
@common
@click.option("--seconds", type=click.IntRange(1, 40), default=10, show_default=True, help="Of audio.")
def one_user(seconds: int, **options: Any) -> None:
    """From 150 phones to audio, one sentence, one user."""
    measure("one-user", [tasks.one_user(tokens=tasks.TOKENS_PER_SECOND * seconds)], Common.of(options))


@main.command("long-text")
@common
@click.option("--sentences", type=click.IntRange(1, 64), default=16, show_default=True)
@click.option("--tokens", type=click.IntRange(1, 500), default=50, show_default=True, help="Per sentence, 25 a second.")
def long_text(sentences: int, tokens: int, **options: Any) -> None:
    """Many sentences at once, against each peer's own way of doing that."""
    measure("long-text", [tasks.long_text(sentences=sentences, tokens=tokens)], Common.of(options))


@main.command("characters")
@common
@click.option("--count", "counts", type=click.IntRange(1), multiple=True, default=LENGTHS, show_default=True)
def characters(counts: tuple[int, ...], **options: Any) -> None:
    """Seconds until so many characters of Chinese are spoken; on a slow machine, one --count at a time."""
    measure("characters", [tasks.characters(count) for count in counts], Common.of(options))


@main.command("first-audio")
@common
def first_audio(**options: Any) -> None:
    """Seconds until the first audio is there, each streaming in its fastest way."""
    measure("first-audio", [tasks.first_audio()], Common.of(options))


@main.command()
@common
@click.option("--long/--no-long", "with_long", default=True, help="Also the peak memory of 20 s in one piece.")
def start(with_long: bool, **options: Any) -> None:
    """A new process until its first audio, and the most memory it takes."""
    chosen = [tasks.start(), *([tasks.memory()] if with_long else [])]
    measure("start", chosen, Common.of(options))


@main.command()
@common
@click.option("--count", "counts", type=click.IntRange(20), multiple=True, default=GROWTH, show_default=True)
def growth(counts: tuple[int, ...], **options: Any) -> None:
    """Time and memory against the length of the text; ours only."""
    settled = Common.of(options)
    if settled.peers:
        raise click.UsageError("growth is about ours alone; leave the peers out.")
    chosen = [tasks.growth(count, written(count)) for count in sorted(counts)]
    measure("growth", chosen, settled, alone=True, draw=tables.curves)


@main.command()
@common
@click.option("--compiled", is_flag=True, help="Without --ours: also settings that compile, which takes minutes.")
@click.option(
    "--group",
    "groups",
    type=click.Choice([each.name for each in fields(Settings)]),
    multiple=True,
    help="Without --ours: only knobs of this group, to run in parts.",
)
def ablation(compiled: bool, groups: tuple[str, ...], **options: Any) -> None:
    """What each setting gives: one at a time against the defaults, each --ours line, or every value of every knob."""
    settled = Common.of(options)
    if settled.peers:
        raise click.UsageError("ablation compares settings of ours with the defaults; leave the peers out.")
    machine = probe()
    lines = settled.ours or tuple(every_setting(machine, groups=groups, compiled=compiled))
    chosen = [tasks.decoding(1, tokens=16), tasks.decoding(8, phones=20, tokens=8), tasks.rendering(tokens=50)]
    chosen.append(tasks.long_text(sentences=4, tokens=16))
    measure("ablation", chosen, settled, machine=machine, one_by_one=lines)


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--picture/--no-picture", default=False, help="Draw them again, beside the files.")
def show(files: tuple[Path, ...], picture: bool) -> None:
    """The tables of files that earlier runs wrote."""
    for path in files:
        try:
            found = outcome.read(path)
        except AutotuneError as error:
            raise click.ClickException(str(error)) from error
        tables.show(found, output())
        if picture:
            draw(found, path, tables.curves if found.command == "growth" else tables.picture)


def every_setting(machine: Machine, *, groups: Sequence[str] = (), compiled: bool = False) -> list[str]:
    """An --ours line for each value that is not the default, of each knob (of these groups), that this machine can have
    by itself."""
    lines = []
    plain = Settings()
    for other in knobs.neighbours(plain, machine):
        flat = knobs.flatten(other)
        changed = {knob: value for knob, value in flat.items() if knobs.flatten(plain).get(knob) != value}
        if any("compiled" in str(each) for each in (*changed, *changed.values())) and not compiled:
            continue
        if groups and not any(knob.split(".")[0] in groups for knob in changed):
            continue
        text = ",".join(f"{knob}={value}" for knob, value in changed.items())
        if text:
            lines.append(f"{text.replace('=', ' ').replace(',', ' and ')}:{text}")
    return lines


def written(count: int) -> str:
    """So many characters of English sentences, nearly; the last one is whole."""
    text = ""
    while len(text) < count:
        for sentence in own_sentences():
            text += f"{sentence} "
            if len(text) >= count:
                break
    return text.strip()


if __name__ == "__main__":
    main()
