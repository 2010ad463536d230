"""sovits-rt as a contestant: the engine with given settings, asked for the same work as everybody else.

Runs as a process of its own (`python -m benchmarks.ours`) whose environment the settings have already decided.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autotune import knobs
from autotune.probe import probe
from benchmarks.peers._serve import Done, MissingError, Work, serve
from sovits_rt import process
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.settings import Settings
from sovits_rt.types import Request, Sampling, Segment, Sentence, Voice

PARTS = ("gpt", "sovits", "hubert", "bert", "speaker")
REFERENCE_TEXT = "This is what the recording says."
SEED = 1


class Ours:
    def prepare(self, *, work: str, settings: Mapping[str, Any], **models: Any) -> Done:
        started = time.perf_counter()
        self._settings = knobs.unflatten(Settings, settings)
        self._machine = probe()
        process.apply(self._settings.process, self._machine)
        import torch

        self._work = Work.read(work)
        self._paths = ModelPaths(**{part: Path(models[part]) for part in PARTS if models.get(part)})
        self._load(self._settings.semantic.slots)
        process.set_threads(self._settings.process, self._machine)
        versions = {"torch": torch.__version__, "python": sys.version.split()[0]}
        facts = {"versions": versions, "stand_ins": [], "threads": torch.get_num_threads()}
        return Done(time.perf_counter() - started, facts=facts)

    def _load(self, slots: int) -> None:
        """Anew only if another number of slots is wanted."""
        from sovits_rt.engine import Engine
        from sovits_rt.stopwatch import Stopwatch

        if getattr(self, "_slots", None) == slots:
            return
        self._slots, self._watch = slots, Stopwatch()
        semantic = replace(self._settings.semantic, slots=slots)
        self._engine = Engine.load(self._paths, replace(self._settings, semantic=semantic), timer=self._watch)
        work = self._work
        made_for = self._engine.invented_voice(np.random.default_rng(SEED), 1, 1).made_for
        prompt = work["prompt_phones"]
        bert = np.zeros((len(prompt), 1024), np.float32)
        self._voice = Voice(made_for, prompt, bert, work["prompt_tokens"], work["style"], work["style_text"])
        self._encoder_seconds = 0.0
        self._watch_encoder()

    def _watch_encoder(self) -> None:
        """Tells text encoder and flow from the generator, which the engine times together."""
        network = self._engine._models.sovits

        def watched(call: Any) -> Any:
            def timed(*arguments: Any, **named: Any) -> Any:
                started = time.perf_counter()
                result = call(*arguments, **named)
                self._encoder_seconds += time.perf_counter() - started
                return result

            return timed

        for name in ("encode_text", "latent"):
            setattr(network, name, watched(getattr(network, name)))

    def decode(self, *, batch: int, phones: int, tokens: int, **_: Any) -> Done:
        """With as many slots as there are sentences."""
        from sovits_rt.engine import sentence_noises

        self._load(batch)
        sentences = self._sentences(batch, phones)
        noises = sentence_noises(sentences, SEED)
        before = self._busy()
        started = time.perf_counter()
        made = dict(self._engine.decode(sentences, noises, self._request(tokens)))
        seconds = time.perf_counter() - started
        prefill, stepped = (now - then for now, then in zip(self._busy(), before, strict=True))
        parts = {"prefill": prefill, "decode": seconds - prefill}
        outputs = {"tokens": np.stack([made[index] for index in range(batch)])}
        return Done(seconds, parts, {"stepped": stepped}, outputs)

    def render(self, *, phones: int, tokens: int, **_: Any) -> Done:
        from sovits_rt.noise import SentenceNoise

        sentence = self._sentences(1, phones)[0]
        noise, request = SentenceNoise(SEED, sentence.ids, 0), replace(self._request(1), noise_scale=0.0)
        self._encoder_seconds = 0.0
        started = time.perf_counter()
        chunk = self._engine.render(sentence, self._work["tokens"][:tokens], noise, request)
        seconds = time.perf_counter() - started
        parts = {"encoder": self._encoder_seconds, "vocoder": seconds - self._encoder_seconds}
        known = parts if self._encoder_seconds else {}
        return Done(seconds, known, {"samples": len(chunk.wave)}, {"wave": chunk.wave})

    def speech(self, *, sentences: int, phones: int, tokens: int, **_: Any) -> Done:
        self._load(self._settings.semantic.slots)
        return self._spoken(self._engine.speak(self._sentences(sentences, phones), self._request(tokens)))

    def stream(self, *, sentences: int, phones: int, tokens: int, **_: Any) -> Done:
        """The first audio is the first part of the first sentence, which is rendered once its tokens are decoded."""
        self._load(self._settings.semantic.slots)
        return self._spoken(self._engine.stream(self._sentences(sentences, phones), self._request(tokens)))

    def text(self, *, text: str, language: str, tokens: int) -> Done:
        """Written text through the whole engine, so many tokens per sentence."""
        self._load(self._settings.semantic.slots)
        request = replace(self._request(tokens), text=text, language=language)
        return self._spoken(self._engine.synth(request))

    @staticmethod
    def _spoken(chunks: Any) -> Done:
        started = time.perf_counter()
        first, samples, sentences = 0.0, 0, 0
        for chunk in chunks:
            first = first or time.perf_counter() - started
            samples += len(chunk.wave)
            sentences += chunk.last
        seconds = time.perf_counter() - started
        return Done(seconds, {"first": first}, {"samples": samples, "sentences": sentences})

    def hubert(self, *, reference: str, **_: Any) -> Done:
        """From a recording's file to prompt tokens and style; nothing is cached between runs."""
        self._need("hubert")
        spoken = Sentence(REFERENCE_TEXT, self._sentences(1, 8)[0].segments)
        started = time.perf_counter()
        voice = self._engine.prepare_voice([Path(reference)], spoken)
        return Done(time.perf_counter() - started, outputs={"codes": voice.prompt_tokens})

    def bert(self, *, text: str, **_: Any) -> Done:
        self._need("bert")
        phones = 2 * len(text)
        segment = Segment(text, "zh", text, ("",) * phones, (1,) * phones, (2,) * len(text))
        started = time.perf_counter()
        found = self._engine.features(Sentence(text, (segment,)))
        return Done(time.perf_counter() - started, outputs={"features": found})

    def _need(self, part: str) -> None:
        if getattr(self._paths, part) is None:
            raise MissingError(f"no {part} was given")

    def _busy(self) -> tuple[float, int]:
        """Seconds of prefill and sentences' steps decoded, so far."""
        times = self._watch.times()
        prefill = sum(each.seconds for each in times if each.stage.value == "prefill")
        return prefill, sum(each.counts.get("rows", 0) for each in times)

    def _request(self, tokens: int) -> Request:
        greedy = Sampling(top_k=1)
        return Request(
            "", "", self._voice, sampling=greedy, max_tokens=tokens, seed=SEED, end_of_speech=False
        )  # fixed token counts: the end of speech is masked

    def _sentences(self, count: int, phones: int) -> list[Sentence]:
        made = []
        for each in self._work.sentences(count, phones):
            ids = tuple(int(number) for number in each)
            made.append(Sentence("", (Segment("", "", "", ("",) * phones, ids, None),)))
        return made


if __name__ == "__main__":
    serve(Ours())
