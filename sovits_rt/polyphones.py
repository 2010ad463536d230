"""The Chinese polyphone model, where the user has one."""

from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.text.zh.g2pw import load_g2pw
from sovits_rt.text.zh.polyphones import PolyphoneModel


def load_polyphones(paths: ModelPaths) -> PolyphoneModel | None:
    """g2pW if its folder is known, with BERT's vocabulary; else None, and readings come from pypinyin.

    Raises CheckpointError for a folder that can't be used, MissingExtraError without opencc.
    """
    if paths.g2pw is None:
        return None
    return load_g2pw(paths.g2pw, paths.require("bert", "by g2pW"))
