"""`sovits-rt evaluate`: how well a voice is understood by a recogniser, and how near it is to a teacher."""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from autotune.probe import probe
from sovits_rt import process
from sovits_rt import text as frontend
from sovits_rt.audio.write import AudioWriter
from sovits_rt.cli.job import Job
from sovits_rt.cli.options import (
    JSON,
    bundled_option,
    dictionary_option,
    model_options,
    read_text,
    settings_options,
    voice_options,
)
from sovits_rt.cli.synth import request_options, tell
from sovits_rt.errors import RequestError
from sovits_rt.evaluation.judgement import Judgement, Recording, judge
from sovits_rt.evaluation.recogniser import require_extra
from sovits_rt.evaluation.sentences import JUDGED, digit_strings, own_sentences, sentences_in
from sovits_rt.evaluation.speech import file_name, load, recorded, spoken
from sovits_rt.selection import select, voice_folder
from sovits_rt.text import Dictionary
from sovits_rt.tuning import subject_name
from sovits_rt.types import Request, Sentence

RESULTS = "results.json"
_OF_JUDGING = {"sentences", "count", "digits", "recordings", "against", "save", "quiet", "as_json"}
_FOLDER = click.Path(path_type=Path)
Speech = Callable[[list[list[Sentence]]], Iterator[Recording]]


@dataclass(frozen=True, slots=True)
class Series:
    """One list to be judged. folder: of its recordings, inside the folder of all."""

    name: str
    texts: list[str]
    digits: bool
    folder: str

    def recorded(self, place: Path, options: Mapping[str, Any]) -> list[Path]:
        """The files of this series. Raises AudioError if they do not fit the list."""
        return recorded(place / self.folder, len(self.texts), all_of_them=not self.digits and options["count"] is None)


@click.command("evaluate")
@click.option("--sentences", type=_FOLDER, help="UTF-8 file, one English sentence per line.")
@click.option(
    "--count", type=click.IntRange(0), show_default="120 of ours, all of --sentences", help="Only the first of them."
)
@click.option(
    "--digits", type=click.IntRange(1, 10000), help="Also as many strings of digits, for which a grammar listens."
)
@click.option(
    "--recordings", type=_FOLDER, help="Judge 001.wav, 002.wav, … of this folder (strings of digits: in digits/)."
)
@click.option("--against", type=_FOLDER, help="The same, read by a teacher: compare with it.")
@click.option("--save", type=_FOLDER, help="Write the recordings and results.json to this folder.")
@bundled_option
@voice_options
@model_options
@request_options
@settings_options
@dictionary_option
@click.option("--split", default="cut0", show_default=True, help="How a sentence is cut into pieces: cut0 … cut5.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@JSON
@click.pass_context
def evaluate_command(context: click.Context, /, **options: Any) -> None:
    """Speak a list of English sentences, let a recogniser listen (extra `quality`), and count the words it gets wrong.

    The voice, models and settings are chosen as for `synth`; nothing is tuned. With --recordings nothing is spoken.
    Intervals are 95 %, by resampling sentences.
    """
    require_extra()
    all_series = series_of(options)
    taught = {each.name: each.recorded(options["against"], options) for each in all_series if options["against"]}
    console = Console(stderr=True, highlight=False, quiet=options["quiet"])
    results: dict[str, Any] = {}
    if options["recordings"] is None:
        job, texts = spoken_job(options, all_series)
        prepare_folder(options["save"], all_series)
        speech = speaker(job, options, console, results)
        sources = {each.name: kept(speech(texts[each.name]), options["save"], each) for each in all_series}
    else:
        check_only_judging(context)
        files = {each.name: each.recorded(options["recordings"], options) for each in all_series}
        prepare_folder(options["save"], all_series)
        sources = {each.name: load(files[each.name]) for each in all_series}
    judgements = {}
    for each in all_series:
        teacher = taught.get(each.name, [])
        with progress(f"judging {each.name}", len(each.texts) + len(teacher), console) as advance:
            judgements[each.name] = judge(
                each.texts, sources[each.name], load(teacher), digits=each.digits, on_recording=advance
            )
    results.update({name: found.as_dict() for name, found in judgements.items()})
    line = json.dumps(results, ensure_ascii=False)
    if options["save"] is not None:
        write(options["save"] / RESULTS, line)
    if options["as_json"]:
        click.echo(line)
        return
    for each in all_series:
        Console().print(table(each, judgements[each.name]))


def series_of(options: Mapping[str, Any]) -> list[Series]:
    """Raises TextError for a list that can't be used, UsageError if nothing is left."""
    path, count = options["sentences"], options["count"]
    if path is not None:
        texts = sentences_in(read_text(None, None, path), str(path), count)
    else:
        texts = own_sentences(JUDGED if count is None else count)
    found = [Series("sentences", texts, False, "")] if texts else []
    if options["digits"] is not None:
        found.append(Series("digits", digit_strings(options["digits"]), True, "digits"))
    if not found:
        raise click.UsageError("--count 0 leaves nothing to judge; give --digits as well or a higher count")
    return found


def check_only_judging(context: click.Context) -> None:
    """Raises UsageError for an option about speaking, since nothing is spoken."""
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in _OF_JUDGING and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} is about speaking, but --recordings are judged as they are")


def spoken_job(options: Mapping[str, Any], all_series: list[Series]) -> tuple[Job, dict[str, list[list[Sentence]]]]:
    """The checked command line, and each text as its sentences. Raises UsageError and SovitsError."""
    everything = "\n".join(text for each in all_series for text in each.texts)
    unused = str(Path(tempfile.gettempdir()) / file_name(1))
    asked = {"words": everything, "text": None, "text_file": None, "lang": "en", "output": unused, "dump": None}
    job = Job.of({**options, **asked})
    dictionary = None if options["dictionary"] is None else Dictionary.load(options["dictionary"])
    texts = {
        each.name: [
            frontend.prepare(
                text, "en", split=options["split"], symbols=job.models.version.symbols, dictionary=dictionary
            )
            for text in each.texts
        ]
        for each in all_series
    }
    return job, texts


def speaker(job: Job, options: Mapping[str, Any], console: Console, results: dict[str, Any]) -> Speech:
    """A function from texts (as sentences) to recordings; what it is run with is put down in the results."""
    machine = probe()
    selection = select(machine, subject_name(job.models.shape), options["profile"], options["assignments"])
    for note in (*([job.note] if job.note else []), *selection.notes):
        tell(console, note)
    settings = selection.settings
    process.apply(settings.process, machine)
    from sovits_rt.engine import Engine

    with console.status("loading the models"):
        engine = Engine.load(job.paths, settings, voice_folder=voice_folder())
        process.set_threads(settings.process, machine)
        voice = engine.prepare_voice(job.references, job.prompt) if job.voice is None else job.voice
    request = Request(voice=voice, **job.request)
    results.update({"profile": selection.label, "device": settings.process.device, "seed": request.seed})
    return lambda texts: spoken(engine, texts, request)


def kept(recordings: Iterable[Recording], folder: Path | None, series: Series) -> Iterator[Recording]:
    """The recordings, each written to the folder if there is one."""
    for number, (samples, rate) in enumerate(recordings, start=1):
        if folder is not None:
            with AudioWriter(folder / series.folder / file_name(number), rate) as writer:
                writer.write(samples)
        yield samples, rate


def prepare_folder(folder: Path | None, all_series: list[Series]) -> None:
    """Make it, if there is to be one, and show that it takes files. Raises RequestError."""
    if folder is None:
        return
    try:
        folder.mkdir(exist_ok=True)
        for each in all_series:
            (folder / each.folder).mkdir(exist_ok=True)
    except OSError as error:
        raise RequestError(f"--save {folder} can't be made a folder ({error.strerror}); name another.") from error
    write(folder / RESULTS, "{}")


def write(path: Path, line: str) -> None:
    try:
        path.write_text(f"{line}\n", encoding="utf-8")
    except OSError as error:
        raise RequestError(f"--save: {path} can't be written ({error.strerror}); name another folder.") from error


@contextmanager
def progress(what: str, count: int, console: Console) -> Iterator[Any]:
    """A bar on a terminal; gives the function that moves it on."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=count)
        yield lambda: bar.advance(task)


def table(series: Series, found: Judgement) -> Table:
    shown = found.as_dict()
    rows = [
        (series.name, f"{shown['recordings']} read, {shown['words']} words; {found.recogniser}"),
        ("digits right", found.accuracy.percent)
        if series.digits
        else ("word error rate", found.word_error_rate.percent),
        ("length, pitch", f"{number(shown['seconds'])} s, {number(shown['pitch_hz'])} Hz, {voiced(shown)}"),
    ]
    if (taught := shown.get("teacher")) is not None and found.teacher_word_error_rate and found.difference:
        rows += [
            ("teacher's error rate", found.teacher_word_error_rate.percent),
            ("difference", found.difference.percent),
            ("log-mel distance", f"{number(taught['log_mel_distance_decibels'])} dB"),
            ("teacher's", f"{number(taught['seconds'])} s, {number(taught['pitch_hz'])} Hz, {voiced(taught)}"),
            ("length, pitch ratio", f"{number(taught['length_ratio'])}, {number(taught['pitch_ratio'])}"),
            ("lengths within 0.7 to 1.4", "" if found.sane_lengths is None else found.sane_lengths.percent),
        ]
    rows.append(("problems", ", ".join(found.problems) or "none"))
    made = Table(show_header=False, box=None)
    for name, value in rows:
        made.add_row(name, Text(value))
    return made


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def voiced(figures: Mapping[str, Any]) -> str:
    return "-" if figures["voiced"] is None else f"{figures['voiced']:.0%} voiced"
