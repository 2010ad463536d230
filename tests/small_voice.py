"""A made-up bundle of voices: small random networks of 16 kHz in upstream's file formats, and prepared voices.

Every size that published checkpoints share is another one here. What it says is noise.
"""

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from sovits_rt import voices
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.engine import Engine
from sovits_rt.nn.hubert import Hubert, HubertConfig
from sovits_rt.nn.sovits import Sovits, SovitsNetConfig
from sovits_rt.nn.t2s import T2S, T2SConfig
from sovits_rt.types import Voice

RATE = 16_000
PHONES, TOKENS = 732, 1025
PROMPT = "We ask for patience, please."
LOUDNESS = 10.0  # untrained weights hardly make a sound
SAMPLING = {"top_k": 5, "top_p": 0.9, "temperature": 0.7, "repetition_penalty": 1.1}
DECODER = {
    "embedding_dim": 16, "hidden_dim": 16, "head": 2, "n_layer": 2, "vocab_size": TOKENS, "EOS": TOKENS - 1,
    "phoneme_vocab_size": PHONES,
}  # fmt: skip
ACOUSTIC = {
    "inter_channels": 16, "hidden_channels": 16, "filter_channels": 24, "n_heads": 2, "n_layers": 2, "kernel_size": 3,
    "gin_channels": 24, "ssl_dim": 20, "resblock": "1", "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3], [1, 3]], "upsample_rates": [10, 8, 2, 2],
    "upsample_kernel_sizes": [16, 16, 4, 2], "upsample_initial_channel": 32,
}  # fmt: skip
SPECTROGRAM = {"sampling_rate": RATE, "filter_length": 2048, "hop_length": 320, "win_length": 2048}
HUBERT = {
    "model_type": "hubert", "hidden_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 24, "conv_dim": [8] * 7, "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2], "conv_bias": False, "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4, "layer_norm_eps": 1e-5,
}  # fmt: skip


def write_models(folder: Path) -> ModelPaths:
    """t2s.ckpt, sovits.pth and hubert in `folder`, half precision."""
    torch.manual_seed(0)
    decoder = T2S(T2SConfig(width=16, heads=2, layers=2, text_vocab=PHONES, audio_vocab=TOKENS), positions=8)
    acoustic = Sovits(SovitsNetConfig.from_upstream(ACOUSTIC, phones=PHONES, style_bins=704))
    with torch.no_grad():
        acoustic.quantizer.codebook.normal_()
        acoustic.dec.conv_post.weight.mul_(LOUDNESS)
    weights = {f"model.{name}": weight for name, weight in stored(decoder).items()}
    save(folder / "t2s.ckpt", weights, {"model": DECODER, "data": {"max_sec": 54}})
    save(folder / "sovits.pth", stored(acoustic), {"model": ACOUSTIC, "data": SPECTROGRAM})
    (folder / "hubert").mkdir()
    (folder / "hubert" / "config.json").write_text(json.dumps(HUBERT))
    torch.save(stored(Hubert(HubertConfig.from_huggingface(HUBERT))), folder / "hubert" / "pytorch_model.bin")
    return ModelPaths(gpt=folder / "t2s.ckpt", sovits=folder / "sovits.pth", hubert=folder / "hubert")


def stored(network: nn.Module) -> dict[str, Tensor]:
    return {name: weight.half() for name, weight in network.state_dict().items()}


def save(path: Path, weights: dict[str, Tensor], config: dict[str, Any]) -> None:
    torch.save({"weight": weights, "config": config, "info": "random"}, path)


def table(**changed: Any) -> dict[str, Any]:
    """voices.yaml, with some keys changed; None leaves one out."""
    content = {
        "schema": 1,
        "language": "en",
        "models": {"gpt": "t2s.ckpt", "sovits": "sovits.pth", "hubert": "hubert"},
        "sampling": SAMPLING,
        "default": "en-second",
        "voices": {
            "en-first": {"file": "first.voice", "about": "A random voice"},
            "en-second": {"file": "second.voice", "about": "Another [one]"},
        },
        "licence": "as this project",
    }
    return {key: value for key, value in {**content, **changed}.items() if value is not None}


def write_table(folder: Path, **changed: Any) -> None:
    (folder / "voices.yaml").write_text(yaml.safe_dump(table(**changed)), encoding="utf-8")


def write_bundle(root: Path, recordings: dict[str, Path]) -> None:
    """A folder "small" in `root` with models and a prepared voice per recording ("first", "second")."""
    folder = root / "small"
    folder.mkdir(parents=True)
    engine = Engine.load(write_models(folder))
    for name, path in recordings.items():
        voice: Voice = engine.prepare([path], text=PROMPT, language="en")
        (folder / f"{name}.voice").write_bytes(voices.pack(voice))
    write_table(folder)
