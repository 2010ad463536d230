"""Voices that come with the package: what there is, and each one's models and prepared recording. No torch.

A folder of sovits_rt/data/voices has models that several voices share, voices.yaml, and one prepared voice per name:

    schema: 1
    language: en
    models: {gpt: t2s.ckpt, sovits: sovits.pth, hubert: hubert}
    sampling: {top_k: 5, top_p: 1.0, temperature: 0.7, repetition_penalty: 1.0}
    default: en-rms
    voices: {en-rms: {file: en-rms.voice, about: "US English, male"}}
    licence: MIT

    voice = bundled.default()
    engine = Engine.load(voice.paths)
    request = Request("Hello.", voice.language, voice.load(), sampling=voice.sampling)
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from autotune.errors import AutotuneError
from autotune.plain import closest, from_plain
from sovits_rt import voices as voice_files
from sovits_rt.checkpoints import content_digest
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.errors import CheckpointError, RequestError, TextError
from sovits_rt.text import language as languages
from sovits_rt.types import Sampling, Sentence, Voice

SCHEMA = 1
OWN_MODELS = "models of your own with --gpt and --sovits, or --models"
NO_VOICE = f"No voice comes with this build of sovits-rt: give {OWN_MODELS}, and for speech a recording with --ref."
_FILE = "voices.yaml"
_AGAIN = "install sovits-rt again"
_LANGUAGE_NAMES = {"en": "English", "zh": "Chinese"}


@dataclass(frozen=True, slots=True)
class BundledVoice:
    """language: the only one that it speaks, a code of the text frontend ("en"). sampling: what it was tuned for.

    paths: the models, without those that its language does not need. prepared: file of the Voice.
    """

    name: str
    about: str
    language: str
    paths: ModelPaths
    sampling: Sampling
    prepared: Path
    licence: str

    @property
    def size_bytes(self) -> int:
        """Of all files that it needs, those that it shares with other voices included."""
        parts = [self.prepared, *(path for path in asdict(self.paths).values() if path is not None)]
        files = [file for part in parts for file in (part.rglob("*") if part.is_dir() else [part])]
        return sum(file.stat().st_size for file in files if file.is_file())

    def load(self) -> Voice:
        """Raises CheckpointError for a file that is damaged or was not made with this voice's SoVITS model."""
        voice = voice_files.read(self.prepared)
        sovits = self.paths.require("sovits", "always")
        if voice.made_for != content_digest(sovits):
            raise CheckpointError(f"{self.prepared} was not prepared with {sovits}, beside which it lies; {_AGAIN}.")
        return voice

    def check_text(self, text: str, language: str, what: str = "text") -> None:
        """language: the one that the text is said to be in. what: how the sentence calls the text.

        Raises TextError for one that this voice can't speak, as far as letters tell, or that nobody knows.
        """
        languages.check(language)
        if language not in (self.language, "auto"):
            raise TextError(f"The language of the {what} is given as {language!r}, but {self._limit}.")
        letter = languages.foreign_letter(text, self.language)
        if letter:
            raise TextError(f"The {what} has {letter!r}, but {self._limit}.")

    def check_sentences(self, sentences: Iterable[Sentence]) -> None:
        """Raises TextError for a piece of text that the front end read in another language."""
        for segment in (segment for sentence in sentences for segment in sentence.segments):
            if segment.lang != self.language:
                raise TextError(f"{segment.text[:40]!r} was read as {segment.lang!r}, but {self._limit}.")

    @property
    def _limit(self) -> str:
        only = _LANGUAGE_NAMES.get(self.language, self.language)
        return (
            f"the bundled voice {self.name} speaks only {only} (--lang {self.language}); for other languages give "
            f"{OWN_MODELS}"
        )


@dataclass(frozen=True, slots=True)
class _Models:
    """Files and folders, relative to the folder of voices.yaml."""

    gpt: str
    sovits: str
    hubert: str | None = None
    bert: str | None = None
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    file: str
    about: str


@dataclass(frozen=True, slots=True)
class _Bundle:
    """voices.yaml. default: which voice speaks if none is named."""

    schema: int
    language: str
    models: _Models
    default: str
    voices: Mapping[str, _Entry]
    licence: str
    sampling: Sampling = field(default_factory=Sampling)


def folder() -> Path:
    """Where the package keeps its voices; not there in a build without any."""
    return Path(__file__).resolve().parent / "data" / "voices"


def voices() -> tuple[BundledVoice, ...]:
    """All of them, the default one first. Raises CheckpointError for a damaged installation."""
    found = [voice for place in sorted(folder().glob(f"*/{_FILE}")) for voice in _read(place)]
    names = [voice.name for voice in found]
    for name in names:
        if names.count(name) > 1:
            raise CheckpointError(f"There are two bundled voices {name} in {folder()}; remove one of their folders.")
    return tuple(found)


def find(name: str) -> BundledVoice:
    """Raises RequestError for a name that there is not, CheckpointError as `voices`."""
    known = {voice.name: voice for voice in _some()}
    if name not in known:
        raise RequestError(f"There is no bundled voice {name!r}; there is {', '.join(known)}.")
    return known[name]


def default() -> BundledVoice:
    """The voice that speaks if none is named: of the first folder by name, the one that it calls so.

    Raises CheckpointError if there is none, and as `voices`.
    """
    return _some()[0]


def _some() -> tuple[BundledVoice, ...]:
    found = voices()
    if not found:
        raise CheckpointError(NO_VOICE)
    return found


def _read(path: Path) -> list[BundledVoice]:
    """The voices of one folder, its default first. path: of voices.yaml."""
    bundle = _parsed(path)
    if bundle.default not in bundle.voices:
        raise _damaged(path, f"its default is {bundle.default!r}, {closest(bundle.default, bundle.voices)}")
    if bundle.language not in languages.SPOKEN:
        raise _damaged(path, f"its language is {bundle.language!r}, expected one of {', '.join(languages.SPOKEN)}")
    models = {part: path.parent / name for part, name in asdict(bundle.models).items() if name is not None}
    names = sorted(bundle.voices, key=lambda name: name != bundle.default)
    found = [
        BundledVoice(
            name=name,
            about=bundle.voices[name].about,
            language=bundle.language,
            paths=ModelPaths(**models),
            sampling=bundle.sampling,
            prepared=path.parent / bundle.voices[name].file,
            licence=bundle.licence,
        )
        for name in names
    ]
    for file in (*models.values(), *(voice.prepared for voice in found)):
        if not file.exists():
            raise _damaged(path, f"it names {file.name}, which is not there")
    return found


def _parsed(path: Path) -> _Bundle:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(data, Mapping) and data.get("schema") != SCHEMA:
            raise _damaged(path, f"it is of schema {data.get('schema')!r}, this release reads {SCHEMA}")
        return from_plain(_Bundle, data, AutotuneError, _FILE)
    except OSError as error:
        raise _damaged(path, f"it can't be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _damaged(path, "it is not a YAML text") from error
    except (AutotuneError, RequestError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"The bundled voices of {path} can't be used: {what.rstrip('.?')}; {_AGAIN}.")
