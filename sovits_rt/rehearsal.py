"""A fixed piece of work for measuring and judging settings; see `tuning`, whose workers are the only ones to import it.

Phones, prompt and voice come from a fixed seed: speed does not depend on them. What is compared between settings is
fed with the same tokens on both sides ("forced"), so that one differing choice early on does not hide all that follows.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.engine import Engine, sentence_noises
from sovits_rt.settings import FIRST_WINDOWS, Settings
from sovits_rt.types import AudioChunk, Floats, Request, Sampling, Segment, Sentence

SEED = 20
PHONE_IDS = 320  # those that every symbol table has
TOKENS = 1024
FRAMES_PER_SECOND = 50


@dataclass(frozen=True, slots=True)
class Workload:
    """A paragraph of `sentences` with `tokens` tokens each, only decoded, and one sentence that is only rendered.

    The rendered one has as many tokens as the paragraph, so that both halves weigh as in real speech.
    """

    sentences: int
    tokens: int
    phones: int
    prompt_phones: int
    prompt_tokens: int


BRIEF = Workload(sentences=8, tokens=3, phones=8, prompt_phones=4, prompt_tokens=4)
FULL = Workload(sentences=16, tokens=3, phones=10, prompt_phones=8, prompt_tokens=8)


class Rehearsal:
    def __init__(self, paths: ModelPaths, settings: Settings, work: Workload) -> None:
        self.engine = Engine.load(paths, settings)
        self._generator = np.random.default_rng(SEED)
        self.request = Request(
            text="",
            language="",
            voice=self.engine.invented_voice(self._generator, work.prompt_phones, work.prompt_tokens),
            sampling=Sampling(top_k=1),
            max_tokens=work.tokens,
            end_of_speech=False,
        )
        self._sentences = [self._sentence(work.phones) for _ in range(work.sentences)]
        self._noises = sentence_noises(self._sentences, SEED)
        self._long = self._sentence(work.sentences * work.tokens)
        self._long_tokens = self._generator.integers(0, TOKENS, work.sentences * work.tokens)

    def perform(self) -> Mapping[str, NDArray[Any]]:
        """tokens [sentences, tokens] of the paragraph, wave [samples] of the rendered sentence."""
        with self.engine.ahead(self._sentences, self._noises, self.request) as finished:
            (chunk,) = finished.beside(self._rendered())
            decoded = dict(finished)
        return {"tokens": np.stack([decoded[index] for index in range(len(decoded))]), "wave": chunk.wave}

    def _rendered(self) -> Iterator[AudioChunk]:
        yield self.engine.render(self._long, self._long_tokens, self._noises[0], self.request)

    def first_audio(self) -> Mapping[str, NDArray[Any]]:
        """tokens [1, tokens] of a paragraph's first sentence and the wave [samples] that is heard first of it; others
        are decoded beside it until then, as when a text is spoken."""
        with closing(self.engine.stream(self._sentences, self.request)) as stream:
            first = next(stream)
        samples = min(FIRST_WINDOWS) * self.engine.sample_rate // FRAMES_PER_SECOND  # what every first window has
        return {"tokens": first.tokens[None], "wave": first.wave[:samples]}

    def one_sentence(self) -> Mapping[str, NDArray[Any]]:
        """tokens [1, tokens] and wave [samples] of the long sentence, decoded and rendered alone."""
        request = replace(self.request, max_tokens=len(self._long_tokens))
        noises = sentence_noises([self._long], SEED)
        ((_, tokens),) = self.engine.decode([self._long], noises, request)
        return {"tokens": tokens[None], "wave": self.engine.render(self._long, tokens, noises[0], request).wave}

    def forced(self, runs: int, tokens: int, stepped: int) -> Mapping[str, Floats]:
        """The decoder's logits, reading given tokens: read [runs * (tokens - stepped), V] of those that are read
        together, stepped [runs * stepped, V] of the last ones of each run, which are read one by one."""
        given = np.random.default_rng(SEED + 1).integers(0, TOKENS, (runs, tokens))
        sentences = [self._sentences[number % len(self._sentences)] for number in range(runs)]
        logits = self.engine.forced_logits(sentences, given, self.request.voice, stepped=stepped)
        parts = {"read": logits[:, : tokens - stepped], "stepped": logits[:, tokens - stepped :]}
        return {name: part.reshape(-1, part.shape[-1]) for name, part in parts.items()}

    def _sentence(self, phones: int) -> Sentence:
        ids = tuple(int(each) for each in self._generator.integers(1, PHONE_IDS, phones))
        return Sentence("", (Segment("", "", "", ("",) * phones, ids, None),))
