"""A list of recordings judged, alone or against a teacher's of the same sentences: the numbers of `evaluate`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from autotune.plain import to_plain
from sovits_rt.evaluation.recogniser import Recogniser, recogniser_name
from sovits_rt.evaluation.sounds import Likeness, Sound, likeness, sound_of
from sovits_rt.evaluation.words import Errors, Rate, difference, errors, share, word_error_rate, words_of
from sovits_rt.types import Floats

Recording = tuple[Floats, int]  # [n] samples of one channel, and their rate in Hz


@dataclass(frozen=True, slots=True)
class Heard:
    """One recording: what was said, what was heard, how it sounds. likeness: to the teacher's, None without one."""

    text: str
    heard: str
    errors: Errors
    sound: Sound
    likeness: Likeness | None


@dataclass(frozen=True)
class Judgement:
    """recogniser: what listened. each: the recordings in the order of the list. teacher: its recordings, or empty."""

    recogniser: str
    each: tuple[Heard, ...]
    teacher: tuple[Heard, ...] = ()

    @cached_property
    def word_error_rate(self) -> Rate:
        return word_error_rate([one.errors for one in self.each])

    @cached_property
    def teacher_word_error_rate(self) -> Rate | None:
        return word_error_rate([one.errors for one in self.teacher]) if self.teacher else None

    @cached_property
    def difference(self) -> Rate | None:
        """Word error rate minus the teacher's, paired by sentence."""
        if not self.teacher:
            return None
        return difference([one.errors for one in self.each], [one.errors for one in self.teacher])

    @property
    def accuracy(self) -> Rate:
        """1 minus the error rate: what is said of digits."""
        found = self.word_error_rate
        return Rate(1 - found.value, 1 - found.high, 1 - found.low)

    @property
    def likenesses(self) -> list[Likeness]:
        return [one.likeness for one in self.each if one.likeness is not None]

    @cached_property
    def sane_lengths(self) -> Rate | None:
        """Share of recordings that are neither cut off nor running on, measured by the teacher's length."""
        if not self.teacher:
            return None
        sane = [one.likeness is not None and one.likeness.length_is_sane for one in self.each]
        return share(sane, np.ones(len(sane)))

    @property
    def problems(self) -> list[str]:
        """ "7: clipped" for recording 7."""
        return [f"{number}: {name}" for number, one in enumerate(self.each, start=1) for name in one.sound.problems]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; rates are shares, not per cent."""
        return {
            "recogniser": self.recogniser,
            "recordings": len(self.each),
            "words": sum(one.errors.words for one in self.each),
            "word_error_rate": to_plain(self.word_error_rate),
            "problems": self.problems,
            **sound_figures(self.each),
            **({"teacher": self._teacher_figures()} if self.teacher else {}),
            "each": [to_plain(one) for one in self.each],
        }

    def _teacher_figures(self) -> dict[str, Any]:
        alike = self.likenesses
        pitches = [one.pitch_ratio for one in alike if one.pitch_ratio > 0]
        return {
            "word_error_rate": to_plain(self.teacher_word_error_rate),
            "difference": to_plain(self.difference),
            "log_mel_distance_decibels": median([one.distance_decibels for one in alike]),
            "length_ratio": median([one.length_ratio for one in alike]),
            "pitch_ratio": median(pitches),
            "sane_lengths": to_plain(self.sane_lengths),
            **sound_figures(self.teacher),
            "each": [to_plain(one) for one in self.teacher],
        }


def sound_figures(each: Sequence[Heard]) -> dict[str, float | None]:
    """Medians over the recordings that are not silent."""
    audible = [one.sound for one in each if "silent" not in one.sound.problems]
    return {
        "seconds": median([sound.seconds for sound in audible]),
        "pitch_hz": median([sound.pitch_hz for sound in audible if sound.pitch_hz]),
        "voiced": median([sound.voiced for sound in audible]),
    }


def median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def judge(
    texts: Sequence[str],
    recordings: Iterable[Recording],
    teacher: Iterable[Recording] = (),
    *,
    digits: bool = False,
    on_recording: Callable[[], None] = lambda: None,
) -> Judgement:
    """Listen to one recording per text, and to the teacher's of the same texts where there is one.

    digits: expect only digits (see Recogniser). on_recording: called after each. Raises MissingExtraError without the
    extra, AudioError for samples that are no numbers.
    """
    recogniser = Recogniser(digits=digits)
    taught: list[tuple[Heard, Recording]] = []
    for text, recording in zip(texts, teacher, strict=False):
        taught.append((_heard(text, recording, recogniser, None), recording))
        on_recording()
    assert len(taught) in (0, len(texts)), "a teacher reads every text"
    each = []
    for index, (text, recording) in enumerate(zip(texts, recordings, strict=True)):
        each.append(_heard(text, recording, recogniser, taught[index][1] if taught else None))
        on_recording()
    return Judgement(recogniser_name(), tuple(each), tuple(heard for heard, _ in taught))


def _heard(text: str, recording: Recording, recogniser: Recogniser, other: Recording | None) -> Heard:
    said, heard = words_of(text), recogniser.words(*recording)
    return Heard(
        text=text,
        heard=" ".join(heard),
        errors=errors(said, heard),
        sound=sound_of(*recording),
        likeness=None if other is None else likeness(*recording, *other),
    )
