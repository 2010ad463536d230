"""What is measured on: checkpoints of the published sizes with seeded random weights, and the work for everybody.

Speed does not depend on the values of weights, so random ones serve; what is spoken is noise. They are written once and
found again. The work is made from a fixed seed and one recording of tests/golden/refs.
"""

import importlib.util
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from sovits_rt.checkpoints.layout import ModelPaths

ROOT = Path(__file__).resolve().parent.parent
COMPANIONS = ROOT / "tests" / "golden" / "companions"
REFERENCE = ROOT / "tests" / "golden" / "refs" / "zh_32k.wav"
VERSIONS, SIZES = ("v2", "v2Pro", "v2ProPlus"), ("full", "small")
SENTENCES, LONGEST_SENTENCE, LONGEST_RENDERED = 64, 400, 1500
PROMPT_PHONES, PROMPT_TOKENS = 50, 100
SEED = 5
PHONE_IDS, TOKENS = 320, 1024  # those that every model has
PUBLISHED_HUBERT: dict[str, Any] = {
    "conv_dim": [512] * 7, "intermediate_size": 3072, "num_hidden_layers": 12, "num_conv_pos_embeddings": 128,
}  # fmt: skip
PUBLISHED_BERT: dict[str, Any] = {"intermediate_size": 4096, "num_hidden_layers": 24}


@dataclass(frozen=True, slots=True)
class Materials:
    """version: of the SoVITS model. size: "full" as published, "small" to try the benchmarks out. folder: where the
    checkpoints are, or are written."""

    version: str
    size: str
    folder: Path

    def paths(self, *, companions: bool) -> ModelPaths:
        """Writes what is not there yet. companions: HuBERT and BERT, too."""
        seeded = _tool("seeded_checkpoints")
        table, stored = seeded.load_table(), seeded.load_stored()

        def made(name: str, size: str) -> Path:
            entry = table.find(name, size)
            path: Path = self.folder / entry.path
            if not path.exists():
                seeded.write_checkpoint(entry, self.folder, seed=table.seed, stored=stored, check=False)
            return path

        speaker = self.version != "v2"
        return ModelPaths(
            gpt=made("t2s_v2", self.size),
            sovits=made(f"sovits_{self.version}", self.size),
            speaker=made("sv", "full") if speaker else None,
            hubert=self._hubert() if companions else None,
            bert=self._bert() if companions else None,
        )

    def _hubert(self) -> Path:
        folder = self._companion("chinese-hubert-base", PUBLISHED_HUBERT)
        if not (folder / "pytorch_model.bin").exists():
            import torch

            from sovits_rt.nn.hubert import Hubert, HubertConfig

            torch.manual_seed(SEED)
            config = json.loads((folder / "config.json").read_text())
            weights = Hubert(HubertConfig.from_huggingface(config)).state_dict()
            name = "encoder.pos_conv_embed.conv.weight"  # stored as direction and length
            direction = weights.pop(name)
            weights |= {f"{name}_v": direction, f"{name}_g": direction.norm(dim=(0, 1), keepdim=True)}
            torch.save({key: each.half() for key, each in weights.items()}, folder / "pytorch_model.bin")
        return folder

    def _bert(self) -> Path:
        folder = self._companion("chinese-roberta-wwm-ext-large", PUBLISHED_BERT)
        if not (folder / "pytorch_model.bin").exists():
            import torch

            from sovits_rt.nn.bert import Bert, BertConfig

            torch.manual_seed(SEED)
            config = json.loads((folder / "config.json").read_text())
            weights = Bert(BertConfig.from_huggingface(config)).state_dict()
            torch.save({f"bert.{key}": each.half() for key, each in weights.items()}, folder / "pytorch_model.bin")
        return folder

    def _companion(self, name: str, published: dict[str, Any]) -> Path:
        """Its folder, with the files that lie beside the weights."""
        folder = self.folder / f"{self.size}-random" / name
        if not folder.exists():
            shutil.copytree(COMPANIONS / name, folder)
            if self.size == "full":
                config = json.loads((folder / "config.json").read_text())
                (folder / "config.json").write_text(json.dumps({**config, **published}))
        return folder

    def write_work(self, paths: ModelPaths, path: Path) -> None:
        """As `peers/_serve.py`, Work, says."""
        import torch

        from sovits_rt.audio.features import fbank80, spectrogram
        from sovits_rt.audio.reference import load_reference, speaker_wave
        from sovits_rt.models import Models
        from sovits_rt.stages.reference import ReferenceEncoder

        models, reference = Models(paths, torch.device("cpu")), load_reference(REFERENCE)
        style, style_text = ReferenceEncoder(models.sovits).style([reference.wav32k], models.speaker)
        speaker = np.zeros((0,), np.float32)
        if models.speaker is not None:
            with torch.inference_mode():
                features = torch.from_numpy(fbank80(speaker_wave(reference.wav32k))[None])
                speaker = models.speaker(features).numpy()
        generator = np.random.default_rng(SEED)
        np.savez(
            path,
            phones=generator.integers(1, PHONE_IDS, (SENTENCES, LONGEST_SENTENCE)),
            prompt_phones=generator.integers(1, PHONE_IDS, PROMPT_PHONES),
            prompt_tokens=generator.integers(0, TOKENS, PROMPT_TOKENS),
            tokens=generator.integers(0, TOKENS, LONGEST_RENDERED),
            wave32k=reference.wav32k,
            wave16k=reference.wav16k,
            spectrum=spectrogram(reference.wav32k),
            speaker=speaker,
            style=style,
            style_text=style_text,
        )


def _tool(name: str) -> ModuleType:
    """A script of tools/ as a module."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
