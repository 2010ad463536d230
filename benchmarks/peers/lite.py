"""chinokikiss/GSV-TTS-Lite, measured through its two networks' own methods, as its pipeline calls them.

    python lite.py CHECKOUT [fp32|bf16]

Its decoder forbids two tokens at the start and leaves out the first one, so its tokens are its own. It decodes until
its memory is full: the memory is made as large as the tokens that are asked for, which is the least it could have.
"""

import importlib
import logging
import sys
import time
from pathlib import Path
from typing import Any

from _serve import Clock, Done, MissingError, Work, serve
from _standins import stand_in

NOT_CALLED = (
    "torchaudio", "sounddevice", "av", "py3langid", "pysbd", "requests", "nltk", "future", "inflect", "wordsegment",
    "pypinyin", "jieba", "jieba_fast", "pyopenjtalk", "onnxruntime", "soundfile", "transformers",
)  # fmt: skip
BERT_WIDTH = 1024
CHECK_INTERVAL = 5  # its batched loop stops so many steps before its memory is full
CHUNK, OVERLAP = 25, 5  # tokens; its defaults for streaming


class Lite:
    def __init__(self, checkout: str, option: str = "fp32") -> None:
        formats = {"fp32": "float32", "bf16": "bfloat16"}
        if option not in formats:
            raise SystemExit(f"The option {option!r} is not known here; there are {', '.join(formats)}.")
        self._checkout, self._format = Path(checkout).resolve(), formats[option]
        self._clock = Clock()

    def prepare(self, *, work: str, gpt: str, sovits: str, version: str, threads: int, **_: Any) -> Done:
        started = time.perf_counter()
        if version == "v1":
            raise MissingError("it reads no v1 checkpoints")
        stood_in = stand_in(NOT_CALLED)
        sys.path.insert(0, str(self._checkout))
        sys.dont_write_bytecode = True
        import torch

        torch.set_num_threads(threads)
        self._torch, self._work = torch, Work.read(work)
        loader = importlib.import_module("gsv_tts.Loader")
        logging.getLogger().setLevel(logging.WARNING)
        config = loader.Config()
        config.device, config.dtype = torch.device("cpu"), getattr(torch, self._format)
        config.use_flash_attn, config.gpt_cache, config.sovits_cache = False, [(1, 64)], []
        self._config = config
        self._decoder = loader.get_gpt_weights(gpt, config).t2s_model
        self._network = loader.get_sovits_weights(sovits, config).vq_model
        with torch.inference_mode():
            self._decoder.ar_predict_layer.weight[self._decoder.EOS] = 0.0
            self._style = self._voice()
        self._watch()
        versions = {"torch": torch.__version__, "python": sys.version.split()[0]}
        facts = {"versions": versions, "stand_ins": stood_in, "threads": torch.get_num_threads()}
        return Done(time.perf_counter() - started, facts=facts)

    def _voice(self) -> Any:
        spectrum, speaker = self._number("spectrum"), self._number("speaker")
        return self._network.get_ge(spectrum, speaker) if speaker.numel() else self._network.get_ge(spectrum)

    def _number(self, name: str) -> Any:
        return self._torch.from_numpy(self._work[name]).to(self._config.dtype)

    def _watch(self) -> None:
        transformer, vocoder = self._decoder.t2s_transformer, self._network.dec
        transformer.process_prompt = self._clock.watched("prefill", transformer.process_prompt)
        vocoder.forward = self._clock.watched("vocoder", vocoder.forward)

    def _inputs(self, count: int, phones: int) -> tuple[list[Any], list[Any], list[Any]]:
        torch = self._torch
        prompt = torch.from_numpy(self._work["prompt_phones"])
        given = [torch.cat([prompt, torch.from_numpy(each)]) for each in self._work.sentences(count, phones)]
        prompts = [torch.from_numpy(self._work["prompt_tokens"])] * count
        features = [torch.zeros(len(each), BERT_WIDTH, dtype=self._config.dtype) for each in given]
        return given, prompts, features

    def _room(self, batch: int, positions: int) -> None:
        self._decoder.cuda_graph_buckets = {}
        self._decoder.initialize_runtime(self._config.dtype, self._config.device, [(batch, positions)])

    def decode(self, *, batch: int, phones: int, tokens: int, **_: Any) -> Done:
        given, prompts, features = self._inputs(batch, phones)
        positions = max(len(each) for each in given) + len(prompts[0]) + tokens
        self._room(batch, positions if batch == 1 else positions + CHECK_INTERVAL)
        self._clock.take()
        started = time.perf_counter()
        made = self._decoded(given, prompts, features)
        seconds = time.perf_counter() - started
        prefill = self._clock.take()["prefill"]
        parts = {"prefill": prefill, "decode": seconds - prefill}
        stepped = sum(len(each) for each in made)
        shortest = min(len(each) for each in made)
        return Done(seconds, parts, {"stepped": stepped}, {"tokens": [each[:shortest].numpy() for each in made]})

    def _decoded(self, given: list[Any], prompts: list[Any], features: list[Any]) -> list[Any]:
        """Tokens [t] of each sentence."""
        sampling = {"top_k": 1, "top_p": 1.0, "temperature": 1.0, "repetition_penalty": 1.35}
        if len(given) == 1:
            made = self._decoder.infer(given[0][None], prompts[0][None], features[0][None], **sampling)
            return [made[0, 0]]
        made, order = self._decoder.infer_batched(given, prompts, features, **sampling)
        return [each for _, each in sorted(zip(order.tolist(), made, strict=True), key=lambda pair: pair[0])]

    def render(self, *, phones: int, tokens: int, **_: Any) -> Done:
        codes = self._torch.from_numpy(self._work["tokens"][:tokens])
        text = self._torch.from_numpy(self._work.sentences(1, phones)[0])
        self._clock.take()
        started = time.perf_counter()
        wave = self._wave(codes, text, noise=0.0)
        seconds = time.perf_counter() - started
        vocoder = self._clock.take()["vocoder"]
        parts = {"vocoder": vocoder, "encoder": seconds - vocoder}
        return Done(seconds, parts, {"samples": len(wave)}, {"wave": wave})

    def _wave(self, codes: Any, phones: Any, *, noise: float, **streaming: Any) -> Any:
        audio, _ = self._network.decode(codes[None, None], phones[None], self._style, noise_scale=noise, **streaming)
        return audio[0, 0].float().numpy()

    def speech(self, *, sentences: int, phones: int, tokens: int, batch: int = 16, **_: Any) -> Done:
        """All sentences decoded together, at most `batch` at a time, and rendered one by one."""
        given, prompts, features = self._inputs(sentences, phones)
        at_once = min(batch, sentences)
        extra = 0 if sentences == 1 else CHECK_INTERVAL
        self._room(at_once, max(len(each) for each in given) + len(prompts[0]) + tokens + extra)
        started = time.perf_counter()
        first, samples = 0.0, 0
        for codes, text in zip(self._decoded(given, prompts, features), self._texts(sentences, phones), strict=True):
            samples += len(self._wave(codes, text, noise=0.5))
            first = first or time.perf_counter() - started
        return Done(time.perf_counter() - started, {"first": first}, {"samples": samples})

    def _texts(self, sentences: int, phones: int) -> list[Any]:
        return [self._torch.from_numpy(each) for each in self._work.sentences(sentences, phones)]

    def stream(self, *, phones: int, tokens: int, **_: Any) -> Done:
        """Up to the first audio of its token streaming, which is what is measured."""
        given, prompts, features = self._inputs(1, phones)
        self._room(1, len(given[0]) + len(prompts[0]) + tokens)
        text = self._texts(1, phones)[0]
        started = time.perf_counter()
        pieces = self._decoder.infer_stream(
            given[0][None], prompts[0][None], features[0][None], top_k=1, stream_chunk=CHUNK, debug=False
        )
        codes, _ = next(pieces)
        wave = self._wave(codes[0, 0], text, noise=0.5, stream_mode=True, valid_start_idx=0, overlap_len=OVERLAP)
        seconds = time.perf_counter() - started
        return Done(seconds, {"first": seconds}, {"samples": len(wave)})


if __name__ == "__main__":
    serve(Lite(*sys.argv[1:]))
