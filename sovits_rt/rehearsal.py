"""A fixed piece of work for measuring and judging settings; see `tuning`, whose workers are the only ones to import it.

Phones, prompt and voice come from a fixed seed: speed does not depend on them. What is compared between settings is
fed with the same tokens on both sides ("forced"), so that one differing choice early on does not hide all that follows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.engine import Engine, sentence_noises
from sovits_rt.settings import Settings
from sovits_rt.types import Floats, Request, Sampling, Segment, Sentence

SEED = 20
PHONE_IDS = 320  # those that every symbol table has
TOKENS = 1024


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
        self._engine = Engine.load(paths, settings)
        self._generator = np.random.default_rng(SEED)
        self._request = Request(
            text="",
            language="",
            voice=self._engine.invented_voice(self._generator, work.prompt_phones, work.prompt_tokens),
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
        decoded = dict(self._engine.decode(self._sentences, self._noises, self._request))
        chunk = self._engine.render(self._long, self._long_tokens, self._noises[0], self._request)
        return {"tokens": np.stack([decoded[index] for index in range(len(decoded))]), "wave": chunk.wave}

    def forced(self, runs: int, tokens: int, stepped: int) -> Mapping[str, Floats]:
        """The decoder's logits, reading given tokens: read [runs * (tokens - stepped), V] of those that are read
        together, stepped [runs * stepped, V] of the last ones of each run, which are read one by one."""
        given = np.random.default_rng(SEED + 1).integers(0, TOKENS, (runs, tokens))
        voice = self._request.voice
        logits = self._engine.forced_logits(self._sentences[:runs], given, voice, stepped=stepped)
        parts = {"read": logits[:, : tokens - stepped], "stepped": logits[:, tokens - stepped :]}
        return {name: part.reshape(-1, part.shape[-1]) for name, part in parts.items()}

    def _sentence(self, phones: int) -> Sentence:
        ids = tuple(int(each) for each in self._generator.integers(1, PHONE_IDS, phones))
        return Sentence("", (Segment("", "", "", ("",) * phones, ids, None),))
