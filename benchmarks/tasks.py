"""What contestants are asked to do, and which figures their answers give.

A figure's cost is seconds (or bytes) per piece of work, so that ratios of costs compare contestants even if one did a
few tokens more; `shown` turns it into what people read: tokens per second, real-time factor, seconds, MiB.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.contestants import Answer

SAMPLES_PER_TOKEN, SAMPLE_RATE = 1280, 32_000
TOKENS_PER_SECOND = 25
# 100 characters of Chinese are 17.2 s of speech: 5.83 characters per second, 4.29 tokens and 2 phones per character.
CHARACTERS_PER_SENTENCE, TOKENS_PER_CHARACTER, PHONES_PER_CHARACTER = 25, 4.29, 2
LONG_CHARACTERS = 500
UNITS: Mapping[str, Callable[[float], float]] = {
    "tokens/s": lambda cost: 1 / cost,
    "RTF": lambda cost: cost,
    "s": lambda cost: cost,
    "MiB": lambda cost: cost / 2**20,
}


@dataclass(frozen=True, slots=True)
class Figure:
    """cost: of an answer, None if it does not tell. unit: one of UNITS."""

    name: str
    unit: str
    cost: Callable[[Answer], float | None]


@dataclass(frozen=True, slots=True)
class Task:
    """do, arguments: as asked. fresh: in a new process each time, timed from its start. compared: the output that is
    held against the reference's, "" for none. long: it takes so long that the first run counts and one is enough."""

    name: str
    do: str
    arguments: Mapping[str, int | str]
    figures: tuple[Figure, ...]
    compared: str = ""
    fresh: bool = False
    long: bool = False


def decoding(batch: int, *, phones: int = 100, tokens: int = 0) -> Task:
    """So many sentences decoded together, of `tokens` each; 0: fewer the more there are. Prefill is timed by itself,
    the rate is that of the steps after it."""
    tokens = tokens or max(8, 64 // (1 + int(math.log2(batch))))
    rate = Figure(f"T2S, batch {batch}", "tokens/s", lambda answer: answer.parts["decode"] / answer.counts["stepped"])
    prefill = Figure("T2S prefill, 250 positions", "s", lambda answer: answer.parts["prefill"])
    figures = (prefill, rate) if batch == 1 else (rate,)
    return Task(
        f"decode-{batch}", "decode", {"batch": batch, "phones": phones, "tokens": tokens}, figures, compared="tokens"
    )


def rendering(*, phones: int = 100, tokens: int = 250) -> Task:
    """Tokens to waveform, without noise."""
    seconds = tokens / TOKENS_PER_SECOND

    def part(name: str) -> Callable[[Answer], float | None]:
        return lambda answer: answer.parts[name] / seconds if name in answer.parts else None

    figures = (
        Figure("text encoder and flow", "RTF", part("encoder")),
        Figure("vocoder", "RTF", part("vocoder")),
        Figure("tokens to waveform", "RTF", lambda answer: answer.seconds / seconds),
    )
    return Task("render", "render", {"phones": phones, "tokens": tokens}, figures, compared="wave")


def speaking(name: str, title: str, *, sentences: int, phones: int, tokens: int) -> Task:
    """From phones to audio."""
    seconds = sentences * tokens / TOKENS_PER_SECOND
    figures = (Figure(title, "RTF", lambda answer: answer.seconds / seconds),)
    return Task(name, "speech", {"sentences": sentences, "phones": phones, "tokens": tokens}, figures)


def one_user(*, tokens: int = 250) -> Task:
    title = f"end to end, 1 user, {tokens / TOKENS_PER_SECOND:.2g} s"
    return speaking("one-user", title, sentences=1, phones=100, tokens=tokens)


def long_text(*, sentences: int = 16, tokens: int = 50) -> Task:
    title = f"long text, {sentences} sentences of {tokens / TOKENS_PER_SECOND:.2g} s"
    return speaking("long-text", title, sentences=sentences, phones=40, tokens=tokens)


def characters(count: int) -> Task:
    """So many characters of Chinese, in sentences of 25; the figure is the time until all is there."""
    per_sentence = min(count, CHARACTERS_PER_SENTENCE)
    arguments = {
        "sentences": max(1, round(count / per_sentence)),
        "phones": PHONES_PER_CHARACTER * per_sentence,
        "tokens": round(TOKENS_PER_CHARACTER * per_sentence),
    }
    figures = (Figure(f"{count} characters", "s", lambda answer: answer.seconds),)
    return Task(f"characters-{count}", "speech", arguments, figures, long=count >= LONG_CHARACTERS)


def first_audio(*, sentences: int = 3, phones: int = 40, tokens: int = 50) -> Task:
    """Sentences of 2 s, streamed in each contestant's fastest way."""
    figures = (Figure("first audio", "s", lambda answer: answer.parts["first"]),)
    return Task("first-audio", "stream", {"sentences": sentences, "phones": phones, "tokens": tokens}, figures)


def start(*, tokens: int = 50) -> Task:
    """A new process up to its first 2 s of audio, and the most memory that it took."""
    speech = tokens / TOKENS_PER_SECOND
    figures = (
        Figure(f"process to first {speech:.0f} s of audio", "s", lambda answer: answer.seconds),
        Figure(f"peak memory, {speech:.0f} s of audio", "MiB", lambda answer: float(answer.peak_bytes)),
    )
    return Task(f"start-{tokens}", "speech", {"sentences": 1, "phones": 40, "tokens": tokens}, figures, fresh=True)


def memory(*, tokens: int = 500) -> Task:
    """Tokens to waveform in a new process: what a long sentence costs."""
    title = f"peak memory, {tokens / TOKENS_PER_SECOND:.0f} s rendered in one piece"
    figures = (Figure(title, "MiB", lambda answer: float(answer.peak_bytes)),)
    return Task(f"memory-{tokens}", "render", {"phones": 200, "tokens": tokens}, figures, fresh=True)


def reference(recording: str) -> Task:
    figures = (Figure("HuBERT and style of a reference", "s", lambda answer: answer.seconds),)
    return Task("hubert", "hubert", {"reference": recording}, figures, compared="codes")


def features(text: str) -> Task:
    figures = (Figure(f"BERT, {len(text)} characters", "s", lambda answer: answer.seconds),)
    return Task("bert", "bert", {"text": text}, figures, compared="features")


def growth(count: int, text: str) -> Task:
    """Written English text through the whole engine, six tokens (0.24 s) per sentence."""
    figures = (
        Figure(f"{count} characters, time", "s", lambda answer: answer.seconds),
        Figure(f"{count} characters, peak memory", "MiB", lambda answer: float(answer.peak_bytes)),
    )
    arguments: Mapping[str, int | str] = {"text": text, "language": "en", "tokens": 6}
    return Task(f"growth-{count}", "text", arguments, figures, long=count > LONG_CHARACTERS)
