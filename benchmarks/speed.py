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

import datetime
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from autotune import knobs
from autotune.errors import AutotuneError
from autotune.machine import Machine
from autotune.probe import probe
from benchmarks import outcome, tables, tasks
from benchmarks.contestants import ContestantError, Entry
from benchmarks.field import UPSTREAM, Field, Peer, parse_ours
from benchmarks.materials import REFERENCE, SIZES, VERSIONS, Materials
from benchmarks.outcome import Line, Outcome
from benchmarks.rounds import Company, Limits
from benchmarks.tasks import Task
from sovits_rt import __version__
from sovits_rt.cli.options import settings_options
from sovits_rt.errors import SovitsError
from sovits_rt.evaluation.sentences import own_sentences
from sovits_rt.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])
BATCHES, BATCHES_WITH_PEERS = (1, 2, 4, 8, 16, 32, 64), (1, 4, 16)
LENGTHS = (100, 500, 1000)
WIDTH = 200  # characters
GROWTH = (100, 300, 1000, 3000, 10_000, 20_000)
CHINESE = "今天天气真不错我们一起去公园散步吧那里的花都开了湖边还有很多人在放风筝"
_FOLDER = click.Path(path_type=Path, file_okay=False)


@dataclass(frozen=True, slots=True)
class Common:
    """What every measuring command takes; see the options."""

    materials: Materials
    peers: tuple[Peer, ...]
    ours: tuple[str, ...]
    profile: str | None
    assignments: tuple[str, ...]
    limits: Limits
    out: Path
    label: str

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Common":
        pythons = dict(_named(each, "--peer-python") for each in options["peer_python"])
        given = [f"{UPSTREAM}={options['upstream']}"] if options["upstream"] else []
        peers = []
        for text in (*given, *options["peers"]):
            kind = text.partition("=")[0].partition(":")[0]
            peers.append(Peer.parse(text, pythons.get(kind, options["upstream_python"])))
        labels = [each.label for each in peers]
        if len(set(labels)) < len(labels):
            raise click.UsageError(f"A peer is given twice: {', '.join(labels)}.")
        return cls(
            Materials(options["model_version"], options["size"], options["weights"]),
            tuple(peers),
            options["ours"],
            options["profile"],
            options["assignments"],
            Limits(options["rounds"], options["budget"]),
            options["out"],
            options["label"],
        )


def _named(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise click.BadParameter(f"{text!r} is not NAME=PATH, such as genie=../genie/bin/python.", param_hint=option)
    return name, value


def common(command: Command) -> Command:
    """The options of a measuring command."""
    options = (
        click.option("--model-version", type=click.Choice(VERSIONS), default="v2", show_default=True),
        click.option("--size", type=click.Choice(SIZES), default="full", show_default=True, help="small: to try it."),
        click.option("--weights", type=_FOLDER, default=Path("build/benchmarks/weights"), show_default=True,
                     help="Where the seeded random checkpoints are, or are written."),
        click.option("--upstream", metavar="PATH", help="A checkout of GPT-SoVITS."),
        click.option("--peer", "peers", metavar="NAME[:OPTION]=PATH", multiple=True,
                     help="Another peer's checkout, such as genie=PATH or lite:bf16=PATH; repeat for more."),
        click.option("--upstream-python", metavar="PATH", default=sys.executable, show_default="this one",
                     help="Python with the peers' packages."),
        click.option("--peer-python", metavar="NAME=PATH", multiple=True, help="For one peer, another one."),
        click.option("--ours", metavar="NAME:KNOB=VALUE,…", multiple=True,
                     help="Ours with these settings on top of --profile and --set; repeat to compare several."),
        settings_options,
        click.option("--rounds", type=click.IntRange(2), default=7, show_default=True, help="At most, after warm-up."),
        click.option("--budget", type=click.FloatRange(1), default=400.0, show_default=True,
                     help="Seconds for all figures together; two rounds are always done."),
        click.option("--out", type=_FOLDER, default=Path("build/benchmarks"), show_default=True,
                     help="Where the JSON and the picture go; those to keep are in benchmarks/results."),
        click.option("--label", default="", help="Added to the files' names, for runs in parts."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


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
    """Time and memory against the length of the text; ours only, one process per contestant."""
    chosen = [tasks.growth(count, written(count)) for count in sorted(counts)]
    measure("growth", chosen, Common.of(options), draw=tables.curves)


@main.command()
@common
@click.option("--compiled", is_flag=True, help="Without --ours: also settings that compile, which takes minutes.")
def ablation(compiled: bool, **options: Any) -> None:
    """What each setting gives: one at a time against the defaults, each --ours line, or every value of every knob."""
    settled = Common.of(options)
    if settled.peers:
        raise click.UsageError("ablation compares settings of ours with the defaults; leave the peers out.")
    machine = probe()
    lines = settled.ours or tuple(every_setting(machine, compiled=compiled))
    chosen = [tasks.decoding(1, tokens=24), tasks.decoding(8, tokens=24), tasks.rendering(tokens=75)]
    chosen.append(tasks.long_text(sentences=4, tokens=25))
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


def output() -> Console:
    """Wide where no terminal says how wide it is, since the tables are."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def measure(
    name: str,
    chosen: Sequence[Task],
    settled: Common,
    *,
    companions: bool = False,
    machine: Machine | None = None,
    one_by_one: Sequence[str] = (),
    draw: Callable[[Outcome, Path], None] = tables.picture,
) -> None:
    """Measure, print, write. companions: HuBERT and BERT are needed. one_by_one: `--ours` lines that are each measured
    with the reference alone, so that memory holds two contestants at a time."""
    progress = Console(stderr=True, highlight=False)
    tell = progress.print
    try:
        found = machine or probe()
        paths = settled.materials.paths(companions=companions)
        field = Field(found, paths, settled.materials.version, settled.out / "peers")
        groups = [[field.plain, entry] for entry in _ours(field, settled, one_by_one)] if one_by_one else []
        groups = groups or [[field.plain, *_ours(field, settled, settled.ours), *map(field.peer, settled.peers)]]
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder) / "work.npz"
            settled.materials.write_work(paths, work)
            result = _measured(name, groups, work, chosen, settled, found, tell)
    except (AutotuneError, SovitsError, ContestantError) as error:
        raise click.ClickException(str(error)) from error
    path = settled.out / f"{'-'.join(filter(None, (name, settled.materials.version, settled.label)))}.json"
    result.write(path)
    tables.show(result, output())
    tell(f"written: {path}", *_drawn(result, path, draw))


def _measured(
    name: str,
    groups: Sequence[Sequence[Entry]],
    work: Path,
    chosen: Sequence[Task],
    settled: Common,
    machine: Machine,
    tell: Callable[..., None],
) -> Outcome:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    lines: list[Line] = []
    takings: dict[str, outcome.Taking] = {}
    limits = Limits(settled.limits.rounds, settled.limits.budget_seconds / len(groups))
    for entries in groups:
        with Company(entries, work, tell) as company:
            lines.extend(company.measure(chosen, limits))
            takings |= {each.name: each for each in company.takings}
    return Outcome(
        schema=outcome.SCHEMA,
        command=name,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        model=f"{settled.materials.version}, {settled.materials.size}, seeded random weights",
        machine=in_words(machine),
        software={"sovits-rt": __version__, "python": platform.python_version(), "system": platform.system()},
        conditions={
            "rounds": limits.rounds,
            "budget": f"{settled.limits.budget_seconds:.0f} s",
            "load before": "unknown" if load is None else f"{load:.2f}",
            "end of speech": "masked, fixed token counts",
        },
        contestants=tuple(takings.values()),
        lines=_once(lines) if len(groups) > 1 else tuple(lines),
    )


def in_words(machine: Machine) -> str:
    chip, gpus = machine.cpu, [device.name for device in machine.accelerators]
    memory = f"{machine.memory.usable_bytes >> 30} GiB"
    return ", ".join((f"{chip.vendor} {chip.model}".strip(), f"{chip.usable_cores} usable cores", memory, *gpus))


def _once(lines: Sequence[Line]) -> tuple[Line, ...]:
    """By figure; the reference ran beside each setting, and stays with what it gave beside the first."""
    kept: dict[tuple[str, str], Line] = {}
    for line in lines:
        kept.setdefault((line.figure, line.contestant), line)
    figures = list(dict.fromkeys(line.figure for line in lines))
    return tuple(sorted(kept.values(), key=lambda line: figures.index(line.figure)))


def _ours(field: Field, settled: Common, lines: Sequence[str]) -> list[Entry]:
    """Each --ours line; without any, what --profile and --set say, or what speaking would use here."""
    made = []
    for text in lines:
        name, assignments = parse_ours(text)
        made.append(field.ours(name, settled.profile or "default", (*settled.assignments, *assignments)))
    if not made:
        entry = field.ours("ours", settled.profile, settled.assignments)
        made = [entry] if entry.settings else []  # the same as the reference
    names = [each.name for each in made]
    if len(set(names)) < len(names):
        raise click.UsageError(f"Two --ours lines have the same name: {', '.join(names)}.")
    return made


def every_setting(machine: Machine, *, compiled: bool) -> list[str]:
    """An --ours line for each value that is not the default, of each knob, that this machine can have by itself."""
    lines = []
    plain = Settings()
    for other in knobs.neighbours(plain, machine):
        flat = knobs.flatten(other)
        changed = {knob: value for knob, value in flat.items() if knobs.flatten(plain).get(knob) != value}
        if any("compiled" in str(each) for each in (*changed, *changed.values())) and not compiled:
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


def draw(found: Outcome, path: Path, how: Callable[[Outcome, Path], None]) -> Path | None:
    """The picture beside a file of results; None without matplotlib."""
    picture = path.with_suffix(".png")
    try:
        how(found, picture)
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        return None
    return picture


def _drawn(found: Outcome, path: Path, how: Callable[[Outcome, Path], None]) -> tuple[str, ...]:
    picture = draw(found, path, how)
    return (str(picture) if picture else "no picture: it needs matplotlib, pip install 'sovits-rt[plots]'",)


if __name__ == "__main__":
    main()
