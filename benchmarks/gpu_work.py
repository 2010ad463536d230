"""The work that `benchmarks.gpu` measures, and the ways of running it that it compares."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sovits_rt.backends.cudagraph import CudaGraph
from sovits_rt.backends.resident import Resident
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.engine import Engine, sentence_noises
from sovits_rt.settings import AcousticSettings, ProcessSettings, SemanticSettings, Settings
from sovits_rt.types import Request, Segment, Sentence

SEED = 11
PHONE_IDS, TOKENS = 320, 1024  # those that every model has
TOKENS_PER_SECOND, TOKENS_PER_CHARACTER = 25, 4.29  # 1400 words of Chinese are 240 s, 5.83 characters a second
EXACT_WAVE, EXACT_LOGITS = 1e-4, 1e-3  # logits on a GPU: sums are taken in another order than in another batch
PLAIN, RESIDENT = "eager fp32", "resident fp32"
WAYS = (PLAIN, RESIDENT, "graphs fp32", "graphs bf16", "graphs fp16")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work: tokens of a sentence; slots and sentences where many are decoded; characters of a sentence;
    how many the comparison looks at."""

    phones: int
    prompt_phones: int
    prompt_tokens: int
    tokens: int
    many: int
    long: int
    characters: tuple[int, int, int]
    sentence_characters: int
    batch: int
    batch_characters: int
    first_tokens: int
    compared_sentences: int
    compared_tokens: int


FULL = Sizes(
    phones=150,
    prompt_phones=50,
    prompt_tokens=100,
    tokens=250,
    many=64,
    long=16,
    characters=(100, 500, 1000),
    sentence_characters=25,
    batch=20,
    batch_characters=100,
    first_tokens=50,
    compared_sentences=8,
    compared_tokens=100,
)


@dataclass(frozen=True, slots=True)
class Row:
    """act: does the work with an engine and returns how much was done, in units of which the row's number is the count
    per second, or, if `per_unit`, seconds per one. slots: sentences decoded together."""

    name: str
    unit: str
    act: Callable[["Work", Engine], float]
    slots: Callable[[Sizes], int]
    goal: Mapping[str, str]
    per_unit: bool = False

    def goals(self, version: str) -> str:
        return self.goal.get(version, "-")


@dataclass(slots=True)
class Ways:
    """Engines by how they run the networks; the first name is the plain way. kind: of the device, "cuda" or "rocm"."""

    version: str
    paths: ModelPaths
    kind: str
    names: Sequence[str] = WAYS
    _engines: dict[tuple[str, int], Engine] = field(default_factory=dict)

    def settings(self, name: str, slots: int) -> Settings:
        process = ProcessSettings(device=self.kind)
        semantic = SemanticSettings(slots=slots)
        if name == PLAIN:
            return Settings(process=process, semantic=semantic, acoustic=AcousticSettings(window=100))
        if name == RESIDENT:
            return Settings(
                process=process,
                semantic=replace(semantic, backend=Resident()),
                acoustic=AcousticSettings(window=100, pieces=16),
            )
        precision = name.removeprefix("graphs ")
        return Settings(
            process=process,
            semantic=replace(semantic, backend=CudaGraph(), precision=precision),
            acoustic=AcousticSettings(backend=CudaGraph(), precision=precision, window=100, pieces=16),
        )

    def engine(self, name: str, *, slots: int = 4) -> Engine:
        if (name, slots) not in self._engines:
            self._engines[name, slots] = Engine.load(self.paths, self.settings(name, slots))
        return self._engines[name, slots]

    def forget(self) -> None:
        """The next row's memory is to be its own."""
        self._engines.clear()


Outputs = Mapping[str, NDArray[Any]]


class Work:
    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes

    def outputs(self, engine: Engine) -> Outputs:
        """What is compared: drawn tokens, logits after given ones, the wave of given tokens, one sentence and many."""
        sizes, request = self.sizes, self.request(engine, self.sizes.compared_tokens)
        sentences = self.sentences(sizes.compared_sentences)
        noises = sentence_noises(sentences, SEED)
        drawn = dict(engine.decode(sentences, noises, request))
        random = np.random.default_rng(SEED)
        given = random.integers(0, TOKENS, (len(sentences), sizes.compared_tokens))
        logits = engine.forced_logits(sentences, given, request.voice, stepped=sizes.compared_tokens - 1)
        waves = [
            engine.render(each, tokens, noise, request).wave
            for each, tokens, noise in zip(sentences, given, noises, strict=True)
        ]
        together = engine.render_together(sentences, list(given), noises, request, numbers=range(len(given)))
        return {
            "tokens": np.stack([drawn[index] for index in range(len(sentences))]),
            "logits": logits,
            "wave": np.concatenate(waves),
            "together": np.concatenate([chunk.wave for chunk in together]),
        }

    def comparison(self, reference: Outputs, found: Outputs) -> dict[str, Any]:
        agreeing = int(np.cumprod(reference["tokens"] == found["tokens"], axis=1).sum())
        logits = float(np.abs(reference["logits"] - found["logits"]).max())
        best = float((reference["logits"].argmax(-1) == found["logits"].argmax(-1)).mean())
        wave = max(float(np.abs(reference["wave"] - found[key]).max()) for key in ("wave", "together"))
        noise = max(float(np.square(reference["wave"] - found[key]).sum()) for key in ("wave", "together"))
        power = float(np.square(reference["wave"]).sum())
        ratio = 10 * math.log10(power / noise) if noise and power else math.inf
        total = reference["tokens"].size
        exact = agreeing == total and wave <= EXACT_WAVE and logits <= EXACT_LOGITS
        sentence = (
            f"{'exact' if exact else 'not exact'}: {agreeing} of {total} tokens up to the first other one, "
            f"logits differ by {logits:.1e} ({best:.2%} same best), waves by {wave:.1e} ({ratio:.0f} dB)"
        )
        return {
            "exact": exact,
            "tokens": [agreeing, total],
            "logits": logits,
            "same_best": best,
            "wave": wave,
            "signal_to_noise_decibels": ratio if math.isfinite(ratio) else None,
            "sentence": sentence,
        }

    def measure(self, row: Row, engine: Engine) -> tuple[float, int]:
        """(the row's number, bytes that torch held at most)."""
        import torch

        gpu = engine.device.startswith("cuda")
        if gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        done = row.act(self, engine)
        if gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        held = int(torch.cuda.max_memory_reserved()) if gpu else 0
        return (seconds / done if row.per_unit else done / seconds), held

    def decode(self, engine: Engine, count: int, tokens: int) -> float:
        """Returns the tokens of all sentences."""
        sentences = self.sentences(count)
        request = self.request(engine, tokens)
        return float(sum(len(each) for _, each in engine.decode(sentences, sentence_noises(sentences, SEED), request)))

    def speak(self, engine: Engine, count: int, tokens: int) -> float:
        """Decode and render together what is done; returns seconds of audio."""
        sentences, request = self.sentences(count), self.request(engine, tokens)
        noises = sentence_noises(sentences, SEED)
        decoded = dict(engine.decode(sentences, noises, request))
        numbers = range(count)
        chunks = engine.render_together(
            sentences, [decoded[each] for each in numbers], noises, request, numbers=numbers
        )
        return sum(len(chunk.wave) for chunk in chunks) / engine.sample_rate

    def speak_characters(self, engine: Engine, characters: int, of_a_sentence: int) -> float:
        count = max(1, round(characters / of_a_sentence))
        self.speak(engine, count, round(of_a_sentence * TOKENS_PER_CHARACTER))
        return 1.0

    def first_audio(self, engine: Engine) -> float:
        sentences = self.sentences(1)
        next(iter(engine.speak(sentences, self.request(engine, self.sizes.first_tokens))))
        return 1.0

    def request(self, engine: Engine, tokens: int) -> Request:
        random = np.random.default_rng(SEED)
        voice = engine.invented_voice(random, self.sizes.prompt_phones, self.sizes.prompt_tokens)
        return Request("", "", voice, max_tokens=tokens, seed=SEED, end_of_speech=False)

    def sentences(self, count: int) -> Sequence[Sentence]:
        random = np.random.default_rng(SEED + 1)
        made = []
        for _ in range(count):
            ids = tuple(int(each) for each in random.integers(1, PHONE_IDS, self.sizes.phones))
            made.append(Sentence("", (Segment("", "", "", ("",) * len(ids), ids, None),)))
        return made


def _characters(place: int) -> Callable[[Work, Engine], float]:
    return lambda work, engine: work.speak_characters(
        engine, work.sizes.characters[place], work.sizes.sentence_characters
    )


def _text_slots(place: int) -> Callable[[Sizes], int]:
    return lambda sizes: min(64, max(1, round(sizes.characters[place] / sizes.sentence_characters)))


def _batch(work: Work, engine: Engine) -> float:
    sizes = work.sizes
    work.speak(engine, sizes.batch, round(sizes.batch_characters * TOKENS_PER_CHARACTER))
    return float(sizes.batch * sizes.batch_characters)


# Goals are those set for one H200, "must; reach for".
ROWS = (
    Row(
        "decode, one sentence",
        "tokens/s",
        lambda work, engine: work.decode(engine, 1, work.sizes.tokens),
        lambda _: 1,
        {"v2": "1,800; 3,000"},
    ),
    Row(
        "decode, all slots",
        "tokens/s",
        lambda work, engine: work.decode(engine, work.sizes.many, work.sizes.tokens),
        lambda sizes: sizes.many,
        {"v2": "60,000; 120,000"},
    ),
    Row(
        "long text",
        "s per s of audio",
        lambda work, engine: work.speak(engine, work.sizes.long, work.sizes.tokens),
        lambda sizes: sizes.long,
        {"v2": "0.0025; 0.0012", "v2ProPlus": "0.004; 0.002"},
        per_unit=True,
    ),
    *(
        Row(f"{count} characters", "s", _characters(place), _text_slots(place), {"v2": goal}, per_unit=True)
        for place, (count, goal) in enumerate(((100, "0.2; 0.1"), (500, "0.4; 0.15"), (1000, "0.6; 0.25")))
    ),
    Row("batch of 20", "characters/s", _batch, lambda sizes: sizes.batch, {"v2": "1,500 in 4 GB; 5,000 in 2.5 GB"}),
    Row(
        "first audio, one user",
        "s",
        lambda work, engine: work.first_audio(engine),
        lambda _: 1,
        {"v2": "0.06; 0.035"},
        per_unit=True,
    ),
)
