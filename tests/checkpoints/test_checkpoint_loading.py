"""Files in upstream's formats come out as they went in, recognised by what is in them."""

import json
import logging
import sys
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
    half,
    sovits_content,
    t2s_content,
    write,
    write_folder,
)
from safetensors.torch import save_file
from torch import nn

from sovits_rt.checkpoints import (
    check_pairing,
    content_digest,
    inspect,
    load_bert,
    load_hubert,
    load_into,
    load_sovits,
    load_speaker,
    load_t2s,
)
from sovits_rt.checkpoints.archive import open_archive
from sovits_rt.errors import CheckpointError

VERSION_FILES = [
    ("v1", "", {"rows": 322}),
    ("v1", "00", {"rows": 322}),
    ("v2", "", {}),
    ("v2", "01", {}),
    ("v2Pro", "", {"speaker": True}),
    ("v2Pro", "05", {"speaker": True}),
    ("v2ProPlus", "", {"speaker": True, "upsample_kernel_sizes": [20, 16]}),
    ("v2ProPlus", "", {"speaker": True, "upsample_initial_channel": 768}),
    ("v2ProPlus", "06", {"speaker": True}),
]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(("rows", "symbols"), [(512, "v1"), (732, "v2")])
def test_t2s(tmp_path: Path, legacy: bool, rows: int, symbols: str) -> None:
    content = t2s_content(rows)
    path = write(tmp_path / "voice.ckpt", content, legacy=legacy)
    checkpoint = load_t2s(path)
    assert (checkpoint.symbols, checkpoint.info, checkpoint.path) == (symbols, "GPT-e15", path)
    assert (checkpoint.config.n_layer, checkpoint.config.head, checkpoint.config.max_sec) == (1, 2, 54.0)
    assert checkpoint.config.eos == 1024
    assert checkpoint.digest == content_digest(path)
    stored = content["weight"]
    assert isinstance(stored, dict)
    assert list(checkpoint.weights) == [name.removeprefix("model.") for name in stored]
    for name, weight in stored.items():
        ours = checkpoint.weights[name.removeprefix("model.")]
        assert ours.dtype == torch.float16
        assert torch.equal(ours, weight), name


@pytest.mark.parametrize(("version", "header", "content"), VERSION_FILES)
def test_sovits_version(tmp_path: Path, version: str, header: str, content: dict[str, object]) -> None:
    checkpoint = load_sovits(write(tmp_path / "voice.pth", sovits_content(**content), header), version)  # type: ignore[arg-type]
    assert checkpoint.version.name == version
    assert checkpoint.version.speaker_embedding == ("sv_emb.weight" in checkpoint.weights)
    assert (checkpoint.config.hop_length, checkpoint.config.upsample_rates) == (640, (80, 8))
    assert checkpoint.config.resblock_dilation_sizes == ((1, 3), (1, 3))


def test_weight_norm_is_folded_as_torch_does(tmp_path: Path) -> None:
    content = sovits_content()
    stored = content["weight"]
    assert isinstance(stored, dict)
    weights = load_sovits(write(tmp_path / "voice.pth", content)).weights
    assert weights.keys() == {PHONES, "dec.ups.0.bias", "dec.ups.0.weight"}
    layer = nn.utils.parametrizations.weight_norm(nn.ConvTranspose1d(6, 3, 4), dim=0)
    layer.parametrizations.weight.original0.data = stored["dec.ups.0.weight_g"].float()
    layer.parametrizations.weight.original1.data = stored["dec.ups.0.weight_v"].float()
    difference = (weights["dec.ups.0.weight"] - layer.weight).abs().max().item()
    print(f"folded weight norm: largest difference {difference}")
    assert weights["dec.ups.0.weight"].dtype == torch.float32
    assert difference == 0.0


def test_tensor_layouts(tmp_path: Path) -> None:
    content = t2s_content()
    shared = half(6, 4)
    added = {
        "model.a": shared, "model.transposed": half(6, 4).t(), "model.part": shared[2:4, 1:],
        "model.parameter": nn.Parameter(half(3)), "model.scalar": torch.tensor(2.5), "model.none": torch.empty(0, 3),
        "model.double": torch.ones(2, dtype=torch.float64), "model.bfloat": torch.ones(3).bfloat16(),
    }  # fmt: skip
    assert isinstance(content["weight"], dict)
    content["weight"] |= added
    for legacy in (False, True):
        weights = load_t2s(write(tmp_path / "voice.ckpt", content, legacy=legacy)).weights
        for name, weight in added.items():
            ours = weights[name.removeprefix("model.")]
            assert ours.dtype == weight.dtype
            assert torch.equal(ours, weight), name


def test_weights_are_private(tmp_path: Path) -> None:
    path = write(tmp_path / "voice.ckpt", t2s_content())
    before = content_digest(path)
    load_t2s(path).weights["ar_predict_layer.weight"].zero_()
    assert content_digest(path) == before


def test_training_paths_in_the_config(tmp_path: Path) -> None:
    content = t2s_content()
    assert isinstance(content["config"], dict)
    content["config"]["output_dir"] = Path("logs/voice")
    assert load_t2s(write(tmp_path / "voice.ckpt", content)).info == "GPT-e15"


def test_the_configured_version_is_only_a_hint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "voice.pth", sovits_content(rows=322, version="v2"))
    with caplog.at_level(logging.WARNING):
        assert load_sovits(path).version.name == "v1"
    assert "config says version v2" in caplog.text
    caplog.clear()
    load_sovits(write(tmp_path / "voice.pth", sovits_content(version="v2")))
    assert not caplog.text


@pytest.mark.parametrize("phones", ["v1", "v2"])
def test_pairing(tmp_path: Path, phones: str) -> None:
    t2s = load_t2s(write(tmp_path / "voice.ckpt", t2s_content(512 if phones == "v1" else 732)))
    for version, header, content in VERSION_FILES:
        sovits = load_sovits(write(tmp_path / "voice.pth", sovits_content(**content), header))  # type: ignore[arg-type]
        if (version == "v1") == (phones == "v1"):
            check_pairing(t2s, sovits)
        else:
            with pytest.raises(CheckpointError, match=rf"phone table {phones}\) does not go with .*SoVITS {version}"):
                check_pairing(t2s, sovits)


@pytest.mark.parametrize("names", ["old", "new", "prefixed"])
@pytest.mark.parametrize("form", ["bin", "safetensors"])
def test_hubert(tmp_path: Path, names: str, form: str) -> None:
    weights = dict(HUBERT_WEIGHTS)
    stem = "encoder.pos_conv_embed.conv."
    if names == "new":
        weights[f"{stem}parametrizations.weight.original0"] = weights.pop(f"{stem}weight_g")
        weights[f"{stem}parametrizations.weight.original1"] = weights.pop(f"{stem}weight_v")
    if names == "prefixed":
        weights = {f"hubert.{name}": weight for name, weight in weights.items()}
    folder = write_folder(tmp_path / "hubert", HUBERT, weights)
    if form == "safetensors":
        (folder / "pytorch_model.bin").unlink()
        save_file(weights, folder / "model.safetensors")
    checkpoint = load_hubert(folder)
    assert checkpoint.weights.keys() == {"feature_extractor.conv_layers.0.conv.weight", f"{stem}weight"}
    gain, direction = (HUBERT_WEIGHTS[f"{stem}weight_{part}"].float() for part in "gv")
    wanted = direction * gain / direction.norm(dim=(0, 1), keepdim=True)
    difference = (checkpoint.weights[f"{stem}weight"] - wanted).abs().max().item()
    print(f"position convolution: largest difference {difference:.1e}")
    assert difference < 1e-6
    assert checkpoint.config.conv_kernel == (10, 3)


def test_bert_keeps_what_is_used(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "bert", BERT, BERT_WEIGHTS)
    with pytest.raises(CheckpointError, match=r"has no tokenizer\.json"):
        load_bert(folder)
    (folder / "tokenizer.json").write_text("{}")
    checkpoint = load_bert(folder)
    assert checkpoint.config.used_layers == 1
    assert checkpoint.tokenizer == folder / "tokenizer.json"
    assert checkpoint.weights.keys() == {
        "embeddings.word_embeddings.weight",
        "embeddings.LayerNorm.weight",
        "encoder.layer.0.output.dense.weight",
    }
    before = checkpoint.digest
    (folder / "tokenizer.json").write_text("{ }")
    assert load_bert(folder).digest != before


def test_speaker(tmp_path: Path) -> None:
    checkpoint = load_speaker(write(tmp_path / "sv.ckpt", SPEAKER_WEIGHTS))
    assert checkpoint.weights.keys() == SPEAKER_WEIGHTS.keys()
    assert all(torch.equal(checkpoint.weights[name], weight) for name, weight in SPEAKER_WEIGHTS.items())


def test_inspect(tmp_path: Path) -> None:
    described = inspect(write(tmp_path / "voice.pth", sovits_content(speaker=True), "05"))
    assert json.loads(json.dumps(described)) == described | {"config": json.loads(json.dumps(described["config"]))}
    assert (described["kind"], described["version"], described["symbols"]) == ("sovits", "v2Pro", "v2")
    assert (described["safe"], described["supported"], described["dtypes"]) == (True, True, {"float16": 6})
    assert described["parameters"] == 732 * 4 + 3 + 6 + 6 * 3 * 4 + 4 + 4 * 6
    t2s = inspect(write(tmp_path / "voice.ckpt", t2s_content(512)))
    assert (t2s["kind"], t2s["symbols"], t2s["recognised_by"]) == ("t2s", "v1", "512 phones")
    assert inspect(write_folder(tmp_path / "hubert", HUBERT, HUBERT_WEIGHTS))["kind"] == "hubert"
    assert inspect(write(tmp_path / "sv.ckpt", SPEAKER_WEIGHTS))["kind"] == "speaker"


@pytest.mark.parametrize(
    ("header", "kind", "version"),
    [("02", "diffusion", "v3"), ("", "diffusion", "v3 or v4"), ("03", "lora", "v3"), ("04", "lora", "v4")],
)
def test_v3_and_v4_are_recognised_but_not_supported(tmp_path: Path, header: str, kind: str, version: str) -> None:
    content = sovits_content()
    assert isinstance(content["weight"], dict)
    content["weight"]["cfm.estimator.proj_out.weight"] = half(2, 2)
    path = write(tmp_path / "voice.pth", content, header)
    described = inspect(path)
    assert (described["kind"], described["version"], described["supported"]) == (kind, version, False)
    with pytest.raises(CheckpointError, match=r"v3 or v4.*, which is recognised but not supported: this release"):
        load_sovits(path)


class TestLoadInto:
    def test_copies_and_converts(self) -> None:
        module, weights = nn.Linear(3, 2), {"weight": half(2, 3), "bias": half(2)}
        load_into(module, weights, what="a layer")
        assert module.weight.dtype == torch.float32
        assert torch.equal(module.weight, weights["weight"].float())
        weights["weight"].zero_()
        assert module.weight.abs().sum() > 0

    def test_fills_a_module_without_memory(self) -> None:
        with torch.device("meta"):
            module = nn.Linear(3, 2)
        weights = {"weight": torch.ones(2, 3), "bias": half(2)}
        load_into(module, weights, what="a layer")
        weights["weight"].zero_()
        assert module.weight.device.type == "cpu"
        assert module.weight.sum() == 6
        assert (module.bias.dtype, module.bias.requires_grad) == (torch.float32, True)

    @pytest.mark.parametrize(
        ("weights", "sentence"),
        [
            ({"weight": half(2, 3)}, r"1 missing \('bias'\)"),
            ({"weight": half(2, 3), "bias": half(2), "x": half(1), "y": half(1)}, r"2 unexpected \('x', 'y'\)"),
            ({"weight": half(3, 2), "bias": half(2)}, r"float16 \[3, 2\] where float32 \[2, 3\] is expected"),
            ({"weight": torch.ones(2, 3).long(), "bias": half(2)}, r"int64 \[2, 3\] where float32 \[2, 3\]"),
        ],
    )
    def test_refuses(self, weights: dict[str, torch.Tensor], sentence: str) -> None:
        module = nn.Linear(3, 2)
        before = module.weight.clone()
        with pytest.raises(CheckpointError, match=f"a layer does not fit its network: .*{sentence}"):
            load_into(module, weights, what="a layer")
        assert torch.equal(module.weight, before)

    def test_tolerates_what_is_named(self) -> None:
        module = nn.Linear(3, 2)
        load_into(module, {"weight": half(2, 3)}, what="a layer", may_miss=["bias"])
        weights = {"weight": half(2, 3), "bias": half(2), "head.a": half(1), "head.b": half(1)}
        load_into(module, weights, what="a layer", may_ignore=["head."])
        with pytest.raises(CheckpointError, match="2 unexpected"):
            load_into(module, weights, what="a layer", may_ignore=["head", "hea"])

    def test_a_scalar_may_be_stored_as_a_vector(self) -> None:
        module, weights = nn.BatchNorm1d(1), nn.BatchNorm1d(1).state_dict()
        load_into(module, {**weights, "num_batches_tracked": torch.tensor([7])}, what="a norm")
        assert module.num_batches_tracked == 7


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_a_file_that_left_the_memory_reads_the_same(golden):
    archive = open_archive(golden.checkpoint("sovits_v2"))
    before = archive.digest
    held = file_kilobytes()
    archive.leave_memory()
    left = file_kilobytes()
    print(f"{held - left} kB of {len(archive.content) // 1024} kB left the memory")
    assert held - left > 0.5 * len(archive.content) / 1024
    assert archive.digest == before


def file_kilobytes() -> int:
    """Of this process's memory that are pages of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))
