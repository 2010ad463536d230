"""Where the model files lie: upstream's folder layout, upstream's tts_infer.yaml, or paths given one by one.

Layout of GPT_SoVITS/pretrained_models/ and keys of configs/tts_infer.yaml as in upstream's TTS_Config.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import yaml

from sovits_rt.errors import CheckpointError

_BASE_FILES: Mapping[str, tuple[str, str]] = {
    "v1": ("s1bert25hz-2kh-longer-epoch=68e-step=50232.ckpt", "s2G488k.pth"),
    "v2": (
        "gsv-v2final-pretrained/s1bert25hz-5kh-longer-epoch=12-step=369668.ckpt",
        "gsv-v2final-pretrained/s2G2333k.pth",
    ),
    "v2Pro": ("s1v3.ckpt", "v2Pro/s2Gv2Pro.pth"),
    "v2ProPlus": ("s1v3.ckpt", "v2Pro/s2Gv2ProPlus.pth"),
}
_G2PW_FOLDERS = ("GPT_SoVITS/text/G2PWModel", "../text/G2PWModel", "G2PWModel")  # from a checkout, or from the models
_SPEAKER_FILE = "sv/pretrained_eres2netv2w24s4ep4.ckpt"
_CONFIG_KEYS = {
    "gpt": "t2s_weights_path",
    "sovits": "vits_weights_path",
    "hubert": "cnhuhbert_base_path",
    "bert": "bert_base_path",
}


@dataclass(frozen=True, slots=True)
class ModelPaths:
    """gpt, sovits: checkpoint files. hubert, bert: Hugging Face folders. speaker: the ERes2NetV2 file (v2Pro only).
    g2pw: folder of the Chinese polyphone model, optional everywhere.

    A part that is None is not known; it is an error only where it is needed.
    """

    gpt: Path | None = None
    sovits: Path | None = None
    hubert: Path | None = None
    bert: Path | None = None
    speaker: Path | None = None
    g2pw: Path | None = None

    def override(self, other: "ModelPaths") -> "ModelPaths":
        """The paths of `other` where it has them, else these."""
        given = {f.name: getattr(other, f.name) for f in fields(other) if getattr(other, f.name) is not None}
        return replace(self, **given)

    def require(self, part: str, why: str) -> Path:
        path: Path | None = getattr(self, part)
        if path is None:
            raise CheckpointError(
                f"No path is known for the {part} model, which is needed {why}; give it with --{part}, or name "
                "a folder in upstream's layout with --models."
            )
        return path


def from_folder(folder: Path, version: str, *, pair: bool = True) -> ModelPaths:
    """Find the base models of one version in a checkout of upstream or in its pretrained_models folder.

    pair: whether the GPT and SoVITS files are wanted from there; a user with trained ones needs only their companions.
    """
    if version not in _BASE_FILES:
        raise CheckpointError(f"Model version {version!r} is not known; it must be one of {', '.join(_BASE_FILES)}.")
    root = next(
        (each for each in (folder / "GPT_SoVITS/pretrained_models", folder / "pretrained_models") if each.is_dir()),
        folder,
    )
    gpt, sovits = (root / name for name in _BASE_FILES[version])
    missing = [str(path.relative_to(root)) for path in (gpt, sovits) if not path.is_file()]
    if pair and missing:
        raise CheckpointError(
            f"{folder} has no {' and no '.join(missing)}, the {version} files of upstream's pretrained_models layout; "
            "give that folder, another --model-version, or the files themselves with --gpt and --sovits."
        )
    optional = {
        "gpt": gpt,
        "sovits": sovits,
        "hubert": root / "chinese-hubert-base",
        "bert": root / "chinese-roberta-wwm-ext-large",
        "speaker": root / _SPEAKER_FILE,
    }
    g2pw = next((each for each in (*(folder / g for g in _G2PW_FOLDERS), root / "G2PWModel") if each.is_dir()), None)
    return ModelPaths(**{part: path for part, path in optional.items() if path.exists()}, g2pw=g2pw)


def from_config(config: Path) -> ModelPaths:
    """Read the `custom` section of upstream's tts_infer.yaml. Relative paths are looked up as upstream does, from the
    checkout's root, and beside the file."""
    try:
        data = yaml.safe_load(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{config} can't be read ({error.strerror}); give upstream's tts_infer.yaml.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{config} is not a YAML text; give upstream's tts_infer.yaml.") from error
    section = data.get("custom") if isinstance(data, dict) else None
    if not isinstance(section, dict) or not all(isinstance(section.get(key), str) for key in _CONFIG_KEYS.values()):
        raise CheckpointError(
            f"{config} has no section 'custom' with {', '.join(_CONFIG_KEYS.values())}; give upstream's tts_infer.yaml."
        )
    found = {part: _find(Path(section[key]), key, config) for part, key in _CONFIG_KEYS.items()}
    speaker = found["hubert"].parent / _SPEAKER_FILE
    return ModelPaths(**found, speaker=speaker if speaker.is_file() else None)


def _find(path: Path, key: str, config: Path) -> Path:
    roots = [Path.cwd(), *config.resolve().parents]
    for root in roots:
        if (root / path).exists():
            return root / path
    raise CheckpointError(
        f"{config} says {key}: {path}, but that is neither in the current folder nor beside the file or above it; "
        "correct that line."
    )
