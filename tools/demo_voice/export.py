"""Trained networks to what the package carries: checkpoints in upstream's formats, prepared voices, a manifest."""

import json
import tempfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import soundfile
import torch
import yaml
from torch import Tensor

from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.engine import Engine
from sovits_rt.types import Voice
from sovits_rt.voices import pack
from tools.demo_voice import sizes
from tools.demo_voice.corpus import RATE, Utterance

STYLES, STYLE_SECONDS = 12, (3.2, 4.5)  # recordings whose styles are averaged
SAMPLING = {"top_k": 1, "top_p": 1.0, "temperature": 1.0, "repetition_penalty": 1.0}
VOICES = {
    "rms": ("en-rms", "US English, man"),
    "slt": ("en-slt", "US English, woman"),
}
LICENCE = "MIT; trained on speech of the flite voices cmu_us_rms and cmu_us_slt, see README.md"


def halved(weights: Mapping[str, Tensor], prefix: str = "") -> "OrderedDict[str, Tensor]":
    return OrderedDict(
        (prefix + name, value.half() if value.is_floating_point() else value) for name, value in weights.items()
    )


def export(
    folder: Path,
    *,
    t2s: Mapping[str, Tensor],
    sovits: Mapping[str, Tensor],
    hubert: Mapping[str, Tensor],
    info: str,
    speakers: Mapping[str, Sequence[Utterance]],
) -> None:
    """Write everything but the model card. info: remark in the checkpoints, such as how long they were trained."""
    (folder / "hubert").mkdir(parents=True, exist_ok=True)
    config = {"weight": halved(t2s, "model."), "config": sizes.T2S_CONFIG, "info": info}
    torch.save(config, folder / "t2s.ckpt")
    torch.save({"weight": halved(sovits), "config": sizes.SOVITS_CONFIG, "info": info}, folder / "sovits.pth")
    torch.save(halved(hubert), folder / "hubert" / "pytorch_model.bin")
    (folder / "hubert" / "config.json").write_text(json.dumps(sizes.HUBERT_CONFIG, indent=2) + "\n", encoding="utf-8")
    paths = ModelPaths(gpt=folder / "t2s.ckpt", sovits=folder / "sovits.pth", hubert=folder / "hubert")
    engine = Engine.load(paths)
    entries = {}
    for speaker, utterances in speakers.items():
        name, about = VOICES[speaker]
        (folder / f"{name}.voice").write_bytes(pack(prepared(engine, utterances)))
        entries[name] = {"file": f"{name}.voice", "about": about}
    manifest = {
        "schema": 1,
        "language": "en",
        "models": {"gpt": "t2s.ckpt", "sovits": "sovits.pth", "hubert": "hubert"},
        "sampling": SAMPLING,
        "default": next(iter(entries)),
        "voices": entries,
        "licence": LICENCE,
    }
    (folder / "voices.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")


def prepared(engine: Engine, utterances: Sequence[Utterance]) -> Voice:
    """The voice of a speaker: the mean style of several calm statements, and no prompt, which the decoder does without
    as well and faster."""
    low, high = STYLE_SECONDS
    fitting = [each for each in utterances if low < len(each.wave) / RATE < high and each.text.endswith(".")]
    chosen = sorted(fitting, key=lambda each: abs(len(each.wave) / RATE - (low + high) / 2))[:STYLES]
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place) / f"{index}.wav" for index in range(len(chosen))]
        for file, each in zip(files, chosen, strict=True):
            soundfile.write(file, each.wave, RATE)
        return engine.prepare(files)
