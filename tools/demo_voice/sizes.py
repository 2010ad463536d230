"""Sizes of the voice's networks, by upstream's names: these tables are what the exported checkpoints carry."""

from typing import Any

from sovits_rt.nn.hubert import HubertConfig
from sovits_rt.nn.sovits import SovitsNetConfig
from sovits_rt.nn.t2s import T2SConfig
from sovits_rt.versions import VERSIONS

PHONES = 732
CODES = 1024
VERSION = VERSIONS["v2"]

T2S_CONFIG: dict[str, Any] = {
    "model": {
        "vocab_size": CODES + 1,
        "phoneme_vocab_size": PHONES,
        "embedding_dim": 192,
        "hidden_dim": 192,
        "head": 4,
        "linear_units": 768,
        "n_layer": 6,
        "dropout": 0,
        "EOS": CODES,
    },
    "data": {"max_sec": 20},
}
SOVITS_CONFIG: dict[str, Any] = {
    "model": {
        "inter_channels": 64,
        "hidden_channels": 96,
        "filter_channels": 256,
        "n_heads": 2,
        "n_layers": 4,
        "kernel_size": 3,
        "p_dropout": 0.0,
        "resblock": "1",
        "resblock_kernel_sizes": [3, 7],
        "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5]],
        "upsample_rates": [8, 5, 8],
        "upsample_initial_channel": 256,
        "upsample_kernel_sizes": [16, 11, 16],
        "gin_channels": 128,
        "ssl_dim": 128,
        "semantic_frame_rate": "25hz",
        "version": "v2",
    },
    # The style is always read from 32 kHz audio with these lengths; the rate is that of the voice.
    "data": {"sampling_rate": 16000, "filter_length": 2048, "hop_length": 640, "win_length": 2048},
}
HUBERT_CONFIG: dict[str, Any] = {
    "model_type": "hubert",
    "hidden_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 384,
    "conv_dim": [32, 48, 64, 96, 96, 128, 128],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_bias": False,
    "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 8,
    "layer_norm_eps": 1e-5,
    "feat_extract_norm": "group",
    "feat_extract_activation": "gelu",
    "feat_proj_layer_norm": True,
    "hidden_act": "gelu",
    "do_stable_layer_norm": False,
}


def t2s() -> T2SConfig:
    model = T2S_CONFIG["model"]
    return T2SConfig(
        width=model["hidden_dim"],
        heads=model["head"],
        layers=model["n_layer"],
        text_vocab=PHONES,
        audio_vocab=model["vocab_size"],
    )


def sovits() -> SovitsNetConfig:
    return SovitsNetConfig.from_upstream(SOVITS_CONFIG["model"], phones=PHONES, style_bins=VERSION.style_bins)


def hubert() -> HubertConfig:
    return HubertConfig.from_huggingface(HUBERT_CONFIG)
