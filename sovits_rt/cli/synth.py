"""`sovits-rt synth`: text to a sound file, with this machine's profile, tuned on the first run."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from autotune import store
from autotune.errors import AutotuneError
from autotune.fingerprint import fingerprint
from autotune.machine import Machine
from autotune.probe import probe
from autotune.profile import profile_id
from sovits_rt import process
from sovits_rt.audio.join import whole
from sovits_rt.audio.write import AudioWriter
from sovits_rt.cli.job import STANDARD_OUTPUT, Job
from sovits_rt.cli.options import (
    JSON,
    SPLIT,
    VOICE_LANGUAGE,
    bundled_option,
    dictionary_option,
    model_options,
    scenario_option,
    settings_options,
    text_options,
    together,
    voice_options,
)
from sovits_rt.cli.result import Result, dump
from sovits_rt.cli.stats import show_stats
from sovits_rt.cli.tune import FIRST_RUN_SECONDS, FIRST_RUN_TRIALS, tune_and_store
from sovits_rt.cli.voices import show_voices
from sovits_rt.errors import CheckpointError
from sovits_rt.observer import Observer
from sovits_rt.scenarios import DEFAULT_SCENARIO, SCENARIOS
from sovits_rt.selection import Selection, profile_folder, select, voice_folder
from sovits_rt.stopwatch import UNTIMED, Stage, Timer
from sovits_rt.tuning import subject_name
from sovits_rt.types import AudioChunk, Request, Sampling

_PLAIN = Sampling()


def sampling_option(name: str, kind: type[int] | type[float], help_text: str) -> Callable[[Any], Any]:
    """An option whose default is what the bundled voice was tuned for, else upstream's."""
    default = getattr(_PLAIN, name)
    return click.option(
        f"--{name.replace('_', '-')}", type=kind, show_default=f"the bundled voice's, else {default}", help=help_text
    )


request_options = together(
    click.option("--speed", type=float, default=1.0, show_default=True, help="0.3 to 3; 2 is twice as fast."),
    sampling_option("top_k", int, "Likeliest tokens to draw from; 1: greedy."),
    sampling_option("top_p", float, "Share of probability to draw from."),
    sampling_option("temperature", float, "Lower is less varied."),
    sampling_option("repetition_penalty", float, "1 is none, higher repeats less."),
    click.option("--noise-scale", type=float, default=0.5, show_default=True, help="0 to 2; 0 renders without noise."),
    click.option("--pause", type=float, default=0.3, show_default=True, help="Seconds of silence after a sentence."),
    click.option(
        "--max-tokens", type=int, default=1499, show_default=True, help="Most tokens of a sentence, 25 per second."
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same audio."),
)
output_options = together(
    click.option(
        "-o", "--output", default="out.wav", show_default=True, help="wav, flac, ogg or mp3; - for raw 16-bit PCM."
    ),
    click.option(
        "--dump",
        type=click.Path(path_type=Path),
        help="Also write phones, BERT features, tokens and waves of each sentence, .npz.",
    ),
)


@dataclass(frozen=True, slots=True)
class Profiling:
    """Which profile to use, and whether to make one. asked: --profile. budget_seconds: of a first run's tuning."""

    asked: str | None
    assignments: tuple[str, ...]
    tune: bool
    budget_seconds: float
    scenario: str


@click.command("synth")
@text_options
@VOICE_LANGUAGE
@SPLIT
@bundled_option
@click.option("--list-voices", is_flag=True, help="Show the voices that come with sovits-rt, and stop.")
@voice_options
@model_options
@request_options
@scenario_option
@settings_options
@dictionary_option
@output_options
@click.option("--no-tune", is_flag=True, help="Don't tune on the first run.")
@click.option(
    "--tune-budget",
    type=click.FloatRange(20, 86400),
    default=FIRST_RUN_SECONDS,
    show_default=True,
    help="Most seconds that tuning on the first run takes.",
)
@click.option("--stats", is_flag=True, help="Show where the time went and what limits.")
@click.option(
    "--stats-sync", is_flag=True, help="With --stats: wait for the GPU after every stage, for exact times; slower."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
@JSON
def synth_command(**options: Any) -> None:
    """Speak TEXT with a voice that comes with sovits-rt, or with that of a recording.

    Without --ref and without models (--gpt and --sovits, --models, --config) a bundled voice speaks, see --voice.
    With --ref but without models, the bundled ones speak with the recording's voice.

    The first run on a machine measures how it runs the models best (at most --tune-budget seconds, Ctrl-C skips it)
    and remembers the answer.
    """
    if options["list_voices"]:
        show_voices(options["as_json"])
        return
    if options["stats_sync"] and not options["stats"]:
        raise click.UsageError("--stats-sync says how --stats measures; give --stats, too")
    observer = Observer(wait_for_gpu=options["stats_sync"]) if options["stats"] else None
    with timer_of(observer).span(Stage.TEXT):
        job = Job.of(options)
    profiling = Profiling(
        options["profile"], options["assignments"], not options["no_tune"], options["tune_budget"], options["scenario"]
    )
    console = Console(stderr=True, highlight=False, quiet=options["quiet"])
    result = speak(job, profiling, console, observer)
    if options["as_json"]:
        click.echo(json.dumps(result.as_dict()), err=job.output == STANDARD_OUTPUT)
        return
    if not options["quiet"]:
        click.echo(result.line, err=True)
    if result.facts is not None:
        show_stats(result.facts, Console(stderr=True, highlight=False))


def timer_of(observer: Observer | None) -> Timer:
    return UNTIMED if observer is None else observer.stopwatch


def speak(job: Job, profiling: Profiling, console: Console, observer: Observer | None = None) -> Result:
    """observer: watches everything but the choice of settings, which may tune."""
    if job.note:
        tell(console, job.note)
    machine = probe()
    selection = settings_for(job, machine, profiling, console)
    for note in selection.notes:
        tell(console, note)
    with nullcontext() if observer is None else observer.watch(machine, selection.settings.process.device):
        result, first_audio_seconds = perform(job, machine, selection, console, observer)
    if observer is None:
        return result
    return replace(result, facts=observer.facts(result.audio_seconds, first_audio_seconds))


def perform(
    job: Job, machine: Machine, selection: Selection, console: Console, observer: Observer | None
) -> tuple[Result, float]:
    """With the settings chosen; the second value is seconds to the first finished sentence, 0 without one."""
    settings, timer = selection.settings, timer_of(observer)
    process.apply(settings.process, machine)
    with console.status("loading the models"):
        try:
            with timer.span(Stage.LOAD):
                from sovits_rt.engine import Engine
            engine = Engine.load(job.paths, settings, voice_folder=voice_folder(), timer=timer)
        except CheckpointError:
            # If tuning failed, then because of this file: the next one deserves a try.
            store.forget_skip(profile_folder(), skip_key(job, machine))
            raise
        process.set_threads(settings.process, machine)
    if observer is not None:
        observer.loaded(engine.device, engine.step_cost)
    with console.status("preparing the voice"):
        voice = engine.prepare_voice(job.references, job.prompt) if job.voice is None else job.voice
    request = Request(voice=voice, **job.request)
    start = time.perf_counter()
    kept: list[AudioChunk] = []
    samples, first_audio_seconds = 0, 0.0
    with (
        writer_for(job.output, engine.sample_rate) as writer,
        closing(engine.stream(job.sentences, request)) as stream,
        shown(len(job.sentences), console) as advance,
    ):
        for chunk in stream:
            first_audio_seconds = first_audio_seconds or time.perf_counter() - start
            with timer.span(Stage.OUTPUT):
                writer.write(chunk.samples)
            samples += len(chunk.samples)
            advance(int(chunk.last))
            if job.dump is not None:
                kept.append(chunk)
    wall_seconds = time.perf_counter() - start
    if job.dump is not None:
        sentences = [*whole(kept)]
        dump(job.dump, sentences, voice, [engine.features(each.sentence) for each in sentences], engine.sample_rate)
    result = Result(
        sentences=len(job.sentences),
        audio_seconds=samples / engine.sample_rate,
        wall_seconds=wall_seconds,
        characters=sum(len(sentence.norm_text) for sentence in job.sentences),
        device=settings.process.device,
        profile=selection.label,
        output="standard output" if job.output == STANDARD_OUTPUT else job.output,
    )
    return result, first_audio_seconds


def tell(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def settings_for(job: Job, machine: Machine, profiling: Profiling, console: Console) -> Selection:
    """The profile to use; made now if this machine has none, unless the user does not want that."""
    shape = job.models.shape
    subject = subject_name(shape)
    selection = select(machine, subject, profiling.asked, profiling.assignments, profiling.scenario)
    key = skip_key(job, machine, profiling.scenario)
    limited = SCENARIOS[profiling.scenario].limited  # only the user knows the budget: `tune`
    if selection.tuned_here or not profiling.tune or limited or store.was_skipped(profile_folder(), key) is not None:
        return selection
    try:
        # Noted before the first trial: a session that takes the whole machine down is not begun again and again.
        store.remember_skip(profile_folder(), key, "did not end")
    except AutotuneError as error:
        tell(console, f"Not tuned, since the answer could not be kept: {error}")
        return selection
    tell(
        console,
        f"No profile for {fingerprint(machine).hw_class} and these models yet: measuring how it runs them best, "
        f"at most {profiling.budget_seconds:.0f} s, once. Ctrl-C skips it.",
    )
    try:
        tune_and_store(
            job.paths,
            shape,
            machine,
            console=console,
            budget_seconds=profiling.budget_seconds,
            max_trials=FIRST_RUN_TRIALS,
            scenario=profiling.scenario,
        )
    except KeyboardInterrupt:
        store.remember_skip(profile_folder(), key, "interrupted")
        tell(console, "Skipped; this will not be asked again. `sovits-rt tune` does it at any time.")
        return selection
    except AutotuneError as error:
        store.remember_skip(profile_folder(), key, str(error))
        tell(console, f"Not tuned: {error} Going on with the default settings; `sovits-rt tune` tries again.")
        return selection
    return select(machine, subject, None, profiling.assignments, profiling.scenario)


def skip_key(job: Job, machine: Machine, scenario: str = DEFAULT_SCENARIO) -> str:
    """Under which a declined or failed first tuning is noted."""
    return profile_id(fingerprint(machine), subject_name(job.models.shape), scenario)


def writer_for(output: str, rate: int) -> AudioWriter:
    if output == STANDARD_OUTPUT:
        return AudioWriter(sys.stdout.buffer, rate, "pcm")
    return AudioWriter(Path(output), rate)


@contextmanager
def shown(count: int, console: Console) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal; gives what is to be called with the number of sentences that got done."""
    columns = (TextColumn("speaking"), BarColumn(), MofNCompleteColumn(), TextColumn("sentences"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=count)
        yield lambda done: progress.advance(task, done)
