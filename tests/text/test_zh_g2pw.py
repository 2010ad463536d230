"""The polyphone model against upstream's, on a network with upstream's inputs and made-up weights."""

import importlib.util
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sovits_rt.errors import CheckpointError, TextError
from sovits_rt.text import symbols
from sovits_rt.text.g2p import zh
from sovits_rt.text.zh.g2pw import G2pW, Inputs, load_g2pw, load_tables

if importlib.util.find_spec("jieba") is None or importlib.util.find_spec("opencc") is None:
    pytest.skip("needs the extras zh and g2pw", allow_module_level=True)

GOLDEN = Path(__file__).parents[1] / "golden"
FOLDER = GOLDEN / "text" / "g2pw"
BERT = GOLDEN / "companions" / "chinese-roberta-wwm-ext-large"
UPSTREAM_NAMES = {"attention_mask": "attention_masks", "phoneme_mask": "phoneme_masks"}


@pytest.fixture(scope="module")
def model() -> G2pW:
    return load_g2pw(FOLDER, BERT, threads=1)


def expected() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(lzma.decompress((FOLDER / "expected.json.xz").read_bytes()))
    return cases


@pytest.mark.parametrize("case", expected(), ids=lambda case: case["text"][:8])
def test_inputs_and_ids_equal_upstream(model: G2pW, case: dict[str, Any]) -> None:
    fed: list[Inputs] = []

    def run(inputs: Inputs) -> Any:
        fed.append(inputs)
        return model.run(inputs)

    recording = G2pW(model.readings, model.vocabulary, model.to_traditional, run)
    norm_text = zh.normalize(case["text"], "v2")
    phones, _ = zh.phones(norm_text, "v2", {}, recording)
    assert len(fed) == len(case["fed"])
    for ours, theirs in zip(fed, case["fed"], strict=True):
        for name, value in ours.items():
            assert np.array_equal(value, theirs[UPSTREAM_NAMES.get(name, name)]), name
    assert norm_text == case["norm_text"]
    assert list(symbols.to_ids(symbols.known(phones, "v2"), "v2")) == case["ids"]


def test_the_model_decides(model: G2pW) -> None:
    """The recorded cases would pass without a model only if it always agreed with pypinyin."""
    texts = [case["norm_text"] for case in expected()]
    assert any(zh.phones(text, "v2", {}) != zh.phones(text, "v2", {}, model) for text in texts)
    assert all(zh.phones(text, "v1", {}) == zh.phones(text, "v1", {}, model) for text in texts)


def test_too_long_part_is_refused(model: G2pW) -> None:
    with pytest.raises(TextError, match="511 characters is too long"):
        model.pinyin(["长" * 511])


def test_config_is_read_and_not_run(tmp_path: Path) -> None:
    for file in FOLDER.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.py").write_text("use_char_phoneme = True\nraise SystemExit\nuse_mask = bool(print)\n")
    readings = load_tables(tmp_path)
    assert "長 ㄓㄤ3" in readings.labels
    assert readings.masks["長"].sum() == 2


@pytest.mark.parametrize("missing", ["g2pW.onnx", "POLYPHONIC_CHARS.txt", "bopomofo_to_pinyin_wo_tune_dict.json"])
def test_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    for file in FOLDER.iterdir():
        if file.name != missing:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(CheckpointError, match=missing.replace(".", r"\.")):
        load_g2pw(tmp_path, BERT)


def test_damaged_network_is_refused(tmp_path: Path) -> None:
    for file in FOLDER.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "g2pW.onnx").write_bytes(b"not a network")
    with pytest.raises(CheckpointError, match="not an ONNX model"):
        load_g2pw(tmp_path, BERT)
