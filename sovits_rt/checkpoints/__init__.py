"""Upstream's model files, read without running anything in them, as typed configurations and strict weights.

Knows files, not networks: the engine builds a network from a configuration and calls load_into. Names are looked up when
first used, so that what needs no torch (`inspect`, `layout`, `shape`) can run before torch is imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sovits_rt.checkpoints.config import BertConfig, HubertConfig, SovitsConfig, T2SConfig
    from sovits_rt.checkpoints.files import content_digest
    from sovits_rt.checkpoints.huggingface import BertCheckpoint, HubertCheckpoint, load_bert, load_hubert, weights_file
    from sovits_rt.checkpoints.inspection import inspect
    from sovits_rt.checkpoints.sovits import SovitsCheckpoint, check_pairing, load_sovits
    from sovits_rt.checkpoints.speaker import SpeakerCheckpoint, load_speaker
    from sovits_rt.checkpoints.t2s import T2SCheckpoint, load_t2s
    from sovits_rt.checkpoints.weights import load_into

__all__ = [
    "BertCheckpoint",
    "BertConfig",
    "HubertCheckpoint",
    "HubertConfig",
    "SovitsCheckpoint",
    "SovitsConfig",
    "SpeakerCheckpoint",
    "T2SCheckpoint",
    "T2SConfig",
    "check_pairing",
    "content_digest",
    "inspect",
    "load_bert",
    "load_hubert",
    "load_into",
    "load_sovits",
    "load_speaker",
    "load_t2s",
    "weights_file",
]


_HOMES = {
    "huggingface": ("BertCheckpoint", "HubertCheckpoint", "load_bert", "load_hubert", "weights_file"),
    "config": ("BertConfig", "HubertConfig", "SovitsConfig", "T2SConfig"),
    "files": ("content_digest",),
    "inspection": ("inspect",),
    "sovits": ("SovitsCheckpoint", "check_pairing", "load_sovits"),
    "speaker": ("SpeakerCheckpoint", "load_speaker"),
    "t2s": ("T2SCheckpoint", "load_t2s"),
    "weights": ("load_into",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
