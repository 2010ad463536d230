"""Upstream's model files, read without running anything in them, as typed configurations and strict weights.

Knows files, not networks: the engine builds a network from a configuration and calls load_into. torch is imported
by the first function that needs it: what a file is can be said before the process is set up for torch.
"""

from sovits_rt.checkpoints.config import BertConfig, HubertConfig, SovitsConfig, T2SConfig
from sovits_rt.checkpoints.files import content_digest
from sovits_rt.checkpoints.huggingface import BertCheckpoint, HubertCheckpoint, load_bert, load_hubert, weights_file
from sovits_rt.checkpoints.inspection import inspect
from sovits_rt.checkpoints.sovits import SovitsCheckpoint, check_pairing, load_sovits, require_same_features
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
    "require_same_features",
    "weights_file",
]
