"""Options that several commands share, and what they turn into."""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from sovits_rt import bundled
from sovits_rt.bundled import BundledVoice
from sovits_rt.checkpoints.layout import ModelPaths, from_config, from_folder
from sovits_rt.errors import TextError
from sovits_rt.scenarios import DEFAULT_SCENARIO, SCENARIOS

Command = TypeVar("Command", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path)
_DEFAULT_VERSION = "v2"

MODEL_KEYS = ("gpt", "sovits", "hubert", "bert", "speaker", "g2pw", "models", "model_version", "config")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
_LANGUAGES = "Language of the text: zh (also mixed with English), en, auto, all_zh."
LANGUAGE = click.option("--lang", default="auto", show_default=True, help=_LANGUAGES)
VOICE_LANGUAGE = click.option("--lang", show_default="the bundled voice's, else auto", help=_LANGUAGES)
SPLIT = click.option(
    "--split", default="cut5", show_default=True, help="How the text is cut into sentences: cut0 … cut5."
)


def together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """One decorator out of several; they appear in --help in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


text_options = together(
    click.argument("words", metavar="[TEXT]", required=False),
    click.option("--text", help="The text, instead of TEXT; - reads standard input."),
    click.option("--text-file", type=_FILE, help="Read the text from a UTF-8 file."),
)
dictionary_option = click.option("--dictionary", type=_FILE, help="YAML file of pronunciations, word: phones.")
model_options = together(
    click.option("--gpt", type=_FILE, help="GPT (text-to-semantic) checkpoint, .ckpt."),
    click.option("--sovits", type=_FILE, help="SoVITS checkpoint, .pth."),
    click.option("--hubert", type=_FILE, help="Folder of chinese-hubert-base."),
    click.option("--bert", type=_FILE, help="Folder of chinese-roberta-wwm-ext-large (Chinese text)."),
    click.option("--speaker", type=_FILE, help="ERes2NetV2 file (v2Pro, v2ProPlus)."),
    click.option("--g2pw", type=_FILE, help="Folder of the g2pW polyphone model (Chinese; optional)."),
    click.option(
        "--models", type=_FILE, help="Folder in upstream's layout (…/pretrained_models); see --model-version."
    ),
    click.option("--model-version", show_default=_DEFAULT_VERSION, help="Which base models to take from --models."),
    click.option("--config", type=_FILE, help="Upstream's tts_infer.yaml."),
)
bundled_option = click.option(
    "--voice", metavar="NAME", help="A voice that comes with sovits-rt; where no models are given, the default one."
)
voice_options = together(
    click.option(
        "--ref", "references", type=_FILE, multiple=True, help="Reference recording, 3 to 10 s; repeat to mix."
    ),
    click.option("--ref-text", default="", help="What the first reference says; without it, prompt-free mode."),
    click.option("--ref-lang", show_default="the bundled models', else auto", help="Language of --ref-text."),
)


def checked_assignments(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not value.partition("=")[0].strip() or "=" not in value:
            raise click.BadParameter(f"{value!r} is not KNOB=VALUE, such as semantic.slots=4.", param=parameter)
    return values


class Memory(click.ParamType[int]):
    """A size such as 900M or 1.5G, in bytes."""

    name = "SIZE"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([MG])(?:i?B)?", value.strip())
        if found is None or float(found[1]) == 0:
            self.fail(f"{value!r} is no size such as 900M or 1.5G.", parameter, context)
        return int(float(found[1]) * 2 ** {"M": 20, "G": 30}[found[2]])


scenario_option = click.option(
    "--scenario",
    type=click.Choice(tuple(SCENARIOS)),
    default=DEFAULT_SCENARIO,
    show_default=True,
    help="What the settings are for: " + "; ".join(f"{each.name}: {each.doc}" for each in SCENARIOS.values()) + ".",
)
memory_option = click.option(
    "--memory", type=Memory(), help="Peak memory that the process may need, such as 900M or 1.5G (low-memory)."
)


def memory_budget(scenario: str, memory: int | None) -> int:
    """Bytes, 0 for no limit. Raises UsageError for a scenario without its budget, or a budget without its scenario."""
    if SCENARIOS[scenario].limited and memory is None:
        raise click.UsageError(f"--scenario {scenario} needs a budget; give the most memory it may take with --memory")
    if not SCENARIOS[scenario].limited and memory is not None:
        raise click.UsageError("--memory is the budget of --scenario low-memory; give both or neither")
    return memory or 0


settings_options = together(
    click.option("--profile", help="A profile's id or file, or 'default' for plain untuned fp32."),
    click.option(
        "--set",
        "assignments",
        metavar="KNOB=VALUE",
        multiple=True,
        callback=checked_assignments,
        help="Change one knob of the profile; repeat for more.",
    ),
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """paths: the models. voice: the bundled one that they belong to, None for models that the user gave."""

    paths: ModelPaths
    voice: BundledVoice | None


def chosen_models(options: Mapping[str, Any]) -> Chosen:
    """The models that the user gave, else those of --voice, else those of the default bundled voice.

    options: values of `model_options` and `bundled_option`. Raises UsageError for both kinds at once, CheckpointError
    and RequestError as `bundled.find` and `bundled.default` do.
    """
    name = options["voice"]
    given = {key: options[key] for key in MODEL_KEYS if options[key] is not None}
    if name is None and given:
        return Chosen(model_paths(**{key: options[key] for key in MODEL_KEYS}), None)
    if given:
        names = ", ".join(f"--{key.replace('_', '-')}" for key in given)
        raise click.UsageError(f"--voice has models of its own; leave out either --voice or {names}")
    voice = bundled.default() if name is None else bundled.find(name)
    return Chosen(voice.paths, voice)


def model_paths(
    gpt: Path | None,
    sovits: Path | None,
    hubert: Path | None,
    bert: Path | None,
    speaker: Path | None,
    g2pw: Path | None,
    models: Path | None,
    model_version: str | None,
    config: Path | None,
) -> ModelPaths:
    """Paths given one by one go before those of --models or --config."""
    if models is not None and config is not None:
        raise click.UsageError("--models and --config both say where the models are; give one of them")
    found = ModelPaths()
    if models is not None:
        found = from_folder(models, model_version or _DEFAULT_VERSION, pair=gpt is None or sovits is None)
    elif config is not None:
        found = from_config(config)
    return found.override(ModelPaths(gpt, sovits, hubert, bert, speaker, g2pw))


def read_text(words: str | None, text: str | None, text_file: Path | None) -> str:
    given = [each for each in (words, text, text_file) if each is not None]
    if len(given) != 1:
        raise click.UsageError(
            f"{'No text' if not given else 'More than one text'} was given; give TEXT, --text or --text-file"
        )
    if text_file is not None:
        try:
            return text_file.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise TextError(f"{text_file} can't be read ({error.strerror}); give a UTF-8 text file.") from error
        except UnicodeDecodeError as error:
            raise TextError(f"{text_file} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    value = words if words is not None else text
    assert value is not None
    if value == "-":
        return _standard_input()
    return value


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(f"Standard input is not UTF-8 text (byte {error.start}); convert it to UTF-8.") from error
