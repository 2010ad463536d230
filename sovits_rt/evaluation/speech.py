"""Recordings to judge: spoken now by an engine, or read from a folder."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np

from sovits_rt.audio.files import read
from sovits_rt.errors import AudioError
from sovits_rt.evaluation.judgement import Recording
from sovits_rt.types import AudioChunk, Request, Sentence

_SUFFIXES = ("wav", "flac", "ogg", "mp3")


class Speaker(Protocol):
    """What an `engine.Engine` offers; it speaks the sentences of one call together, and gives them in order."""

    def speak(self, sentences: Sequence[Sentence], request: Request) -> Iterator[AudioChunk]: ...


def spoken(speaker: Speaker, texts: Sequence[Sequence[Sentence]], request: Request) -> Iterator[Recording]:
    """One recording per text. texts: each as its sentences, at least one; the request's own text is not looked at."""
    owners = [number for number, sentences in enumerate(texts) for _ in sentences]
    chunks = speaker.speak([each for sentences in texts for each in sentences], request)
    for _, group in groupby(zip(owners, chunks, strict=True), key=lambda pair: pair[0]):
        parts = [chunk for _, chunk in group]
        yield np.concatenate([part.samples for part in parts]), parts[0].sample_rate


def file_name(number: int) -> str:
    """number: from 1, the place in the list."""
    return f"{number:03d}.wav"


def recorded(folder: Path, count: int, *, all_of_them: bool) -> list[Path]:
    """The files 001.wav, 002.wav, … of a folder, as many as there are texts; flac, ogg and mp3 too.

    all_of_them: there must be no more. Raises AudioError for a folder that does not fit the list.
    """
    if not folder.is_dir():
        raise AudioError(f"There is no folder {folder}; give one with {file_name(1)} to {file_name(count)}.")
    found = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix[1:].lower() in _SUFFIXES}
    names = [Path(file_name(number)).stem for number in range(1, count + 1)]
    absent = [name for name in names if name not in found]
    if absent:
        raise AudioError(
            f"The folder {folder} has no {absent[0]}.wav; {count} recordings are needed, {file_name(1)} to "
            f"{file_name(count)}, in the order of the list."
        )
    more = sorted(name for name in found.keys() - set(names) if name.isdecimal())
    if more and all_of_them:
        raise AudioError(
            f"The folder {folder} has {found[more[0]].name}, but the list ends with sentence {count}; give the list "
            "that was read, or --count to judge only the first."
        )
    return [found[name] for name in names]


def load(paths: Sequence[Path]) -> Iterator[Recording]:
    """Channels averaged. Raises AudioError for a file that can't be read."""
    for path in paths:
        samples, rate = read(path)
        yield samples.mean(axis=0), rate
