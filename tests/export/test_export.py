"""Exported models compute what torch computes, also at lengths that were not traced; the same export is made once."""

import hashlib
import json

import numpy as np
import onnxruntime
import pytest
import torch

from sovits_rt import cache, export
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.errors import ExportError, MissingExtraError
from sovits_rt.export import export_onnx
from sovits_rt.export.parts import Prefill, Step, Traced
from sovits_rt.nn.t2s import T2S, T2SConfig

pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def paths(golden):
    return ModelPaths(
        gpt=golden.checkpoint("t2s_v2"),
        sovits=golden.checkpoint("sovits_v2"),
        hubert=golden.checkpoint("hubert"),
        bert=golden.checkpoint("bert"),
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def exported(paths, root, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported")
    parts = export_onnx(paths, out, root=root)
    for part in parts:
        print(f"{part.file}: largest difference {part.difference:.1e}, numbers up to {part.peak:.1e}")
    return out, parts


def test_all_networks_are_written_and_near_torch(exported):
    out, parts = exported
    assert [part.name for part in parts] == ["prefill", "step", "encoder", "vocoder", "hubert", "bert"]
    assert {path.name for path in out.iterdir()} == {"manifest.json", *(part.file for part in parts)}
    for part in parts:
        assert part.difference <= 1e-4 * max(1, part.peak)
        assert part.peak > 0.01, "nothing came out"


def test_lengths_may_differ(exported):
    _, parts = exported
    for part in parts:
        named = [name for name, _, shape in part.inputs if any(isinstance(each, str) for each in shape)]
        assert named, f"{part.name} has fixed lengths only"


def test_the_manifest_says_what_it_was_made_of_and_with(exported, paths):
    out, _ = exported
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["checkpoints"]["gpt"] == "sha256:" + hashlib.sha256(paths.gpt.read_bytes()).hexdigest()
    assert manifest["versions"]["onnxruntime"] == onnxruntime.__version__
    for part in manifest["parts"]:
        assert part["sha256"] == hashlib.sha256((out / part["file"]).read_bytes()).hexdigest()
        assert part["opsets"][""] >= 17


def test_the_same_export_is_made_once(exported, paths, root, tmp_path, monkeypatch):
    for kind in (Prefill, Step, Traced):
        monkeypatch.setattr(kind, "write", lambda self, path: pytest.fail("made again"))
    again = export_onnx(paths, tmp_path / "again", root=root)
    assert [each.sha256 for each in again] == [each.sha256 for each in exported[1]]


def test_decoding_with_the_files_gives_the_networks_tokens(exported, paths):
    """Prefill, then steps that are fed what the step before gave: as another program would use them."""
    from sovits_rt.models import Models

    out, _ = exported
    network = Models(paths, torch.device("cpu")).t2s
    prefill, step = (onnxruntime.InferenceSession(str(out / f"{name}.onnx")) for name in ("prefill", "step"))
    phones, bert, tokens = np.arange(1, 12), np.zeros((11, 1024), np.float32), np.array([5, 9, 3])
    memory = network.new_memory(1, 64, dtype=torch.float32, device=torch.device("cpu"))
    with torch.inference_mode():
        plain = network.prefill(*(torch.from_numpy(each) for each in (phones, bert, tokens)), memory[:, :, 0])[-1]
    names = [each.name for each in prefill.get_outputs()]
    found = dict(zip(names, prefill.run(None, {"phones": phones, "bert": bert, "tokens": tokens}), strict=True))
    rows = {name: np.pad(each, ((0, 0), (0, 0), (0, 50), (0, 0))) for name, each in found.items() if name != "logits"}
    logits, worst = found["logits"][-1], 0.0
    for place in range(10):
        worst = max(worst, float(np.abs(logits - plain.numpy()).max()))
        assert int(logits.argmax()) == int(plain.argmax())
        token, position, length = np.array([logits.argmax()]), np.array([3 + place]), np.array([14 + place])
        with torch.inference_mode():
            plain = network.step(*(torch.from_numpy(each) for each in (token, position, length)), memory)[0]
        given = {"tokens": token, "audio_positions": position, "lengths": length.astype(np.int32), **rows}
        logits, *grown = step.run(None, {**given, "window": np.array(length[0] + 1, np.int32)})
        logits, rows = logits[0], dict(zip(rows, grown, strict=True))
    print(f"largest difference of logits {worst:.1e}")
    assert worst < 1e-4


def test_a_part_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    torch.manual_seed(0)
    network = T2S(T2SConfig(width=16, heads=2, layers=2, text_vocab=20, audio_vocab=33), positions=300).eval()
    part = Step(network)
    part.write(tmp_path / "step.onnx")
    assert export._checked(part, tmp_path / "step.onnx").difference < 1e-5
    with torch.no_grad():
        network.ar_predict_layer.weight.mul_(1.1)
    with pytest.raises(ExportError, match="differs from torch"):
        export._checked(part, tmp_path / "step.onnx")


def test_a_missing_package_is_named(paths, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(MissingExtraError, match=r"needs onnxscript; pip install 'sovits-rt\[onnx\]'"):
        export_onnx(paths, tmp_path)


def test_what_is_kept_depends_on_everything_that_is_named(tmp_path):
    made = []

    def make(path):
        made.append(path.name)
        path.write_text("content")

    first = cache.artefact("a", {"weights": "1", "torch": "2"}, make, root=tmp_path)
    assert cache.artefact("a", {"torch": "2", "weights": "1"}, make, root=tmp_path) == first
    assert cache.artefact("a", {"weights": "1", "torch": "3"}, make, root=tmp_path) != first
    assert cache.artefact("b", {"weights": "1", "torch": "2"}, make, root=tmp_path) != first
    assert made == ["a", "a", "b"]
    assert first.read_text() == "content"


def test_nothing_is_kept_of_what_failed(tmp_path):
    def fail(path):
        path.write_text("half")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        cache.artefact("a", {}, fail, root=tmp_path)
    assert list(tmp_path.iterdir()) == []
