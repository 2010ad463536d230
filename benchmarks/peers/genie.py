"""High-Logic/Genie-TTS, measured through its own engine class with phones and prepared references.

    python genie.py CHECKOUT [OPTION]

Its sampling (top-k 15 with its own noise) and the vocoder's noise are inside its graphs, so its tokens and waves are
its own; it decodes one sentence at a time. Its loop is stopped after the tokens that are asked for.
"""

import importlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from _serve import Clock, Done, MissingError, Work, serve
from _standins import stand_in

NOT_CALLED = (
    "sounddevice", "fastapi", "uvicorn", "pydantic", "huggingface_hub", "pyopenjtalk", "nltk", "pypinyin", "g2pM",
    "jieba_fast", "jamo", "ko_pron", "g2pk2", "eunjeon", "soxr", "soundfile", "yaml", "rich",
)  # fmt: skip
BERT_WIDTH, HUBERT_WIDTH = 1024, 768
MODEL = "measured"
STOP = 2  # which output of its step says that the speech is over


class UntilEnough:
    """Its step's session, which says stop after so many steps and not before."""

    def __init__(self, session: Any, steps: int) -> None:
        self._session, self._left = session, steps

    def get_inputs(self) -> Any:
        return self._session.get_inputs()

    def run(self, names: Any, feed: Any) -> Any:
        outputs = list(self._session.run(names, feed))
        self._left -= 1
        outputs[STOP] = self._left <= 0
        return outputs


class Watched:
    """A session whose time is added up."""

    def __init__(self, session: Any, clock: Clock, part: str) -> None:
        self._session, self._clock, self._part = session, clock, part

    def run(self, names: Any, feed: Any) -> Any:
        with self._clock.part(self._part):
            return self._session.run(names, feed)


class Genie:
    def __init__(self, checkout: str, option: str = "") -> None:
        if option:
            raise SystemExit(f"The option {option!r} is not known here; this peer has none.")
        self._checkout = Path(checkout).resolve()
        self._clock = Clock()

    def convert(self, *, gpt: str, sovits: str, version: str, cache: str, **_: Any) -> Done:
        """Its own converter, once per pair of checkpoints; not timed with anything."""
        folder = self._converted(cache, version)
        if version not in ("v2", "v2ProPlus"):
            raise MissingError(f"its converter makes v2 and v2ProPlus models, not {version}")
        if not (folder / "vits_fp32.onnx").exists():
            folder.mkdir(parents=True, exist_ok=True)
            self._enter(folder.parent)
            importlib.import_module("genie_tts.Converter.Converter").convert(gpt, sovits, str(folder))
        return Done()

    def prepare(self, *, work: str, threads: int, version: str, cache: str, **_: Any) -> Done:
        started = time.perf_counter()
        folder = self._converted(cache, version)
        if not (folder / "vits_fp32.onnx").exists():
            raise MissingError("its converter made no models of these checkpoints")
        stood_in = self._enter(folder.parent)
        self._work = Work.read(work)
        manager = importlib.import_module("genie_tts.ModelManager").model_manager
        if not manager.load_character(MODEL, str(folder), "english"):
            raise RuntimeError("its own loader refused the converted models")
        self._model = manager.get(MODEL)
        self._engine = importlib.import_module("genie_tts.Core.Inference").GENIE()
        self._voice = self._condition()
        import onnxruntime

        versions = {"onnxruntime": onnxruntime.__version__, "python": sys.version.split()[0]}
        own_threads = "onnxruntime's default, one per core"
        facts = {"versions": versions, "stand_ins": stood_in, "threads": own_threads}
        return Done(time.perf_counter() - started, facts=facts)

    @staticmethod
    def _converted(cache: str, version: str) -> Path:
        return Path(cache) / f"genie-{version}"

    def _enter(self, folder: Path) -> list[str]:
        """It asks on standard input for a folder of data unless there is one; nothing in it is read here."""
        data = folder / "genie-data"
        (data / "chinese-hubert-base").mkdir(parents=True, exist_ok=True)
        (data / "speaker_encoder.onnx").touch()
        os.environ["GENIE_DATA_DIR"] = str(data)
        os.chdir(folder)
        sys.path.insert(0, str(self._checkout / "src"))
        sys.dont_write_bytecode = True
        return stand_in(NOT_CALLED)

    def _condition(self) -> dict[str, Any]:
        """What its vocoder is told of the voice."""
        wave = self._work["wave32k"][None]
        if self._model.PROMPT_ENCODER is None:
            return {"ref_audio": wave}
        given = {"ref_audio": wave, "sv_emb": self._work["speaker"]}
        voice, voice_text = self._model.PROMPT_ENCODER.run(None, given)
        return {"ge": voice, "ge_advanced": voice_text}

    def decode(self, *, batch: int, phones: int, tokens: int, **_: Any) -> Done:
        if batch > 1:
            raise MissingError("it decodes one sentence at a time")
        self._clock.take()
        started = time.perf_counter()
        made = self._tokens(self._work.sentences(1, phones)[0], tokens)
        seconds = time.perf_counter() - started
        prefill = sum(self._clock.take().values())
        parts = {"prefill": prefill, "decode": seconds - prefill}
        return Done(seconds, parts, {"stepped": tokens}, {"tokens": made.reshape(1, -1)})

    def _tokens(self, phones: Any, tokens: int) -> Any:
        import numpy as np

        prompt, steps = self._work["prompt_phones"][None], UntilEnough(self._model.T2S_STAGE_DECODER, tokens)
        return self._engine.t2s_cpu(
            ref_seq=prompt,
            ref_bert=np.zeros((prompt.shape[1], BERT_WIDTH), np.float32),
            text_seq=phones[None],
            text_bert=np.zeros((len(phones), BERT_WIDTH), np.float32),
            ssl_content=np.zeros((1, HUBERT_WIDTH, 2 * len(self._work["prompt_tokens"])), np.float32),
            encoder=Watched(self._model.T2S_ENCODER, self._clock, "encoder"),
            first_stage_decoder=Watched(self._model.T2S_FIRST_STAGE_DECODER, self._clock, "first"),
            stage_decoder=steps,
        )

    def render(self, *, phones: int, tokens: int, **_: Any) -> Done:
        started = time.perf_counter()
        wave = self._wave(self._work["tokens"][:tokens][None, None], self._work.sentences(1, phones)[0])
        seconds = time.perf_counter() - started
        return Done(seconds, {}, {"samples": len(wave)}, {"wave": wave})

    def _wave(self, tokens: Any, phones: Any) -> Any:
        feed = {"text_seq": phones[None], "pred_semantic": tokens, **self._voice}
        return self._model.VITS.run(None, feed)[0].reshape(-1)

    def speech(self, *, sentences: int, phones: int, tokens: int, **_: Any) -> Done:
        """One sentence after the other."""
        started = time.perf_counter()
        first, samples = 0.0, 0
        for each in self._work.sentences(sentences, phones):
            samples += len(self._wave(self._tokens(each, tokens), each))
            first = first or time.perf_counter() - started
        return Done(time.perf_counter() - started, {"first": first}, {"samples": samples})


if __name__ == "__main__":
    serve(Genie(*sys.argv[1:]))
