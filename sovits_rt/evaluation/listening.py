"""Do settings that may change the audio cost words? A bundled voice speaks with them, a recogniser listens.

What is tuned may be anybody's voice, in any language; the words of the bundled one stand in for it, since its texts are
known and its language is the recogniser's. Spoken are sentences that `evaluate` leaves out by default.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autotune.examiner import ChildExaminer
from autotune.machine import Machine
from autotune.measure import Gate
from autotune.subject import Outputs, SubjectName
from sovits_rt import bundled, process
from sovits_rt import text as frontend
from sovits_rt.errors import SovitsError
from sovits_rt.evaluation.judgement import judge
from sovits_rt.evaluation.recogniser import missing
from sovits_rt.evaluation.sentences import held_out
from sovits_rt.evaluation.speech import Speaker, spoken
from sovits_rt.evaluation.words import share
from sovits_rt.settings import Settings, untuned
from sovits_rt.types import Request, Sentence

# Simulated for voices that lose a tenth of their words: of sound settings 4 % are refused that repeat most of what the
# defaults say (18 % that repeat nothing), of settings that lose 5 points more 87 to 97 %. With 30 sentences it would be
# 12 % (22 %), and 81 to 92 %.
SENTENCES = 60
MOST_POINTS = 2.0  # per cent of the words
_LANGUAGE = "en"
_SEED = 0


@dataclass(frozen=True, slots=True)
class ListeningSubject:
    """voice: name of a bundled one. See autotune.subject; `autotune.examiner` opens it."""

    voice: str

    @property
    def name(self) -> str:
        return f"what is heard of {self.voice}"

    @property
    def settings_type(self) -> type[Settings]:
        return Settings

    def default(self, machine: Machine) -> Settings:
        return untuned(machine)

    def reject(self, settings: Settings, machine: Machine) -> str | None:
        return None

    def environment(self, settings: Settings, machine: Machine) -> Mapping[str, str]:
        return process.environment(settings.process, machine)

    def cost(self, settings: Settings) -> tuple[float, ...]:
        return ()

    def open(self, settings: Settings, machine: Machine) -> "ListeningRunner":
        process.apply(settings.process, machine)
        process.set_threads(settings.process, machine)
        from sovits_rt.engine import Engine

        voice = bundled.find(self.voice)
        engine = Engine.load(voice.paths, settings)
        request = Request("", _LANGUAGE, voice.load(), sampling=voice.sampling, seed=_SEED)
        texts = held_out(SENTENCES)
        return ListeningRunner(engine, request, texts, [frontend.prepare(text, _LANGUAGE) for text in texts])


class ListeningRunner:
    """See autotune.subject.Runner. texts: what is said; sentences: each text as the front end cut it."""

    units = 1

    def __init__(
        self, speaker: Speaker, request: Request, texts: Sequence[str], sentences: Sequence[Sequence[Sentence]]
    ) -> None:
        self._speaker, self._request, self._texts, self._sentences = speaker, request, texts, sentences

    def run(self, unit: int) -> Outputs:
        """errors, words: [sentences] counts."""
        found = judge(self._texts, spoken(self._speaker, self._sentences, self._request))
        return {
            "errors": np.array([each.errors.count for each in found.each]),
            "words": np.array([each.errors.words for each in found.each]),
        }

    def compare(self, unit: int, reference: Outputs, output: Outputs) -> Sequence[Gate]:
        return word_gates(reference, output)


def word_gates(reference: Outputs, output: Outputs) -> list[Gate]:
    """reference, output: of ListeningRunner.run. Fails if more than MOST_POINTS more of the words are lost, on the
    same sentences, with the same seed."""
    found = share(output["errors"] - reference["errors"], reference["words"])
    lost, now = (100 * each["errors"].sum() / each["words"].sum() for each in (reference, output))
    detail = (
        f"points more of the words lost, 95 % from {100 * found.low:.1f} to {100 * found.high:.1f}: "
        f"{now:.1f} % against {lost:.1f} %"
    )
    return [Gate("words", bool(100 * found.value <= MOST_POINTS), 100 * found.value, MOST_POINTS, detail)]


@dataclass(frozen=True, slots=True)
class WordCheck:
    """For a tuning. examiner: counts the words that inexact settings cost; None if nobody can. why_not: then, why."""

    examiner: ChildExaminer | None
    why_not: str

    @classmethod
    def of(cls, machine: Machine, *, brief: bool, tell: Callable[[str], None]) -> "WordCheck":
        """brief: a tuning that has no time for it. tell: gets sentences for the user."""
        if brief:
            return cls(None, "a brief tuning has no time for it")
        name, why_not = listening_subject()
        if name is None:
            tell(f"the words that inexact settings cost are not counted: {why_not}")
            return cls(None, why_not)
        return cls(ChildExaminer(name, machine, word_gates, tell), "")

    def noted(self, reason: str, *, exact: bool) -> str:
        """The reason of a decision, with what was not measured of settings that are not exact."""
        why_not = self.why_not if self.examiner is None else self.examiner.unavailable
        return reason if exact or not why_not else f"{reason}; the words it costs were not counted: {why_not}"


def listening_subject() -> tuple[SubjectName | None, str]:
    """What can be examined here, or why nothing can."""
    if names := missing():
        return None, f"{names} not installed (pip install 'sovits-rt[quality]')"
    try:
        voices = [voice for voice in bundled.voices() if voice.language == _LANGUAGE]
    except SovitsError as error:
        return None, str(error).rstrip(".")
    if not voices:
        return None, "no English voice comes with this build of sovits-rt"
    return SubjectName("sovits_rt.evaluation.listening:ListeningSubject", {"voice": voices[0].name}), ""
