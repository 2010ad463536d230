"""Upstream's folder layout: what is found, what is missing, and what trained files make unnecessary."""

from pathlib import Path

import pytest

from sovits_rt.checkpoints.layout import ModelPaths, from_folder
from sovits_rt.errors import CheckpointError


def lay_out(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if "." not in path.name else path.touch()


@pytest.mark.parametrize("inside", ["GPT_SoVITS/pretrained_models", "pretrained_models", "."])
def test_a_checkout_and_its_folders_are_searched(tmp_path: Path, inside: str) -> None:
    root = tmp_path / inside
    lay_out(root, "s1v3.ckpt", "v2Pro/s2Gv2Pro.pth", "chinese-hubert-base", "sv/pretrained_eres2netv2w24s4ep4.ckpt")
    found = from_folder(tmp_path, "v2Pro")
    assert found.gpt == root / "s1v3.ckpt"
    assert found.hubert == root / "chinese-hubert-base"
    assert found.speaker == root / "sv/pretrained_eres2netv2w24s4ep4.ckpt"
    assert found.bert is None


def test_the_base_pair_may_be_missing_where_trained_files_are_given(tmp_path: Path) -> None:
    lay_out(tmp_path, "chinese-hubert-base")
    with pytest.raises(CheckpointError, match=r"has no .*s2G2333k\.pth, the v2 files"):
        from_folder(tmp_path, "v2")
    assert from_folder(tmp_path, "v2", pair=False) == ModelPaths(hubert=tmp_path / "chinese-hubert-base")


def test_g2pw_is_found_beside_the_text_code_of_a_checkout(tmp_path: Path) -> None:
    lay_out(tmp_path, "GPT_SoVITS/text/G2PWModel", "GPT_SoVITS/pretrained_models/s1v3.ckpt")
    assert from_folder(tmp_path, "v2Pro", pair=False).g2pw == tmp_path / "GPT_SoVITS/text/G2PWModel"
