"""`sovits-rt synth`: text to a sound file, with this machine's profile, tuned on the first run."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from autotune import store
from autotune.errors import AutotuneError
from autotune.fingerprint import fingerprint
from autotune.machine import Machine
from autotune.probe import probe
from autotune.profile import profile_id
from sovits_rt import process
from sovits_rt import text as frontend
from sovits_rt.audio.files import check_is_file
from sovits_rt.audio.reference import check_reference
from sovits_rt.audio.write import AudioWriter, find_format
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.checkpoints.shape import Preview, preview
from sovits_rt.cli.options import (
    JSON,
    LANGUAGE,
    SPLIT,
    check_reference_arguments,
    dictionary_option,
    model_options,
    model_paths,
    read_text,
    settings_options,
    text_options,
    together,
    voice_options,
)
from sovits_rt.cli.tune import FIRST_RUN_SECONDS, FIRST_RUN_TRIALS, tune_and_store
from sovits_rt.errors import AudioError, RequestError
from sovits_rt.selection import Selection, profile_folder, select, voice_folder
from sovits_rt.text import Dictionary
from sovits_rt.tuning import SCENARIO, subject_name
from sovits_rt.types import AudioChunk, Floats, Request, Sampling, Sentence, Voice

STANDARD_OUTPUT = "-"
request_options = together(
    click.option("--speed", type=float, default=1.0, show_default=True, help="2 is twice as fast."),
    click.option("--top-k", type=int, default=15, show_default=True, help="1 is greedy."),
    click.option("--top-p", type=float, default=1.0, show_default=True),
    click.option("--temperature", type=float, default=1.0, show_default=True),
    click.option("--repetition-penalty", type=float, default=1.35, show_default=True),
    click.option("--noise-scale", type=float, default=0.5, show_default=True, help="0 makes rendering deterministic."),
    click.option("--pause", type=float, default=0.3, show_default=True, help="Seconds of silence after a sentence."),
    click.option(
        "--max-tokens", type=int, default=1499, show_default=True, help="Most tokens of a sentence, 25 per s."
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same audio."),
)


@dataclass(frozen=True, slots=True)
class Report:
    """What was done. characters: of the text as spoken."""

    sentences: int
    audio_seconds: float
    wall_seconds: float
    characters: int
    device: str
    profile: str
    output: str

    @property
    def rtf(self) -> float:
        return self.wall_seconds / self.audio_seconds if self.audio_seconds else 0.0

    @property
    def line(self) -> str:
        return (
            f"{self.audio_seconds:.2f} s of audio in {self.wall_seconds:.2f} s, RTF {self.rtf:.3f}, "
            f"{self.characters / self.wall_seconds:.1f} characters/s, device {self.device}, profile {self.profile}"
            f" -> {self.output}"
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "sentences": self.sentences,
            "audio_seconds": self.audio_seconds,
            "wall_seconds": self.wall_seconds,
            "rtf": self.rtf,
            "characters_per_second": self.characters / self.wall_seconds,
            "device": self.device,
            "profile": self.profile,
            "output": self.output,
        }


@click.command("synth")
@text_options
@LANGUAGE
@SPLIT
@voice_options
@model_options
@request_options
@settings_options
@dictionary_option
@click.option(
    "-o", "--output", default="out.wav", show_default=True, help="wav, flac, ogg or mp3; - for raw 16-bit PCM."
)
@click.option(
    "--dump", type=click.Path(path_type=Path), help="Also write phones, BERT features, tokens and waves, .npz."
)
@click.option("--no-tune", is_flag=True, help="Don't tune on the first run.")
@click.option("--tune-budget", type=click.FloatRange(20, 86400), default=FIRST_RUN_SECONDS, show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
@JSON
def synth_command(**options: Any) -> None:
    """Speak TEXT with the voice of a recording.

    The first run on a machine measures how it runs the models best (at most --tune-budget seconds, Ctrl-C skips it)
    and remembers the answer.
    """
    run(Job.of(options))


@dataclass(frozen=True, slots=True)
class Job:
    """The command line, checked as far as that takes no model: files exist, recordings and text can be used."""

    paths: ModelPaths
    models: Preview
    sentences: list[Sentence]
    references: tuple[Path, ...]
    ref_text: str
    ref_lang: str
    dictionary: Dictionary | None
    request: dict[str, Any]
    options: dict[str, Any]

    @classmethod
    def of(cls, options: dict[str, Any]) -> "Job":
        text = read_text(options["words"], options["text"], options["text_file"])
        paths = model_paths(**{key: options[key] for key in MODEL_KEYS})
        request = checked_request(options, text)
        check_output(options["output"], options["dump"])
        models = preview(paths.require("gpt", "to speak"), paths.require("sovits", "to speak"))
        dictionary = None if options["dictionary"] is None else Dictionary.load(options["dictionary"])
        symbols = models.version.symbols
        sentences = frontend.prepare(
            text, options["lang"], split=options["split"], symbols=symbols, dictionary=dictionary
        )
        references = options["references"]
        check_reference_arguments(references, options["ref_text"])
        if options["ref_text"]:
            frontend.prepare_prompt(options["ref_text"], options["ref_lang"], symbols=symbols, dictionary=dictionary)
        check_reference(references[0])
        for path in references[1:]:
            check_is_file(path)
        return cls(
            paths, models, sentences, references, options["ref_text"], options["ref_lang"], dictionary, request, options
        )


MODEL_KEYS = ("gpt", "sovits", "hubert", "bert", "speaker", "models", "model_version", "config")


def checked_request(options: dict[str, Any], text: str) -> dict[str, Any]:
    """The fields of a Request but the voice; out-of-range values are refused here, before anything is loaded."""
    nobody = np.zeros(0, np.float32)
    fields = {
        "text": text,
        "language": options["lang"],
        "split": options["split"],
        "sampling": Sampling(options["top_k"], options["top_p"], options["temperature"], options["repetition_penalty"]),
        "speed": options["speed"],
        "fragment_interval_seconds": options["pause"],
        "noise_scale": options["noise_scale"],
        "max_tokens": options["max_tokens"],
        "seed": options["seed"],
    }
    Request(voice=Voice("", np.zeros(0, np.int64), nobody, np.zeros(0, np.int64), nobody, nobody), **fields)
    return fields


def check_output(output: str, dump: Path | None) -> None:
    if dump is not None and not dump.resolve().parent.is_dir():
        raise RequestError(f"--dump {dump}: the folder {dump.parent} does not exist; make it or choose another.")
    if output == STANDARD_OUTPUT:
        if sys.stdout.isatty():
            raise click.UsageError("-o - writes raw sound to standard output; send it to a file or a program")
        return
    path = Path(output)
    find_format(output, path.suffix[1:])
    if path.is_dir():
        raise AudioError(f"{output} is a folder; give a file name in it, such as {path / 'out.wav'}.")
    if not path.resolve().parent.is_dir():
        raise AudioError(f"{output} can't be written: there is no folder {path.parent}; make it or choose another.")


def run(job: Job) -> None:
    options = job.options
    quiet = options["quiet"]
    console = Console(stderr=True, highlight=False, quiet=quiet)
    machine = probe()
    selection = settings_for(job, machine, console)
    for note in selection.notes:
        console.print(note)
    process.apply(selection.settings.process, machine)
    from sovits_rt.engine import Engine

    with console.status("loading the models"):
        engine = Engine.load(job.paths, selection.settings, voice_folder=voice_folder())
        process.set_threads(selection.settings.process, machine)
    with console.status("preparing the voice"):
        voice = engine.prepare(job.references, text=job.ref_text, language=job.ref_lang, dictionary=job.dictionary)
    request = Request(voice=voice, **job.request)
    start = time.perf_counter()
    collected: list[AudioChunk] = []
    samples = 0
    with writer_for(options["output"], engine.sample_rate) as writer:
        for chunk in shown(engine.speak(job.sentences, request), len(job.sentences), console):
            writer.write(chunk.samples)
            samples += len(chunk.samples)
            if options["dump"] is not None:
                collected.append(chunk)
    wall = time.perf_counter() - start
    if options["dump"] is not None:
        dump(options["dump"], collected, voice, [engine.features(chunk.sentence) for chunk in collected])
    report = Report(
        sentences=len(job.sentences),
        audio_seconds=samples / engine.sample_rate,
        wall_seconds=wall,
        characters=sum(len(sentence.norm_text) for sentence in job.sentences),
        device=selection.settings.process.device,
        profile=selection.label,
        output="standard output" if options["output"] == STANDARD_OUTPUT else options["output"],
    )
    if options["as_json"]:
        click.echo(json.dumps(report.as_dict()), err=options["output"] == STANDARD_OUTPUT)
    elif not quiet:
        click.echo(report.line, err=True)


def settings_for(job: Job, machine: Machine, console: Console) -> Selection:
    """The profile to use; made now if this machine has none, unless the user does not want that."""
    options, shape = job.options, job.models.shape
    subject = subject_name(shape)
    selection = select(machine, subject, options["profile"], options["assignments"])
    skip_key = profile_id(fingerprint(machine), subject, SCENARIO)
    if selection.tuned_here or options["no_tune"] or store.was_skipped(profile_folder(), skip_key) is not None:
        return selection
    console.print(
        f"No profile for {fingerprint(machine).hw_class} and these models yet: measuring how it runs them best, at most "
        f"{options['tune_budget']:.0f} s, once. Ctrl-C skips it."
    )
    try:
        tune_and_store(job.paths, shape, machine, budget_seconds=options["tune_budget"], max_trials=FIRST_RUN_TRIALS)
    except KeyboardInterrupt:
        store.remember_skip(profile_folder(), skip_key, "interrupted")
        console.print("Skipped; this will not be asked again. `sovits-rt tune` does it at any time.")
        return selection
    except AutotuneError as error:
        store.remember_skip(profile_folder(), skip_key, str(error))
        console.print(f"Not tuned: {error} Going on with the default settings; `sovits-rt tune` tries again.")
        return selection
    return select(machine, subject, None, options["assignments"])


def writer_for(output: str, rate: int) -> AudioWriter:
    if output == STANDARD_OUTPUT:
        return AudioWriter(sys.stdout.buffer, rate, "pcm")
    return AudioWriter(Path(output), rate)


def shown(chunks: Iterator[AudioChunk], count: int, console: Console) -> Iterator[AudioChunk]:
    """The chunks, with a progress bar on a terminal."""
    columns = (TextColumn("speaking"), BarColumn(), MofNCompleteColumn(), TextColumn("sentences"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield from progress.track(chunks, total=count)


def dump(path: Path, chunks: list[AudioChunk], voice: Voice, bert: list[Floats]) -> None:
    """Everything that can be compared with another engine; arrays per sentence i end in _i."""
    arrays: dict[str, Any] = {"prompt_phones": voice.prompt_phones, "prompt_tokens": voice.prompt_tokens}
    for chunk, rows in zip(chunks, bert, strict=True):
        index = chunk.index
        arrays["sample_rate"] = np.array(chunk.sample_rate)
        arrays[f"phones_{index}"] = np.array(chunk.sentence.ids, np.int64)
        arrays[f"bert_{index}"] = np.ascontiguousarray(rows.T)
        arrays[f"tokens_{index}"] = chunk.tokens
        arrays[f"wav_{index}"] = chunk.wave
    try:
        with path.open("wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        raise RequestError(f"--dump {path} can't be written ({error.strerror}); choose another place.") from error
