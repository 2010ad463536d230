"""The values that travel between the stages. numpy only: no torch, no text, no files."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sovits_rt.errors import RequestError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one sentence in one language, as the text frontend made it.

    text: what came in. norm_text: what is spoken, numbers written out.
    phones / ids: [n] phone names and their numbers in the symbol table.
    word2ph: phones per character of norm_text, for languages with BERT features (Chinese), else None.
    """

    text: str
    lang: str
    norm_text: str
    phones: tuple[str, ...]
    ids: tuple[int, ...]
    word2ph: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Sentence:
    """One unit of synthesis: decoded and rendered on its own.

    pause_seconds: silence after it that the text asked for, or None for the request's fragment interval.
    """

    text: str
    segments: tuple[Segment, ...]
    pause_seconds: float | None = None

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(i for segment in self.segments for i in segment.ids)

    @property
    def norm_text(self) -> str:
        return "".join(segment.norm_text for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn; upstream's defaults.

    top_k >= 1 (1 is greedy), 0 < top_p <= 1, temperature > 0, repetition_penalty > 0.
    """

    top_k: int = 15
    top_p: float = 1.0
    temperature: float = 1.0
    repetition_penalty: float = 1.35

    def __post_init__(self) -> None:
        require("top_k", self.top_k, self.top_k >= 1, "a whole number of at least 1")
        require("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1")
        require("temperature", self.temperature, 0 < self.temperature <= 100, "above 0 and at most 100")
        penalty = self.repetition_penalty
        require("repetition_penalty", penalty, 0 < penalty <= 100, "above 0 and at most 100")


@dataclass(frozen=True, slots=True)
class Voice:
    """Everything that a reference recording and its text give; made once, cacheable, for one pair of checkpoints.

    made_for: digest of the networks that made it. prompt_phones [p], prompt_bert [p, 1024] and prompt_tokens [c]
    (25 Hz) are empty in prompt-free mode. style [1, gin, 1] conditions flow and generator, style_text [1, mixer, 1]
    the text encoder; gin and mixer are the checkpoint's sizes, 512 and 512 in the published v2.
    """

    made_for: str
    prompt_phones: Ints
    prompt_bert: Floats
    prompt_tokens: Ints
    style: Floats
    style_text: Floats


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asks for.

    split: cut0 … cut5. speed: 0.3 to 3, 2 is twice as fast. fragment_interval_seconds: silence after each sentence.
    noise_scale: 0 (deterministic) to 2; upstream uses 0.5. max_tokens: cap per sentence (25 tokens are a second).
    seed: the same seed, text and voice give the same audio, whatever else is being spoken beside it.
    end_of_speech: False decodes max_tokens tokens and never stops earlier (for measurements).
    """

    text: str
    language: str
    voice: Voice
    split: str = "cut5"
    sampling: Sampling = field(default_factory=Sampling)
    speed: float = 1.0
    fragment_interval_seconds: float = 0.3
    noise_scale: float = 0.5
    max_tokens: int = 1499
    seed: int = 0
    end_of_speech: bool = True

    def __post_init__(self) -> None:
        require("speed", self.speed, 0.3 <= self.speed <= 3, "between 0.3 and 3")
        pause = self.fragment_interval_seconds
        require("fragment_interval_seconds", pause, 0 <= pause <= 60, "between 0 and 60 seconds")
        require("noise_scale", self.noise_scale, 0 <= self.noise_scale <= 2, "between 0 and 2")
        require("max_tokens", self.max_tokens, 1 <= self.max_tokens <= 1499, "between 1 and 1499 (60 s of speech)")
        require("seed", self.seed, 0 <= self.seed < 2**63, "a whole number from 0 to 2^63 - 1")


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """A finished sentence, or a part of one.

    samples: [n] float32 as heard: limited to 1.0, pause included. wave: [m] the generator's output before that.
    tokens: [t] the sentence's semantic tokens, in each of its parts. index counts sentences from 0, part those of a
    sentence; last: the sentence ends with it.
    """

    index: int
    sentence: Sentence
    tokens: Ints
    wave: Floats
    samples: Floats
    sample_rate: int
    part: int = 0
    last: bool = True


def require(name: str, value: object, holds: bool, allowed: str) -> None:
    """Raise RequestError unless `holds`; written so that NaN fails every comparison."""
    if not holds:
        raise RequestError(f"{name} is {value!r}, but it must be {allowed}.")
