"""A command line of `synth`, checked as far as that takes no model: before anything is tuned, loaded or written."""

import sys
import tempfile
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from sovits_rt import text as frontend
from sovits_rt.audio.reference import check_auxiliary, check_reference
from sovits_rt.audio.write import find_format
from sovits_rt.bundled import OWN_MODELS, BundledVoice
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.checkpoints.shape import Preview, check_companions, preview
from sovits_rt.cli.options import Chosen, chosen_models, read_text
from sovits_rt.errors import AudioError, RequestError, TextError
from sovits_rt.limits import check_length
from sovits_rt.polyphones import load_polyphones
from sovits_rt.text import Dictionary
from sovits_rt.types import Request, Sampling, Sentence, Voice

STANDARD_OUTPUT = "-"
_OPTION_NAMES = {"fragment_interval_seconds": "--pause"}  # where it is not the field's own name


@dataclass(frozen=True, slots=True)
class Job:
    """models: what the checkpoints' tables of contents say. voice: a bundled one, None if it is to be prepared from
    the references. request: the fields of a Request but the voice. note: a sentence for the user, or ""."""

    paths: ModelPaths
    models: Preview
    sentences: list[Sentence]
    references: tuple[Path, ...]
    prompt: Sentence | None
    voice: Voice | None
    request: dict[str, Any]
    output: str
    dump: Path | None
    note: str

    @classmethod
    def of(cls, options: dict[str, Any]) -> "Job":
        """Raises UsageError or SovitsError for the first thing that can't be used."""
        chosen = chosen_models(options)
        check_references(options, chosen)
        text = read_text(options["words"], options["text"], options["text_file"])
        request = checked_request(options, text, chosen.voice)
        check_output(options["output"])
        check_dump(options["dump"])
        paths = chosen.paths
        models = preview(paths.require("gpt", "to speak"), paths.require("sovits", "to speak"))
        references = options["references"]
        voice = None if references or chosen.voice is None else chosen.voice.load()
        sentences, prompt = checked_sentences(options, text, models, chosen, voice)
        if references:
            check_reference(references[0])
            for path in references[1:]:
                check_auxiliary(path)
        return cls(
            paths,
            models,
            sentences,
            references,
            prompt,
            voice,
            request,
            options["output"],
            options["dump"],
            demonstration(chosen.voice) if references and chosen.voice is not None else "",
        )


def check_references(options: dict[str, Any], chosen: Chosen) -> None:
    """Raises UsageError for a recording that is missing, and for words about one where there is none."""
    if options["references"]:
        return
    if chosen.voice is None:
        raise click.UsageError("No recording of the voice was given; name one of 3 to 10 seconds with --ref")
    for name, value in (("--ref-text", options["ref_text"]), ("--ref-lang", options["ref_lang"])):
        if value:
            raise click.UsageError(f"{name} is about a recording, but none was given; name it with --ref")


def demonstration(voice: BundledVoice) -> str:
    return (
        f"The models of the bundled voice {voice.name} speak with this recording's voice, as a demonstration; "
        f"for more, give {OWN_MODELS}."
    )


def language_of(option: str | None, voice: BundledVoice | None) -> str:
    """--lang or --ref-lang, else the bundled voice's language, else "auto"."""
    if option is not None:
        return option
    return "auto" if voice is None else voice.language


def sampling_of(options: dict[str, Any], voice: BundledVoice | None) -> Sampling:
    """The options that were given, else the bundled voice's, else upstream's. Raises RequestError."""
    given = {each.name: options[each.name] for each in fields(Sampling) if options[each.name] is not None}
    return replace(Sampling() if voice is None else voice.sampling, **given)


def checked_sentences(
    options: dict[str, Any], text: str, models: Preview, chosen: Chosen, voice: Voice | None
) -> tuple[list[Sentence], Sentence | None]:
    """The sentences of the text, and the reference text as one (None without); that they can be spoken is checked.

    voice: a prepared one, None if it will be made from recordings.
    """
    symbols, ref_text = models.version.symbols, options["ref_text"]
    language, ref_language = (language_of(options[name], chosen.voice) for name in ("lang", "ref_lang"))
    if chosen.voice is not None:
        chosen.voice.check_text(text, language)
        chosen.voice.check_text(ref_text, ref_language, "reference text")
    dictionary = None if options["dictionary"] is None else Dictionary.load(options["dictionary"])
    polyphones = load_polyphones(chosen.paths)
    sentences = frontend.prepare(
        text,
        language,
        split=options["split"],
        symbols=symbols,
        dictionary=dictionary,
        polyphones=polyphones,
    )
    prompt = None
    if ref_text:
        if not ref_text.strip():
            raise TextError("--ref-text is only blanks; give the words of the recording, or leave it out.")
        prompt = frontend.prepare_prompt(
            ref_text, ref_language, symbols=symbols, dictionary=dictionary, polyphones=polyphones
        )
    spoken = [*sentences, *([] if prompt is None else [prompt])]
    if chosen.voice is not None:
        chosen.voice.check_sentences(spoken)
    prompt_ids = () if prompt is None else prompt.ids
    for sentence in sentences:
        check_length(sentence, len(prompt_ids if voice is None else voice.prompt_phones))
    chinese = any(segment.word2ph is not None for sentence in spoken for segment in sentence.segments)
    check_companions(chosen.paths, models, prompted=bool(ref_text), chinese=chinese)
    return sentences, prompt


def checked_request(options: dict[str, Any], text: str, voice: BundledVoice | None) -> dict[str, Any]:
    """The fields of a Request but the voice. Raises UsageError that names the option for a value out of range."""
    nobody = np.zeros(0, np.float32)
    nothing = np.zeros(0, np.int64)
    try:
        values = {
            "text": text,
            "language": language_of(options["lang"], voice),
            "split": options["split"],
            "sampling": sampling_of(options, voice),
            "speed": options["speed"],
            "fragment_interval_seconds": options["pause"],
            "noise_scale": options["noise_scale"],
            "max_tokens": options["max_tokens"],
            "seed": options["seed"],
        }
        Request(voice=Voice("", nothing, nobody, nothing, nobody, nobody), **values)
    except RequestError as error:
        name, _, rest = str(error).partition(" ")
        option = _OPTION_NAMES.get(name, f"--{name.replace('_', '-')}")
        raise click.UsageError(f"{option} {rest}") from error
    return values


def check_output(output: str) -> None:
    """Raises AudioError if no sound file can be written there, UsageError for raw sound to a terminal."""
    if output == STANDARD_OUTPUT:
        if sys.stdout.isatty():
            raise click.UsageError("-o - writes raw sound to standard output; send it to a file or a program")
        return
    path = Path(output)
    if path.is_dir():
        raise AudioError(f"-o {output} is a folder; give a file name in it, such as {path / 'out.wav'}.")
    find_format(f"-o {output}", path.suffix[1:])
    if (problem := why_not_writable(path)) is not None:
        raise AudioError(f"-o {output} can't be written: {problem}.")


def check_dump(path: Path | None) -> None:
    """Raises RequestError if no file can be written there."""
    if path is None:
        return
    if path.is_dir():
        raise RequestError(f"--dump {path} is a folder; give a file name in it, such as {path / 'out.npz'}.")
    if (problem := why_not_writable(path)) is not None:
        raise RequestError(f"--dump {path} can't be written: {problem}.")


def why_not_writable(path: Path) -> str | None:
    """Tried, not guessed from permissions: what decides may be a read-only file system, a quota or a mode."""
    if path.exists() and not path.is_file():
        return None  # a device or a named pipe, which opening would change
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder}; make it or choose another"
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"{folder} takes no files ({error.strerror}); choose a folder that you may write to"
