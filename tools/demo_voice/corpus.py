"""Training data: sentences spoken by a flite voice, with our phones and their times.

flite says which of its phones it speaks when (`-psdur`). Its lexicon is not ours, so both phone strings are aligned by
dynamic programming and the times carried over; sentences in which they differ too much are left out.
"""

import multiprocessing
import re
import subprocess
import tempfile
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sovits_rt import text
from sovits_rt.types import Floats, Ints

RATE = 16_000
TOKEN_SECONDS = 0.04
SILENCE = "pau"
EDGE_SECONDS = 0.10  # silence kept in front and behind
MOST_DIFFERING = 0.2  # share of phones without a counterpart
GAP, VOWEL_PAIR, SOUND_PAIR, OTHER_PAIR = 1.0, 0.5, 0.8, 1.6
PUNCTUATION = set(".,!?-…")
VOWELS = {"aa", "ae", "ah", "ao", "aw", "ax", "ay", "eh", "er", "ey", "ih", "iy", "ow", "oy", "uh", "uw"}
_REDUCED = {"ax": "ah", "axr": "er", "el": "l", "em": "m", "en": "n", "dx": "t", "nx": "n"}


@dataclass(frozen=True, slots=True)
class Utterance:
    """text: what was spoken. phones: [n] ids. wave: int16 [samples] at 16 kHz. ends: [n] seconds at which each phone
    ends; a phone that is not spoken ends where the one before it does."""

    text: str
    phones: Ints
    wave: NDArray[np.int16]
    ends: Floats

    @property
    def tokens(self) -> int:
        return int(len(self.wave) / RATE / TOKEN_SECONDS)

    def phone_of_token(self) -> Ints:
        """[tokens] number of the phone that sounds in the middle of each token."""
        middle = (np.arange(self.tokens) + 0.5) * TOKEN_SECONDS
        return np.minimum(np.searchsorted(self.ends, middle, side="right"), len(self.phones) - 1)


def pieces(sentence: str, split: str) -> list[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    """What the engine would speak of a text: (words, phone names, phone ids) of each piece."""
    found = []
    for piece in text.prepare(sentence, "en", split=split, symbols="v2"):
        names = tuple(name for segment in piece.segments for name in segment.phones)
        found.append((piece.norm_text.lstrip(". "), names, piece.ids))
    return found


def speak(words: str, voice: str, folder: Path) -> tuple[NDArray[np.int16], list[tuple[str, float]]]:
    """The wave, int16 at 16 kHz, and (phone, its end in seconds) of each phone. Raises RuntimeError if flite fails."""
    path = folder / "spoken.wav"
    done = subprocess.run(
        ["flite", "-voice", voice, "-psdur", "-t", words, "-o", str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"flite could not speak {words!r}: {done.stderr.strip()}")
    with wave.open(str(path)) as file:
        assert file.getframerate() == RATE, file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    spoken = [entry.rsplit(":", 1) for entry in done.stdout.split() if re.fullmatch(r"\S+:[0-9.]+", entry)]
    return samples, [(name, float(end)) for name, end in spoken]


def plain(phone: str) -> str:
    """Both phone sets in one: no stress, no reduced forms, punctuation as silence."""
    name = phone.rstrip("012").lower()
    return SILENCE if phone in PUNCTUATION else _REDUCED.get(name, name)


def pair_cost(ours: str, theirs: str) -> float:
    if ours == theirs:
        return 0.0
    if SILENCE in (ours, theirs):
        return 2 * GAP
    if (ours in VOWELS) != (theirs in VOWELS):
        return OTHER_PAIR
    return VOWEL_PAIR if ours in VOWELS else SOUND_PAIR


def align(ours: Sequence[str], theirs: Sequence[str]) -> tuple[list[int], float]:
    """For each of our phones the number of its counterpart, -1 for none; and the share of phones without one."""
    rows, columns = len(ours) + 1, len(theirs) + 1
    cost = np.zeros((rows, columns))
    cost[:, 0], cost[0] = np.arange(rows) * GAP, np.arange(columns) * GAP
    for i in range(1, rows):
        for j in range(1, columns):
            pair = cost[i - 1, j - 1] + pair_cost(ours[i - 1], theirs[j - 1])
            cost[i, j] = min(pair, cost[i - 1, j] + GAP, cost[i, j - 1] + GAP)
    found = [-1] * len(ours)
    i, j, unmatched = rows - 1, columns - 1, 0
    while i and j:
        if cost[i, j] == cost[i - 1, j - 1] + pair_cost(ours[i - 1], theirs[j - 1]):
            i, j = i - 1, j - 1
            found[i] = j
        elif cost[i, j] == cost[i - 1, j] + GAP:
            i -= 1
            unmatched += ours[i] != SILENCE
        else:
            j -= 1
            unmatched += theirs[j] != SILENCE
    unmatched += sum(name != SILENCE for name in (*ours[:i], *theirs[:j]))
    return found, unmatched / max(len(ours), 1)


def make(words: str, names: Sequence[str], ids: Sequence[int], voice: str, folder: Path) -> Utterance | None:
    """None where flite speaks something else than our phones say."""
    samples, spoken = speak(words, voice, folder)
    if len(spoken) < 3:
        return None
    counterpart, differing = align([plain(name) for name in names], [plain(name) for name, _ in spoken])
    if differing > MOST_DIFFERING:
        return None
    start = max(0.0, spoken[0][1] - EDGE_SECONDS) if spoken[0][0] == SILENCE else 0.0
    stop = len(samples) / RATE
    if spoken[-1][0] == SILENCE:
        stop = min(stop, spoken[-2][1] + EDGE_SECONDS)
    ends, now = np.zeros(len(names), np.float32), 0.0
    for index, match in enumerate(counterpart):
        if match >= 0:
            now = spoken[match][1] - start
        ends[index] = now
    ends[-1] = stop - start
    kept = samples[round(start * RATE) : round(stop * RATE)]
    return Utterance(words, np.array(ids, np.int64), kept, ends)


def _make_all(job: tuple[str, str, Sequence[str]]) -> list[Utterance]:
    voice, split, sentences = job
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for sentence in sentences:
            for words, names, ids in pieces(sentence, split):
                if any(character.isalpha() for character in words):
                    utterance = make(words, names, ids, voice, Path(folder))
                    if utterance is not None:
                        made.append(utterance)
    return made


def build(sentences: Sequence[str], voice: str, processes: int) -> list[Utterance]:
    """Four of five sentences in the pieces that the engine speaks by default, each fifth as a whole."""
    jobs = []
    for start in range(0, len(sentences), 50):
        chunk = sentences[start : start + 50]
        jobs.append((voice, "cut5", [each for index, each in enumerate(chunk) if index % 5]))
        jobs.append((voice, "cut0", chunk[::5]))
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        made = pool.map(_make_all, jobs, chunksize=1)
    return [utterance for each in made for utterance in each]


def save(utterances: Sequence[Utterance], path: Path) -> None:
    temporary = path.with_suffix(".tmp.npz")
    np.savez(
        temporary,
        texts=np.array([each.text for each in utterances]),
        phones=np.concatenate([each.phones for each in utterances]),
        ends=np.concatenate([each.ends for each in utterances]),
        phone_counts=np.array([len(each.phones) for each in utterances]),
        waves=np.concatenate([each.wave for each in utterances]),
        wave_lengths=np.array([len(each.wave) for each in utterances]),
    )
    temporary.replace(path)


def load(*paths: Path) -> list[Utterance]:
    return [utterance for path in paths for utterance in _stored(path)]


def _stored(path: Path) -> list[Utterance]:
    with np.load(path) as stored:
        of_phones = np.cumsum(stored["phone_counts"])[:-1]
        of_waves = np.cumsum(stored["wave_lengths"])[:-1]
        rows = zip(
            stored["texts"].tolist(),
            np.split(stored["phones"], of_phones),
            np.split(stored["waves"], of_waves),
            np.split(stored["ends"], of_phones),
            strict=True,
        )
        return [Utterance(*row) for row in rows]
