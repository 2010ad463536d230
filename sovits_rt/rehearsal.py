"""A fixed piece of work for measuring and judging settings; see `tuning`, whose workers are the only ones to import it.

Phones, prompt and voice come from a fixed seed: speed does not depend on them. What is compared between settings is
fed with the same tokens on both sides ("forced"), so that one differing choice early on does not hide all that follows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.engine import Engine
from sovits_rt.noise import SentenceNoise
from sovits_rt.settings import Settings
from sovits_rt.types import Floats, Request, Sampling, Segment, Sentence

SEED = 20
PHONE_IDS = 320  # those that every symbol table has
SILENT_AFTER = 0.0


@dataclass(frozen=True, slots=True)
class Workload:
    """sentences of `tokens` tokens each after a prompt; then one of `long_tokens` that is only rendered."""

    sentences: int = 8
    tokens: int = 4
    phones: int = 10
    prompt_phones: int = 8
    prompt_tokens: int = 12
    long_tokens: int = 50


class Rehearsal:
    def __init__(self, paths: ModelPaths, settings: Settings, work: Workload | None = None) -> None:
        self._engine = Engine.load(paths, settings)
        self._work = Workload() if work is None else work
        generator = np.random.default_rng(SEED)
        self._generator = generator
        voice = self._engine.invented_voice(generator, self._work.prompt_phones, self._work.prompt_tokens)
        self._request = Request(
            text="",
            language="",
            voice=voice,
            sampling=Sampling(top_k=1),
            fragment_interval_seconds=SILENT_AFTER,
            noise_scale=0.5,
            max_tokens=self._work.tokens,
            end_of_speech=False,
        )
        self._sentences = [self._sentence(self._work.phones) for _ in range(self._work.sentences)]
        self._long = self._sentence(self._work.long_tokens)
        self._long_tokens = generator.integers(0, 1024, self._work.long_tokens)

    def perform(self) -> Mapping[str, np.ndarray]:
        """Speak the paragraph, render the long sentence."""
        chunks = list(self._engine.speak(self._sentences, self._request))
        noise = SentenceNoise(SEED, self._long.ids, 0)
        rendered = self._engine.render(self._long, self._long_tokens, noise, self._request)
        return {
            "tokens": np.stack([chunk.tokens for chunk in chunks]),
            "spoken": np.concatenate([chunk.wave for chunk in chunks]),
            "rendered": rendered.wave,
        }

    def forced(self, runs: int, tokens: int) -> Mapping[str, Floats]:
        """logits [runs * tokens, V]: the decoder's, reading given tokens."""
        generator = np.random.default_rng(SEED + 1)
        rows = [
            self._engine.forced_logits(self._sentences[run], generator.integers(0, 1024, tokens), self._request.voice)
            for run in range(runs)
        ]
        return {"logits": np.concatenate(rows)}

    def _sentence(self, phones: int) -> Sentence:
        ids = tuple(int(each) for each in self._generator.integers(1, PHONE_IDS, phones))
        return Sentence("", (Segment("", "", "", ("",) * phones, ids, None),))
