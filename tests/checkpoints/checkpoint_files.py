"""Small model files in upstream's formats, and attacks, written for the tests."""

import io
import json
import pickle
import struct
import sys
import types
import zipfile
from pathlib import Path

import torch
from torch import Tensor

MODEL = {
    "inter_channels": 192, "hidden_channels": 192, "filter_channels": 128, "n_heads": 2, "n_layers": 2,
    "kernel_size": 3, "p_dropout": 0.1, "resblock": "1", "resblock_kernel_sizes": [3, 7],
    "resblock_dilation_sizes": [[1, 3], [1, 3]], "upsample_rates": [80, 8], "upsample_initial_channel": 512,
    "upsample_kernel_sizes": [16, 16], "gin_channels": 512,
}  # fmt: skip
DATA = {"sampling_rate": 32000, "filter_length": 2048, "hop_length": 640, "win_length": 2048, "mel_fmax": None}
T2S_MODEL = {
    "vocab_size": 1025, "phoneme_vocab_size": 732, "embedding_dim": 8, "hidden_dim": 8, "head": 2, "n_layer": 1,
    "EOS": 1024,
}  # fmt: skip
PHONES = "enc_p.text_embedding.weight"
T2S_PHONES = "model.ar_text_embedding.word_embeddings.weight"


class HParams:
    """Pickles as upstream's class does: an instance of HParams of a top-level module named utils."""

    def __init__(self, **values: object) -> None:
        for key, value in values.items():
            self.__dict__[key] = HParams(**value) if isinstance(value, dict) else value


def saved(value: object, legacy: bool = False) -> bytes:
    """What torch.save writes for a value that may hold HParams."""
    module = types.ModuleType("utils")
    HParams.__module__, HParams.__qualname__, module.HParams = "utils", "HParams", HParams  # type: ignore[attr-defined]
    before = sys.modules.get("utils")
    sys.modules["utils"] = module
    try:
        buffer = io.BytesIO()
        torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
        return buffer.getvalue()
    finally:
        del sys.modules["utils"]
        if before is not None:
            sys.modules["utils"] = before


def half(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7)).half()


def t2s_content(rows: int = 732, **model: object) -> dict[str, object]:
    weight = {T2S_PHONES: half(rows, 8), "model.ar_predict_layer.weight": half(1025, 8)}
    config = {"model": {**T2S_MODEL, "phoneme_vocab_size": rows, **model}, "data": {"max_sec": 54}}
    return {"weight": weight, "config": config, "info": "GPT-e15"}


def sovits_content(rows: int = 732, speaker: bool = False, **model: object) -> dict[str, object]:
    weight = {
        PHONES: half(rows, 4),
        "dec.ups.0.bias": half(3),
        "dec.ups.0.weight_g": half(6, 1, 1),
        "dec.ups.0.weight_v": half(6, 3, 4),
        "enc_q.pre.weight": half(2, 2),
    }
    if speaker:
        weight["sv_emb.weight"] = half(4, 6)
    config = HParams(train={"segment_size": 20480}, data=DATA, model={**MODEL, **model})
    return {"weight": weight, "config": config, "info": "8epoch_216iteration"}


def write(path: Path, value: object, header: str = "", legacy: bool = False) -> Path:
    """header: the digits that upstream writes over the first two bytes."""
    content = saved(value, legacy)
    path.write_bytes(header.encode() + content[len(header) :])
    return path


def write_pickle_zip(
    path: Path, pickled: bytes, storages: dict[str, bytes] | None = None, deflate: bool = False
) -> Path:
    """A torch.save zip around a pickle made by hand."""
    how = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, content in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", content)
    return path


def tensor_pickle(length: int, shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """A T2S file whose only tensor makes these claims, as pickle operations."""

    def number(value: int) -> bytes:
        content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(content)]) + content

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(number(value) for value in values) + b"t"

    identity = b"(" + text("storage") + b"ctorch\nHalfStorage\n" + text("0") + text("cpu") + number(length) + b"tQ"
    arguments = (
        b"(" + identity + number(offset) + numbers(shape) + numbers(stride) + b"\x89ccollections\nOrderedDict\n)Rt"
    )
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"
    config = pickle.dumps(t2s_content()["config"], protocol=2)[2:-1]
    parts = text("weight") + b"}" + text(T2S_PHONES) + tensor + b"ss" + text("config") + config + b"s"
    return b"\x80\x02}" + parts + b"."


def write_folder(folder: Path, config: dict[str, object], weights: dict[str, Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(weights, folder / "pytorch_model.bin")
    return folder


HUBERT = {
    "model_type": "hubert", "hidden_size": 768, "num_hidden_layers": 1, "num_attention_heads": 12,
    "intermediate_size": 16, "conv_dim": [4, 4], "conv_kernel": [10, 3], "conv_stride": [5, 2], "conv_bias": False,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 16, "layer_norm_eps": 1e-5,
    "feat_extract_norm": "group", "do_stable_layer_norm": False,
}  # fmt: skip
BERT = {
    "model_type": "bert", "vocab_size": 9, "hidden_size": 1024, "num_hidden_layers": 3, "num_attention_heads": 16,
    "intermediate_size": 8, "max_position_embeddings": 16, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
}  # fmt: skip
HUBERT_WEIGHTS = {
    "masked_spec_embed": half(768),
    "feature_extractor.conv_layers.0.conv.weight": half(4, 1, 10),
    "encoder.pos_conv_embed.conv.weight_g": half(1, 1, 8),
    "encoder.pos_conv_embed.conv.weight_v": half(6, 2, 8),
}
BERT_WEIGHTS = {
    "bert.embeddings.word_embeddings.weight": half(9, 4),
    "bert.embeddings.position_ids": torch.arange(16),
    "bert.embeddings.LayerNorm.gamma": half(4),
    "bert.encoder.layer.0.output.dense.weight": half(4, 4),
    "bert.encoder.layer.1.output.dense.weight": half(4, 4),
    "bert.encoder.layer.2.output.dense.weight": half(4, 4),
    "bert.pooler.dense.weight": half(4, 4),
    "cls.predictions.bias": half(9),
}
SPEAKER_WEIGHTS = {
    "conv1.weight": half(4, 1, 3, 3), "layer1.0.conv1.weight": half(4, 4, 1, 1),
    "fuse34.local_att.0.weight": half(4, 4, 1, 1), "bn1.num_batches_tracked": torch.tensor(3),
}  # fmt: skip
