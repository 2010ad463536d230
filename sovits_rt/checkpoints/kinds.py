"""What a torch.save file is, told from the keys in it. Files of other kinds are named, so a mix-up is one sentence."""

import hashlib
from collections.abc import Mapping
from enum import Enum

from sovits_rt.checkpoints.archive import Archive
from sovits_rt.checkpoints.pickles import TensorRef
from sovits_rt.errors import CheckpointError
from sovits_rt.versions import VERSIONS

PHONE_TABLE = "enc_p.text_embedding.weight"
T2S_PHONE_TABLE = "model.ar_text_embedding.word_embeddings.weight"
_LORA_HEADERS = ("03", "04")
# First 8192 bytes of the public base files (upstream process_ckpt.py): nothing else tells v3 from v4.
_DIFFUSION_BASES = {"43797be674a37c1c83ee81081941ed0f": "v3", "4f26b9476d0c5033e04162c486074374": "v4"}


class Kind(Enum):
    """The value is how a sentence calls such a file."""

    T2S = "a T2S (GPT) model"
    SOVITS = "a SoVITS model"
    SPEAKER = "the ERes2NetV2 speaker model"
    HUBERT = "the weights of a HuBERT model"
    BERT = "the weights of a BERT model"
    DIFFUSION = "a SoVITS v3 or v4 model"
    LORA = "a LoRA file for SoVITS v3 or v4"
    VOCODER = "a vocoder of SoVITS v3 or v4"
    SOVITS_TRAINING = "a training state of SoVITS (G_*.pth or D_*.pth)"
    T2S_TRAINING = "a training state of the T2S model (PyTorch Lightning)"
    UNKNOWN = "a PyTorch file of unknown content"


UNSUPPORTED = (Kind.DIFFUSION, Kind.LORA, Kind.VOCODER)
SUPPORT = f"this release of sovits-rt runs {', '.join(VERSIONS)}"
_ADVICE = {
    Kind.T2S: "T2S files end in .ckpt and lie in GPT_weights folders",
    Kind.SOVITS: "SoVITS files end in .pth and lie in SoVITS_weights folders",
    Kind.HUBERT: "give the folder it lies in",
    Kind.BERT: "give the folder it lies in",
    Kind.SOVITS_TRAINING: "give the file that training exported to a SoVITS_weights folder",
    Kind.T2S_TRAINING: "give the file that training exported to a GPT_weights folder",
}


def recognise(archive: Archive) -> Kind:
    root = archive.root
    if not isinstance(root, dict):
        return Kind.UNKNOWN
    if isinstance(root.get("weight"), dict):
        return _exported_kind(archive.header, root, root["weight"])
    if "optimizer" in root and "model" in root:
        return Kind.SOVITS_TRAINING
    if "pytorch-lightning_version" in root or "optimizer_states" in root:
        return Kind.T2S_TRAINING
    if "generator" in root or {"conv_pre.weight", "ups.0.weight"} <= root.keys():
        return Kind.VOCODER
    if {"conv1.weight", "layer1.0.conv1.weight", "fuse34.local_att.0.weight"} <= root.keys():
        return Kind.SPEAKER
    names = {name.removeprefix("hubert.").removeprefix("bert.") for name in root if isinstance(name, str)}
    if "feature_extractor.conv_layers.0.conv.weight" in names:
        return Kind.HUBERT
    return Kind.BERT if "embeddings.word_embeddings.weight" in names else Kind.UNKNOWN


def _exported_kind(header: str, root: Mapping[object, object], weights: Mapping[object, object]) -> Kind:
    names = [name for name in weights if isinstance(name, str)]
    if header in _LORA_HEADERS or "lora_rank" in root or any(".lora_A." in name for name in names):
        return Kind.LORA
    if any(name.startswith("cfm.") for name in names):
        return Kind.DIFFUSION
    if PHONE_TABLE in weights:
        return Kind.SOVITS
    return Kind.T2S if T2S_PHONE_TABLE in weights else Kind.UNKNOWN


def diffusion_version(archive: Archive) -> str | None:
    """ "v3" or "v4" for a file of kind DIFFUSION or LORA, None where nothing in the file tells."""
    by_header = {"02": "v3", "03": "v3", "04": "v4"}.get(archive.header)
    return by_header or _DIFFUSION_BASES.get(hashlib.md5(archive.content[:8192], usedforsecurity=False).hexdigest())


def require(archive: Archive, wanted: Kind) -> dict[str, TensorRef]:
    """The tensors of a file that must be of one kind. Raises CheckpointError that says what it is instead."""
    kind = recognise(archive)
    if kind in UNSUPPORTED:
        raise CheckpointError(
            f"{archive.path} is {kind.value}, which is recognised but not supported: {SUPPORT}; "
            "give a model of one of those."
        )
    if kind is not wanted:
        advice = _ADVICE.get(kind if kind not in (Kind.T2S, Kind.SOVITS) else wanted, "check which file this is")
        raise CheckpointError(f"{archive.path} is {kind.value}, but {wanted.value} is expected here; {advice}.")
    return tensor_table(archive)


def tensor_table(archive: Archive) -> dict[str, TensorRef]:
    """The named tensors of a file: its "weight" entry, or the whole file if it is a bare state dict."""
    assert isinstance(archive.root, dict)
    inner = archive.root.get("weight")
    table = inner if isinstance(inner, dict) else archive.root
    for name, value in table.items():
        if not isinstance(name, str) or not isinstance(value, TensorRef):
            raise CheckpointError(
                f"{archive.path} has a {type(value).__name__} among its weights where a tensor is expected: "
                "it is damaged or not an exported model."
            )
    return table
