"""Wrong and damaged files: one sentence each, and never any other exception."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoint_files import (
    BERT,
    BERT_WEIGHTS,
    HUBERT,
    HUBERT_WEIGHTS,
    PHONES,
    SPEAKER_WEIGHTS,
    T2S_PHONES,
    half,
    saved,
    sovits_content,
    t2s_content,
    write,
    write_folder,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from sovits_rt.checkpoints import content_digest, inspect, load_bert, load_hubert, load_sovits, load_speaker, load_t2s
from sovits_rt.errors import CheckpointError

T2S = saved(t2s_content())
SOVITS = saved(sovits_content())
LEGACY = saved(t2s_content(), legacy=True)

CONTENTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r"is empty \(0 bytes\)"),
    "web page": (b"\n <!DOCTYPE html><html>404</html>", "is a web page, not a model"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer"),
    "text": ("下载失败".encode(), "is a text file that begins with"),
    "json": (b'{"error": "gone"}', "is a text file that begins with"),
    "noise": (bytes(range(1, 200)), "begins with '01 02 03 04 05 06 07 08'"),
    "safetensors": (save({"x": half(2)}), "is a safetensors file"),
    "old tar": (b"\0" * 257 + b"ustar" + b"\0" * 500, "tar format of PyTorch before 0.4"),
    "harmless pickle": (b"\x80\x02}.", "a pickle that torch.save did not write"),
    "zip header only": (T2S[:4], "cut off or damaged: the directory at the end"),
    "half": (T2S[: len(T2S) // 2], "cut off or damaged: the directory at the end"),
    "last byte gone": (T2S[:-1], "cut off or damaged"),
    "first bytes gone": (b"PK\x03\x04" + T2S[300:], "cut off or damaged: the zip entry"),
    "legacy half": (LEGACY[: len(LEGACY) // 2], "cut off or damaged: it ends before its last tensor"),
    "legacy start": (LEGACY[:20], "is damaged: its table of contents"),
    "unknown header": (b"09" + SOVITS[2:], "version header 09, which does not go with its weights"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_not_a_checkpoint(tmp_path: Path, name: str) -> None:
    content, sentence = CONTENTS[name]
    path = tmp_path / "voice.ckpt"
    path.write_bytes(content)
    load = load_sovits if name == "unknown header" else load_t2s
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load(path)
    message = str(caught.value)
    print(message)
    assert message.startswith(str(path))
    assert message.endswith(".")
    assert "\n" not in message
    with pytest.raises(CheckpointError):
        inspect(path)


def without(content: dict[str, object], part: str) -> dict[str, object]:
    return {key: value for key, value in content.items() if key != part}


def with_weight(content: dict[str, object], name: str, weight: object) -> dict[str, object]:
    stored = content["weight"]
    assert isinstance(stored, dict)
    return {**content, "weight": {**stored, name: weight}}


MODELS: dict[str, tuple[Callable[[Path], object], object, str]] = {
    "sovits as t2s": (load_t2s, sovits_content(), "is a SoVITS model, but a T2S .GPT. model is expected here; T2S"),
    "t2s as sovits": (load_sovits, t2s_content(), "is a T2S .GPT. model, but a SoVITS model is expected here; SoVITS"),
    "t2s as speaker": (load_speaker, t2s_content(), "but the ERes2NetV2 speaker model is expected"),
    "hubert as t2s": (load_t2s, HUBERT_WEIGHTS, "weights of a HuBERT model, .* give the folder"),
    "bert as t2s": (load_t2s, BERT_WEIGHTS, "weights of a BERT model, .* give the folder"),
    "speaker as sovits": (load_sovits, SPEAKER_WEIGHTS, "is the ERes2NetV2 speaker model"),
    "sovits training": (
        load_sovits,
        {
            "model": {PHONES: half(322, 4)},
            "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}},
            "iteration": 3,
            "learning_rate": 1e-4,
        },
        r"training state of SoVITS \(G_.*SoVITS_weights",
    ),
    "t2s training": (
        load_t2s,
        {"state_dict": {T2S_PHONES: half(2)}, "pytorch-lightning_version": "2.4"},
        "training state of the T2S",
    ),
    "vocoder v3": (load_sovits, {"generator": {"conv_pre.bias": half(2)}}, "is a vocoder of SoVITS v3 or v4, which"),
    "vocoder v4": (
        load_sovits,
        {"conv_pre.weight": half(2), "ups.0.weight": half(2)},
        "is a vocoder of SoVITS v3 or v4",
    ),
    "lora": (load_sovits, {**sovits_content(), "lora_rank": 32}, "is a LoRA file for SoVITS v3 or v4, which"),
    "a tensor": (load_sovits, half(2), "is a PyTorch file of unknown content"),
    "a list": (load_sovits, [1, 2], "is a PyTorch file of unknown content"),
    "no config": (load_t2s, without(t2s_content(), "config"), "config of .* is missing or not a table"),
    "config without model": (load_t2s, {**t2s_content(), "config": {"data": {}}}, "config.model of .* is missing"),
    "sovits config": (load_sovits, {**sovits_content(), "config": 3}, "config of .* is missing or not a table"),
    "no layers": (load_t2s, t2s_content(n_layer=0), "n_layer is '0', expected a whole number from 1"),
    "layers in words": (load_t2s, t2s_content(n_layer="six"), "n_layer is 'six', expected a whole number"),
    "layers true": (load_t2s, t2s_content(n_layer=True), "n_layer is 'True', expected a whole number"),
    "too many layers": (load_t2s, t2s_content(n_layer=10**9), "n_layer is '1000000000', expected a whole number"),
    "heads": (load_t2s, t2s_content(head=3), r"head is '3', expected a divisor of hidden_dim \(8\)"),
    "end token": (load_t2s, t2s_content(EOS=7), "EOS is '7', expected a whole number from 1024 to 1024"),
    "phones of no version": (load_t2s, t2s_content(rows=600), "knows 600 phones, but GPT-SoVITS has 512"),
    "phones contradict": (
        load_t2s,
        with_weight(t2s_content(), T2S_PHONES, half(512, 8)),
        "says 732 phones, its weights have 512",
    ),
    "a scalar for phones": (load_t2s, with_weight(t2s_content(), T2S_PHONES, torch.tensor(1.0)), "its weights have 0"),
    "no tensor": (load_t2s, with_weight(t2s_content(), "model.x", 3), "has a int among its weights"),
    "foreign weight": (load_t2s, with_weight(t2s_content(), "x", half(2)), "has a weight 'x' that no T2S model has"),
    "nan": (
        load_t2s,
        with_weight(t2s_content(), "model.x", torch.tensor([0, float("nan")]).half()),
        "infinite values in 'model.x'",
    ),
    "infinite": (
        load_sovits,
        with_weight(sovits_content(), "x", torch.tensor([0, -float("inf")])),
        "infinite values in 'x'",
    ),
    "no direction": (
        load_sovits,
        with_weight(sovits_content(), "y.weight_v", half(2, 2, 2)),
        "'y.weight_v' without 'y.weight_g'",
    ),
    "no gain": (
        load_sovits,
        with_weight(sovits_content(), "y.weight_g", half(2, 1, 1)),
        "'y.weight_g' without 'y.weight_v'",
    ),
    "gain of another shape": (
        load_sovits,
        with_weight(sovits_content(), "dec.ups.0.weight_g", half(1, 3, 1)),
        r"shape \[1, 3, 1\], expected \[6, 1, 1\]",
    ),
    "zero direction": (
        load_sovits,
        with_weight(sovits_content(), "dec.ups.0.weight_v", torch.zeros(6, 3, 4)),
        "values in 'dec.ups.0.weight'",
    ),
    "sovits phones": (load_sovits, sovits_content(rows=500), "knows 500 phones, but GPT-SoVITS has 322"),
    "v1 phones and speaker": (
        load_sovits,
        sovits_content(rows=322, speaker=True),
        "phones of v1 and the speaker layer",
    ),
    "other resblock": (load_sovits, sovits_content(resblock="2"), "resblock is '2', expected '1'"),
    "kernels": (
        load_sovits,
        sovits_content(upsample_kernel_sizes=[16]),
        "upsample_kernel_sizes is a list, expected 2 n",
    ),
    "heads of sovits": (
        load_sovits,
        sovits_content(n_heads=5),
        r"n_heads is '5', expected a divisor of hidden_channels \(192\)",
    ),
    "rates": (
        load_sovits,
        sovits_content(upsample_rates=[10, 8]),
        "upsample_rates 10x8 make 80 samples of a frame, expected 640, as sampling_rate is 32000",
    ),
    "dilations": (
        load_sovits,
        sovits_content(resblock_dilation_sizes=[[1], 2]),
        r"resblock_dilation_sizes\[1\] is '2'",
    ),
    "rows of dilations": (load_sovits, sovits_content(resblock_dilation_sizes=[[1]]), "expected 2 rows"),
}


@pytest.mark.parametrize("name", MODELS)
def test_wrong_model(tmp_path: Path, name: str) -> None:
    load, content, sentence = MODELS[name]
    path = write(tmp_path / "voice.pth", content)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load(path)
    message = str(caught.value)
    print(message)
    assert str(path) in message
    assert "\n" not in message
    assert message.endswith(".")


@pytest.mark.parametrize(
    ("header", "content", "sentence"),
    [
        ("05", sovits_content(), "header 05 says v2Pro, but 732 phones says v2"),
        ("06", sovits_content(rows=322), "header 06 says v2ProPlus, but 322 phones says v1"),
        ("00", sovits_content(), "header 00 says v1, but 732 phones says v2"),
        (
            "01",
            sovits_content(speaker=True),
            "header 01 says v2, but 732 phones, speaker embedding layer, .* says v2Pro",
        ),
        ("02", sovits_content(), "version header 02, which does not go with its weights"),
    ],
)
def test_header_against_weights(tmp_path: Path, header: str, content: object, sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        load_sovits(write(tmp_path / "voice.pth", content, header))


@pytest.mark.parametrize(("asked", "sentence"), [("v1", "but 'v1' was asked for"), ("v9", "which is none of v1, v2")])
def test_another_version_was_asked_for(tmp_path: Path, asked: str, sentence: str) -> None:
    with pytest.raises(CheckpointError, match=rf"is SoVITS v2 \(told from 732 phones\), .*{sentence}"):
        load_sovits(write(tmp_path / "voice.pth", sovits_content()), asked)


@pytest.mark.parametrize("load", [load_t2s, load_sovits, load_speaker, content_digest, inspect])
def test_paths(tmp_path: Path, load: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="does not exist: check the path"):
        load(tmp_path / "none.ckpt")
    if load is not inspect:
        with pytest.raises(CheckpointError, match="is a folder, but a model file is expected"):
            load(tmp_path)
    path = write(tmp_path / "voice.ckpt", t2s_content())

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CheckpointError, match="can't be read, permission denied"):
        load(path)


FOLDERS: dict[str, tuple[Callable[[Path], object], dict[str, object], str]] = {
    "bert as hubert": (load_hubert, BERT, "is a model of type 'bert', but 'hubert' is expected"),
    "hubert as bert": (load_bert, HUBERT, "is a model of type 'hubert', but 'bert' is expected"),
    "no type": (load_bert, {}, "is a model of type 'None'"),
    "small bert": (load_bert, {**BERT, "hidden_size": 768}, "hidden_size is '768', expected a whole number from 1024"),
    "heads of hubert": (
        load_hubert,
        {**HUBERT, "num_attention_heads": 7},
        r"num_attention_heads is '7', expected a divisor of hidden_size \(768\)",
    ),
    "heads of bert": (
        load_bert,
        {**BERT, "num_attention_heads": 2048},
        "num_attention_heads is '2048', expected a whole number from 1 to 1024",
    ),
    "two layers": (load_bert, {**BERT, "num_hidden_layers": 2}, "num_hidden_layers is '2'"),
    "stable norm": (
        load_hubert,
        {**HUBERT, "do_stable_layer_norm": True},
        "do_stable_layer_norm is 'True', expected false",
    ),
    "layer norm": (
        load_hubert,
        {**HUBERT, "feat_extract_norm": "layer"},
        "feat_extract_norm is 'layer', expected 'group'",
    ),
    "no projection norm": (load_hubert, {**HUBERT, "feat_proj_layer_norm": False}, "feat_proj_layer_norm is 'False'"),
    "epsilon": (load_hubert, {**HUBERT, "layer_norm_eps": "small"}, "layer_norm_eps is 'small', expected a number"),
    "position table": (load_bert, {**BERT, "position_embedding_type": "relative_key"}, "expected 'absolute'"),
    "a switch in words": (load_hubert, {**HUBERT, "conv_bias": "no"}, "conv_bias is 'no', expected true or false"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_wrong_folder(tmp_path: Path, name: str) -> None:
    load, config, sentence = FOLDERS[name]
    folder = write_folder(tmp_path / "model", config, HUBERT_WEIGHTS)
    with pytest.raises(CheckpointError, match=sentence):
        load(folder)


def test_incomplete_folders(tmp_path: Path) -> None:
    folder = tmp_path / "model"

    def check(sentence: str) -> None:
        with pytest.raises(CheckpointError, match=sentence):
            load_hubert(folder)

    check("does not exist")
    folder.write_text("")
    check("is a file, but a folder with config.json")
    folder.unlink()
    folder.mkdir()
    check("has no config.json")
    for text in ("{", "[" * 100_000, "\x00"):
        (folder / "config.json").write_text(text)
        check("is not valid JSON")
    (folder / "config.json").write_text("[]")
    check("is missing or not a table")
    (folder / "config.json").write_text(json.dumps(HUBERT))
    check("has neither model.safetensors nor pytorch_model.bin")
    (folder / "model.safetensors.index.json").write_text("{}")
    check("split over several files")
    (folder / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    check("is cut off or damaged")
    (folder / "model.safetensors").write_bytes(save({"x": torch.tensor([float("nan")])}))
    check("NaN or infinite values in 'x'")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").unlink()
    write(folder / "pytorch_model.bin", BERT_WEIGHTS)
    check("is the weights of a BERT model, but the weights of a HuBERT model is expected")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "voice.pth"


def edges(content: bytes) -> st.SearchStrategy[int]:
    """Positions in a file, mostly where its structure is: start, end, and the table of contents."""
    table = content.find(b"weight")
    regions = [
        (0, 200),
        (max(0, table - 200), min(len(content), table + 2500)),
        (max(0, len(content) - 1500), len(content)),
    ]
    return st.one_of(*(st.integers(low, high - 1) for low, high in regions), st.integers(0, len(content) - 1))


def refusal(read: Callable[[Path], object], path: Path) -> str:
    """The sentence of a CheckpointError; other exceptions pass."""
    try:
        read(path)
    except CheckpointError as error:
        return str(error)
    return "Loaded."


@pytest.mark.parametrize("source", ["t2s", "sovits", "legacy"])
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_a_checkpoint_error(scratch: Path, source: str, data: st.DataObject) -> None:
    content = bytearray({"t2s": T2S, "sovits": SOVITS, "legacy": LEGACY}[source])
    for position in data.draw(st.lists(edges(bytes(content)), max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(edges(bytes(content))) :]
    scratch.unlink(missing_ok=True)
    scratch.write_bytes(content)
    for read in (load_t2s, load_sovits, load_speaker, inspect):
        assert re.fullmatch(r".+\.", refusal(read, scratch))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=64), start=st.sampled_from([b"", b"PK\x03\x04", b"06\x03\x04", LEGACY[:16], b"\x80\x02"])
)
def test_noise_is_a_checkpoint_error(scratch: Path, content: bytes, start: bytes) -> None:
    scratch.unlink(missing_ok=True)
    scratch.write_bytes(start + content)
    with pytest.raises(CheckpointError):
        load_t2s(scratch)
