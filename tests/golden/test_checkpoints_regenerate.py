"""The generator writes what the golden results were recorded with: same values, same kinds of container."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import seeded_checkpoints
import torch

TABLE = seeded_checkpoints.load_table()
SMALL = [entry for entry in TABLE.files if entry.size == "small"]
FULL = [entry for entry in TABLE.files if entry.size == "full"]


def made(entry):
    return seeded_checkpoints.make_tensors(TABLE.seed, entry, seeded_checkpoints.load_stored())


@pytest.mark.parametrize("entry", SMALL, ids=lambda entry: entry.name)
def test_small_tensors_have_the_recorded_digest(entry):
    assert seeded_checkpoints.digest(made(entry)) == entry.digest


@pytest.mark.full
@pytest.mark.parametrize("entry", FULL, ids=lambda entry: entry.name)
def test_full_size_tensors_have_the_recorded_digest(entry):
    assert seeded_checkpoints.digest(made(entry)) == entry.digest


def test_digest_sees_one_changed_value():
    entry = TABLE.find("t2s_v2", "small")
    tensors = made(entry)
    tensors["model.ar_text_position.alpha"] += np.float16(0.001)
    assert seeded_checkpoints.digest(tensors) != entry.digest


def as_plain_zip(path: Path, mark: bytes, tmp_path: Path) -> Path:
    data = path.read_bytes()
    assert data[:2] == mark
    plain = tmp_path / "plain.pth"
    plain.write_bytes(b"PK" + data[2:])
    return plain


@pytest.mark.parametrize(
    ("name", "mark", "folder"),
    [
        ("sovits_v1", b"PK", r"\d+\.\d+"),
        ("sovits_v2", b"PK", r"\d+\.\d+"),
        ("sovits_v2Pro", b"05", "archive"),
        ("sovits_v2ProPlus", b"06", "archive"),
        ("t2s_v1", b"PK", r"\d+\.\d+"),
    ],
)
def test_zip_container(golden, tmp_path, name, mark, folder):
    with zipfile.ZipFile(as_plain_zip(golden.checkpoint(name), mark, tmp_path)) as archive:
        assert archive.testzip() is None
        (top,) = {entry.split("/")[0] for entry in archive.namelist()}
        assert re.fullmatch(folder, top)
        pickled = archive.read(f"{top}/data.pkl")
    assert (b"cutils\nHParams\n" in pickled) == name.startswith("sovits")


def test_t2s_file_loads_as_plain_values(golden):
    content = torch.load(golden.checkpoint("t2s_v2"), weights_only=True)
    assert sorted(content) == ["config", "info", "weight"]
    assert content["config"]["model"]["phoneme_vocab_size"] == 732
    assert {tensor.dtype for tensor in content["weight"].values()} == {torch.float16}


def test_model_folders_have_their_companions(golden):
    assert {path.name for path in golden.checkpoint("hubert").iterdir()} == {
        "config.json",
        "preprocessor_config.json",
        "pytorch_model.bin",
    }
    assert (golden.checkpoint("bert") / "vocab.txt").exists()


def test_paths_in_meta_name_checkpoints(golden):
    case = golden.case("v2Pro_zh_greedy")
    assert golden.checkpoint(case.meta["sovits"]) == golden.checkpoint("sovits_v2Pro")


def test_wrong_name_lists_the_right_ones(golden):
    with pytest.raises(KeyError, match=r"no small checkpoint named 'sovits_v9'; there are: bert, hubert"):
        golden.checkpoint("sovits_v9")


def test_utils_module_is_left_alone(golden, monkeypatch, tmp_path):
    own = type(sys)("utils")
    monkeypatch.setitem(sys.modules, "utils", own)
    stored = seeded_checkpoints.load_stored()
    entry = TABLE.find("sovits_v2Pro", "small")
    seeded_checkpoints.write_checkpoint(entry, tmp_path, seed=TABLE.seed, stored=stored, check=True)
    assert sys.modules["utils"] is own
    assert [path.name for path in (tmp_path / "small").iterdir()] == ["sovits_v2Pro.pth"]


def test_command_line(tmp_path):
    tool = seeded_checkpoints.__file__
    run = subprocess.run(
        [sys.executable, tool, str(tmp_path), "--only", "t2s_v1", "--check"], capture_output=True, text=True, check=True
    )
    assert "digest ok" in run.stdout
    assert (tmp_path / "small" / "t2s_v1.ckpt").stat().st_size > 700_000


def test_recorded_compare_uses_reduced_arrays(golden):
    case = golden.case("v2_zh_greedy")
    wav = case["decode0_wav"]
    assert golden.compare(case, "decode0_wav", torch.from_numpy(wav)[0, 0]) == 0.0
    other = golden.case("v1_zh_greedy")
    step = other.arrays["decode0_wav_flat7"]
    whole = np.repeat(step, 7)[: int(np.prod(other.arrays["decode0_wav_shape"]))]
    assert other.compare("decode0_wav", whole) == 0.0
    whole[14] += 0.5
    assert other.compare("decode0_wav", whole) == pytest.approx(0.5)
    with pytest.raises(AssertionError, match="decode0_wav: shape"):
        other.compare("decode0_wav", whole[:-1])


def test_shared_bert_features_are_found(golden):
    assert golden.case("v2_eos_batch1")["seg4_bert"].shape == (1024, 19)
    assert golden.case("v1_zh_greedy")["prompt_bert"].shape == (1024, 28)


def test_pack_is_small(golden):
    total = sum(path.stat().st_size for path in golden.root.rglob("*") if path.is_file())
    print(f"tests/golden: {total / 1e6:.1f} MB")
    assert total < 15e6


@pytest.mark.full
def test_reduced_pack_agrees_with_the_complete_one(golden, full_golden):
    for name in golden.cases():
        complete, kept = full_golden.case(name), golden.case(name)
        left_out = {f"logits_step{k}" for k in complete.steps("logits_step")} - set(kept.arrays)
        for key in complete.arrays.keys() - left_out:
            assert kept.compare(key, complete[key]) == 0, f"{name} {key}"
    for path in sorted((golden.root / "refs").glob("*.npz")):
        complete, kept = full_golden.ref(path.stem), golden.ref(path.stem)
        for key in complete.arrays:
            assert kept.compare(key, complete[key]) == 0, f"{path.stem} {key}"
