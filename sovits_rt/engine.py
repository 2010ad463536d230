"""Text to speech: joins the stages and holds no arithmetic.

engine = Engine.load(ModelPaths(gpt=…, sovits=…, hubert=…, bert=…))
voice = engine.prepare([Path("reference.wav")], text="What is said in it.", language="en")
for chunk in engine.synth(Request("Hello.", "en", voice)):
    play(chunk.samples, chunk.sample_rate)
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from sovits_rt import process
from sovits_rt import text as frontend
from sovits_rt.audio.files import check_is_file
from sovits_rt.audio.join import finish_sentence, whole
from sovits_rt.audio.reference import load_auxiliary, load_reference
from sovits_rt.backends import EntryPoint, Looping, memory_format
from sovits_rt.checkpoints import content_digest
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.errors import RequestError
from sovits_rt.limits import check_length
from sovits_rt.models import Models
from sovits_rt.nn.t2s import T2S
from sovits_rt.noise import Noise, SentenceNoise
from sovits_rt.overlap import Ahead, Overlap, in_order
from sovits_rt.schedule import admission_order, gathered
from sovits_rt.settings import PIECE_FRAMES, SemanticSettings, Settings
from sovits_rt.stages import frontend as bert_frontend
from sovits_rt.stages.acoustic.together import TogetherRenderer
from sovits_rt.stages.acoustic.vits import Generate, Renderer, Utterance
from sovits_rt.stages.reference import ReferenceEncoder
from sovits_rt.stages.semantic.decoder import DecodeJob, Decoder, Prefill, Step, StepCost
from sovits_rt.stages.semantic.looping import LoopingDecoder
from sovits_rt.stages.semantic.sparing import SparingDecoder
from sovits_rt.stages.semantic.turn import ALL_RESIDENT, NOISE_RESIDENT, Turn
from sovits_rt.stopwatch import UNTIMED, Stage, Timer
from sovits_rt.text import Dictionary
from sovits_rt.types import AudioChunk, Floats, Ints, Request, Sentence, Voice
from sovits_rt.voices import VoiceCache, voice_key

# Of one weight, with its share of a scale in fp32 per 32 weights.
_WEIGHT_BYTES = {"int8": 1.125, "int4": 0.625}
_TORCH_NAMES = {"cpu": "cpu", "cuda": "cuda", "rocm": "cuda", "mps": "mps"}
_MEMORY_DTYPES = {"same": None, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Engine:
    """One pair of checkpoints, run as `settings` say."""

    def __init__(self, models: Models, settings: Settings, voices: VoiceCache | None, timer: Timer = UNTIMED) -> None:
        self._models = models
        self._voices = voices
        self._timer = timer
        self._settings = settings
        self._overlap = Overlap(settings.process.overlap)
        semantic, acoustic = settings.semantic, settings.acoustic
        t2s = models.t2s.to(_weight_format(semantic.precision))
        self._semantic = SparingDecoder(_decoders(t2s, semantic, self._overlap, timer), semantic.slots)
        self._reference = ReferenceEncoder(models.sovits)
        models.sovits.dec.to(_weight_format(acoustic.precision))
        generate = acoustic.backend.compile(_vocoder_of(models.sovits.dec, acoustic.precision))
        self._renderer = Renderer(models.sovits, cast(Generate, generate), window=acoustic.window)
        self._pieces, piece = acoustic.pieces, min(acoustic.window, PIECE_FRAMES)
        self._together = TogetherRenderer(models.sovits, generate, window=piece, most=self._pieces)

    @classmethod
    def load(
        cls,
        paths: ModelPaths,
        settings: Settings | None = None,
        *,
        voice_folder: Path | None = None,
        timer: Timer = UNTIMED,
        device: str | None = None,
    ) -> "Engine":
        """settings: the defaults if not given. voice_folder: where prepared voices are kept; none are if not given.
        timer: times the stages, a `Stopwatch` for example. device: torch's name of one of several of the settings'
        kind, the first if not given.

        Raises CheckpointError for model files that can't be used.
        """
        chosen = Settings() if settings is None else settings
        process.compute_exactly()
        with timer.span(Stage.LOAD):
            chosen_device = torch.device(device or _TORCH_NAMES[chosen.process.device])
            formats = (_weight_format(stage.precision) for stage in (chosen.semantic, chosen.frontend))
            models = Models(paths, chosen_device, *formats)
            return cls(models, chosen, None if voice_folder is None else VoiceCache(voice_folder), timer)

    @property
    def models(self) -> Models:
        """The networks, for measurements that break them on purpose."""
        return self._models

    @property
    def sample_rate(self) -> int:
        """Hz of everything `synth` gives."""
        return self._models.sample_rate

    @property
    def device(self) -> str:
        """Where the decoder's weights really are, by torch's name: "cpu", "cuda:0", "mps:0"."""
        return str(self._semantic.decoder.device)

    @property
    def step_cost(self) -> StepCost:
        """What a step of the decoder must at least read."""
        return self._semantic.decoder.step_cost

    def prepare(
        self,
        references: Sequence[Path],
        *,
        text: str = "",
        language: str = "auto",
        dictionary: Dictionary | None = None,
    ) -> Voice:
        """Make a voice from recordings.

        references: the first (3 to 10 s) is the prompt; the styles of all are averaged. text: what the first one says;
        without it the voice has no prompt (prompt-free mode). Raises AudioError, TextError, CheckpointError.
        """
        return self.prepare_voice(references, self._prompt(text, language, dictionary))

    def prepare_voice(self, references: Sequence[Path], prompt: Sentence | None) -> Voice:
        """Like `prepare`, with the first recording's text as `text.prepare_prompt` gives it, or None."""
        if not references:
            raise RequestError("No reference recording was given; give at least one of 3 to 10 seconds.")
        for path in references:
            check_is_file(path)
        with self._timer.span(Stage.REFERENCE):
            key = self._voice_key(references, prompt)
            cached = self._voices.load(key) if self._voices is not None else None
            if cached is not None:
                return cached
            voice = self._new_voice(references, prompt)
            if self._voices is not None:
                self._voices.save(key, voice)
        return voice

    def _new_voice(self, references: Sequence[Path], prompt: Sentence | None) -> Voice:
        main = load_reference(references[0])
        waves = [main.wav32k, *(load_auxiliary(path) for path in references[1:])]
        with self._timer.span(Stage.LOAD):
            speaker = self._models.speaker
            hubert = None if prompt is None else self._models.hubert
        style, style_text = self._reference.style(waves, speaker)
        tokens: Ints = np.zeros(0, np.int64)
        if hubert is not None:
            tokens = self._reference.prompt_tokens(main.wav16k, hubert)
        del speaker, hubert
        self._models.forget_references()
        return Voice(
            made_for=self._models.sovits_digest,
            prompt_phones=np.array([] if prompt is None else prompt.ids, np.int64),
            prompt_bert=np.zeros((0, 1024), np.float32) if prompt is None else self.features(prompt),
            prompt_tokens=tokens,
            style=style,
            style_text=style_text,
        )

    def synth(self, request: Request, dictionary: Dictionary | None = None) -> Iterator[AudioChunk]:
        """Speak a text: one chunk per sentence, in order, each as soon as it and those before it are done.

        Raises TextError and RequestError before the first chunk.
        """
        return self.speak(self.sentences(request, dictionary), request)

    def sentences(self, request: Request, dictionary: Dictionary | None = None) -> list[Sentence]:
        """The sentences that `synth` will speak."""
        with self._timer.span(Stage.TEXT):
            return frontend.prepare(
                request.text,
                request.language,
                split=request.split,
                symbols=self._models.version.symbols,
                dictionary=dictionary,
                polyphones=self._models.polyphones,
            )

    def speak(self, sentences: Sequence[Sentence], request: Request) -> Iterator[AudioChunk]:
        """Like `synth`, for sentences that are there already; the request's text is not looked at."""
        return whole(self.stream(sentences, request))

    def stream(self, sentences: Sequence[Sentence], request: Request) -> Generator[AudioChunk, None, None]:
        """Like `speak`, but the first sentence comes in parts, each as soon as it is rendered; joined they are equal.

        Close it if its end is not waited for: sentences may be decoded on a thread of their own.
        """
        noises = sentence_noises(sentences, request.seed)

        opening = next((index for index, each in enumerate(sentences) if each.ids), 0)

        def parts(index: int, tokens: Ints) -> Iterator[AudioChunk]:
            first = self._settings.stream.first_window if index == opening else self._settings.acoustic.window
            return self._parts(sentences[index], tokens, noises[index], request, index, first)

        with self.ahead(sentences, noises, request) as finished:
            if self._pieces > 1:
                yield from self._in_groups(finished, sentences, noises, request)
            else:
                yield from in_order(finished, parts)

    def _in_groups(
        self,
        finished: Iterable[tuple[int, Ints]],
        sentences: Sequence[Sentence],
        noises: Sequence[Noise],
        request: Request,
    ) -> Iterator[AudioChunk]:
        done: dict[int, AudioChunk] = {}
        following = 0
        for group in gathered(finished, self._pieces):
            numbers, tokens = [index for index, _ in group], [tokens for _, tokens in group]
            some, their = [sentences[index] for index in numbers], [noises[index] for index in numbers]
            done |= zip(numbers, self.render_together(some, tokens, their, request, numbers=numbers), strict=True)
            while following in done:
                yield done.pop(following)
                following += 1

    def ahead(
        self, sentences: Sequence[Sentence], noises: Sequence[Noise], request: Request
    ) -> AbstractContextManager[Ahead[tuple[int, Ints]]]:
        """What `decode` gives, decoded while other work is done beside it if `process.overlap` says so."""
        return self._overlap.ahead(self.decode(sentences, noises, request))

    def decode(
        self, sentences: Sequence[Sentence], noises: Sequence[Noise], request: Request
    ) -> Generator[tuple[int, Ints], None, None]:
        """(number of the sentence, its tokens [t]) for each sentence, as they get done. Raises RequestError."""
        self._check(sentences, request.voice)
        for index, each in enumerate(sentences):
            if not each.ids:  # a pause in front of all speech
                yield index, np.zeros(0, np.int64)
        spoken = [index for index, each in enumerate(sentences) if each.ids]
        lengths = [len(sentences[index].ids) for index in spoken]
        order = admission_order(lengths, longest_first=self._settings.semantic.order == "longest")
        yield from self._semantic.decode(
            [spoken[place] for place in order],
            lambda index: self._job(index, sentences[index], noises[index], request),
        )

    def render(self, sentence: Sentence, tokens: Ints, noise: Noise, request: Request, *, index: int = 0) -> AudioChunk:
        """Tokens [t] of one sentence to sound; what `synth` does with tokens that it has just decoded."""
        if self._pieces > 1:
            return self.render_together([sentence], [tokens], [noise], request, numbers=[index])[0]
        (chunk,) = whole(self._parts(sentence, tokens, noise, request, index, self._settings.acoustic.window))
        return chunk

    def render_together(
        self,
        sentences: Sequence[Sentence],
        tokens: Sequence[Ints],
        noises: Sequence[Noise],
        request: Request,
        *,
        numbers: Sequence[int],
    ) -> list[AudioChunk]:
        """Like `render` for each sentence, whose indices are `numbers`, with pieces of all in the same runs of the
        vocoder if `acoustic.pieces` is more than 1."""
        if self._pieces == 1:
            alone = zip(sentences, tokens, noises, numbers, strict=True)
            return [self.render(each, its, noise, request, index=number) for each, its, noise, number in alone]
        said = [index for index, each in enumerate(tokens) if len(each)]
        utterances = [_utterance(sentences[index], tokens[index], noises[index], request) for index in said]
        with self._timer.span(Stage.VOCODER, tokens=sum(len(each) for each in tokens)):
            waves = dict(zip(said, self._together.render(utterances, request.voice), strict=True)) if said else {}
        nothing = np.zeros(0, np.float32)
        chunks = []
        for place, (index, sentence) in enumerate(zip(numbers, sentences, strict=True)):
            wave = waves.get(place, nothing)
            chunks.append(self._chunk(index, sentence, tokens[place], wave, request))
        return chunks

    def _parts(
        self, sentence: Sentence, tokens: Ints, noise: Noise, request: Request, index: int, first: int
    ) -> Iterator[AudioChunk]:
        """A sentence's sound, window by window; first: frames of the first one."""
        utterance = _utterance(sentence, tokens, noise, request)
        nothing: list[tuple[Floats, bool]] = [(np.zeros(0, np.float32), True)]
        waves = self._renderer.parts(utterance, request.voice, first=first) if len(tokens) else iter(nothing)
        last, part = False, 0
        while not last:
            with self._timer.span(Stage.VOCODER, tokens=0 if part else len(tokens)):
                wave, last = next(waves)
            yield self._chunk(index, sentence, tokens, wave, request, part, last)
            part += 1

    def _chunk(
        self,
        index: int,
        sentence: Sentence,
        tokens: Ints,
        wave: Floats,
        request: Request,
        part: int = 0,
        last: bool = True,
    ) -> AudioChunk:
        pause = request.fragment_interval_seconds if sentence.pause_seconds is None else sentence.pause_seconds
        with self._timer.span(Stage.OUTPUT):
            samples = finish_sentence(wave, self.sample_rate, pause if last else 0.0)
        return AudioChunk(index, sentence, tokens, wave, samples, self.sample_rate, part, last)

    def features(self, sentence: Sentence) -> Floats:
        """[n_phones, 1024]: what the decoder is told of a sentence besides its phones; zeros but for Chinese."""
        chinese = any(segment.word2ph is not None for segment in sentence.segments)
        with self._timer.span(Stage.LOAD):
            bert = self._models.bert if chinese else None
        with self._timer.span(Stage.FEATURES):
            return bert_frontend.features(sentence, bert)

    def invented_voice(self, generator: np.random.Generator, phones: int, tokens: int) -> Voice:
        """A voice of nobody, with a prompt of the given lengths: for measurements."""
        sovits = self._models.sovits.config
        return Voice(
            made_for=self._models.sovits_digest,
            prompt_phones=generator.integers(1, 320, phones),
            prompt_bert=np.zeros((phones, 1024), np.float32),
            prompt_tokens=generator.integers(0, sovits.quantizer.codes, tokens),
            style=generator.normal(scale=0.1, size=(1, sovits.style.voice, 1)).astype(np.float32),
            style_text=generator.normal(scale=0.1, size=(1, sovits.text.mixer, 1)).astype(np.float32),
        )

    def forced_logits(self, sentences: Sequence[Sentence], tokens: Ints, voice: Voice, *, stepped: int = 0) -> Floats:
        """[n, t, V]: what the decoder expects after each of the given tokens [n, t] of n sentences, with the voice's
        prompt before them.

        stepped: so many of them, the last ones, are read one by one, as when decoding.
        """
        request, noises = Request("", "", voice), sentence_noises(sentences, 0)
        jobs = [self._job(0, each, noise, request) for each, noise in zip(sentences, noises, strict=True)]
        return self._semantic.widest().forced_logits(jobs, tokens, stepped=stepped)

    def _check(self, sentences: Sequence[Sentence], voice: Voice) -> None:
        if voice.made_for != self._models.sovits_digest:
            raise RequestError("The voice was prepared with another SoVITS checkpoint; prepare it again with this one.")
        for sentence in sentences:
            check_length(sentence, len(voice.prompt_phones))

    def _job(self, index: int, sentence: Sentence, noise: Noise, request: Request) -> DecodeJob:
        voice = request.voice
        return DecodeJob(
            index=index,
            phones=np.concatenate([voice.prompt_phones, np.array(sentence.ids, np.int64)]),
            bert=np.concatenate([voice.prompt_bert, self.features(sentence)]),
            prompt_tokens=voice.prompt_tokens,
            sampling=request.sampling,
            noise=noise,
            max_tokens=min(request.max_tokens, self._models.max_tokens),
            end_of_speech=request.end_of_speech,
        )

    def _prompt(self, text: str, language: str, dictionary: Dictionary | None) -> Sentence | None:
        if not text:
            return None
        symbols = self._models.version.symbols
        with self._timer.span(Stage.TEXT):
            return frontend.prepare_prompt(
                text, language, symbols=symbols, dictionary=dictionary, polyphones=self._models.polyphones
            )

    def _voice_key(self, references: Sequence[Path], prompt: Sentence | None) -> str:
        if self._voices is None:
            return ""
        ingredients = [self._models.sovits_digest, *(content_digest(path) for path in references)]
        if self._models.version.speaker_embedding:
            ingredients.append(self._models.digest("speaker"))
        if prompt is not None:
            ingredients += [self._models.digest("hubert"), prompt.norm_text, repr(prompt.ids)]
            if any(segment.word2ph is not None for segment in prompt.segments):
                ingredients.append(self._models.digest("bert"))
        return voice_key(ingredients)


def _decoders(network: T2S, settings: SemanticSettings, overlap: Overlap, timer: Timer) -> Callable[[int], Decoder]:
    """Makes decoders of so many slots: ones that the host drives step by step, or looks at now and then, as the backend
    has it."""
    backend, precision = settings.backend, settings.precision
    step = cast(Step, overlap.stepping(backend.compile(_step_of(network, precision))))
    prefill = cast(Prefill, overlap.stepping(_prefill_of(network, settings)))
    if not isinstance(backend, Looping):
        memory_dtype, weight_bytes = _MEMORY_DTYPES[memory_format(backend)], _WEIGHT_BYTES.get(precision)
        return lambda slots: Decoder(
            network,
            step,
            prefill=prefill,
            slots=slots,
            memory_dtype=memory_dtype,
            timer=timer,
            weight_bytes=weight_bytes,
        )
    module, poll, window = Turn(network), backend.poll, backend.window
    turn = backend.compile(EntryPoint("t2s_turn", module, "forward", precision, resident=ALL_RESIDENT))
    noise = backend.compile(EntryPoint("t2s_noise", module, "make_noise", precision, resident=NOISE_RESIDENT))
    return lambda slots: LoopingDecoder(
        network, step, turn, noise, prefill=prefill, slots=slots, poll=poll, window=window, timer=timer
    )


def _weight_format(precision: str) -> torch.dtype:
    """Of a network's own weights; formats that a backend makes itself are made from fp32."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)


def _step_of(network: T2S, precision: str) -> EntryPoint:
    return EntryPoint("t2s_step", network, "step", precision, varying=("slots", "window"), resident=(3,))


def _prefill_of(network: T2S, settings: SemanticSettings) -> Prefill:
    """In the format of the network's own weights, since the whole sentence rests on it; plain where the backend has no
    way of its own."""
    precision = settings.precision if settings.precision in ("bf16", "fp16") else "fp32"
    if precision not in settings.backend.formats("t2s_prefill"):
        return network.prefill
    entry = EntryPoint("t2s_prefill", network, "prefill", precision, varying=("phones", "tokens"))
    return cast(Prefill, settings.backend.compile(entry))


def _vocoder_of(network: nn.Module, precision: str) -> EntryPoint:
    return EntryPoint("vocoder", network, "forward", precision, varying=("frames",))


def _utterance(sentence: Sentence, tokens: Ints, noise: Noise, request: Request) -> Utterance:
    return Utterance(
        tokens=tokens,
        phones=np.array(sentence.ids, np.int64),
        noise=noise,
        noise_scale=request.noise_scale,
        speed=request.speed,
    )


def sentence_noises(sentences: Sequence[Sentence], seed: int) -> list[SentenceNoise]:
    """Each sentence's own randomness; one that is said twice gets other numbers the second time."""
    said: Counter[tuple[int, ...]] = Counter()
    noises = []
    for sentence in sentences:
        noises.append(SentenceNoise(seed, sentence.ids, said[sentence.ids]))
        said[sentence.ids] += 1
    return noises
