"""Speaks the golden cases: engines by checkpoint, voices, requests, and upstream's recorded noise."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.engine import Engine
from sovits_rt.settings import Settings
from sovits_rt.types import AudioChunk, Floats, Request, Sampling, Voice


@dataclass(frozen=True)
class RecordedNoise:
    """Upstream's own numbers. steps: sampling call -> exponential numbers; latent: [channels, frames]."""

    steps: dict[int, Floats] = field(default_factory=dict)
    normal: Floats | None = None

    def token(self, step: int, size: int) -> Floats:
        if not self.steps:
            return np.ones(size, np.float32)  # greedy: whatever it is, it changes nothing
        assert self.steps[step].shape == (size,), "upstream drew another number of numbers"
        return self.steps[step]

    def latent(self, frames: int, channels: int) -> Floats:
        if self.normal is None:
            return np.full((channels, frames), 1e6, np.float32)  # noise 0: it must not be heard
        assert self.normal.shape == (channels, frames)
        return self.normal


class Speaker:
    """pack: the golden results and checkpoints."""

    def __init__(self, pack: Any) -> None:
        self.pack = pack
        self._engines: dict[tuple[Any, ...], Engine] = {}
        self._voices: dict[tuple[str, ...], Voice] = {}

    def paths(self, case: Any) -> ModelPaths:
        """Small HuBERT and RoBERTa belong to the cases of every size."""
        needs_speaker = "Pro" in case.meta["sovits"]
        return ModelPaths(
            gpt=self.pack.checkpoint(case.meta["t2s"]),
            sovits=self.pack.checkpoint(case.meta["sovits"]),
            hubert=self.pack.checkpoint("hubert"),
            bert=self.pack.checkpoint("bert"),
            speaker=self.pack.checkpoint("sv") if needs_speaker else None,
        )

    def engine(self, case: Any, settings: Settings | None = None) -> Engine:
        chosen = Settings() if settings is None else settings
        key = (case.meta["t2s"], case.meta["sovits"], chosen)
        if key not in self._engines:
            self._engines[key] = Engine.load(self.paths(case), chosen)
        return self._engines[key]

    def voice(self, case: Any) -> Voice:
        """Made once for all cases with the same references, prompt and SoVITS."""
        asked = case.meta["request"]
        references = self.references(case)
        key = (case.meta["sovits"], asked["prompt_text"], *map(str, references))
        if key not in self._voices:
            language = asked["prompt_lang"] or "zh"
            self._voices[key] = self.engine(case).prepare(references, text=asked["prompt_text"], language=language)
        return self._voices[key]

    def references(self, case: Any) -> list[Path]:
        return [self.pack.wav(name) for name in (case.meta["ref"], *case.meta.get("aux", []))]

    def request(self, case: Any, voice: Voice, **changes: Any) -> Request:
        """As upstream was asked, with noise 0."""
        asked = case.meta["request"]
        given = {
            "text": asked["text"],
            "language": asked["text_lang"],
            "voice": voice,
            "split": asked["text_split_method"],
            "sampling": Sampling(asked["top_k"], asked["top_p"], asked["temperature"], asked["repetition_penalty"]),
            "speed": asked["speed_factor"],
            "fragment_interval_seconds": asked["fragment_interval"],
            "noise_scale": 0.0,
            "max_tokens": case.meta["early_stop_num"],
        }
        return Request(**{**given, **changes})


def noise_of(case: Any, *, first_call: int = 0) -> RecordedNoise:
    """What upstream drew for the tokens of a case with one sentence."""
    return RecordedNoise({step - first_call: case[f"q_step{step}"][0] for step in case.steps("q_step")})


def speak(engine: Engine, request: Request, noise: RecordedNoise | None = None) -> list[AudioChunk]:
    """Every sentence of a request, with recorded noise instead of the request's seed."""
    sentences = engine.sentences(request)
    noises = [noise or RecordedNoise()] * len(sentences)
    done = dict(engine.decode(sentences, noises, request))
    return [
        engine.render(each, done[index], noises[index], request, index=index) for index, each in enumerate(sentences)
    ]
