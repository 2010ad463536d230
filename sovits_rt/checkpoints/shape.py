"""The sizes that decide how fast a pair of checkpoints runs, as a short name. Needs no torch."""

from collections.abc import Mapping

from sovits_rt.checkpoints.archive import open_archive
from sovits_rt.checkpoints.config import SovitsConfig, T2SConfig
from sovits_rt.checkpoints.files import Pathlike
from sovits_rt.checkpoints.kinds import Kind, require


def model_shape(gpt: Pathlike, sovits: Pathlike) -> str:
    """For the published v2 pair "24x512-512": layers and width of the decoder, channels of the generator.

    Raises CheckpointError as the loaders do.
    """
    decoder = open_archive(gpt)
    require(decoder, Kind.T2S)
    acoustic = open_archive(sovits)
    require(acoustic, Kind.SOVITS)
    assert isinstance(decoder.root, Mapping)
    assert isinstance(acoustic.root, Mapping)
    t2s = T2SConfig.read(decoder.root.get("config"), decoder.path)
    generator = SovitsConfig.read(acoustic.root.get("config"), acoustic.path)
    return f"{t2s.n_layer}x{t2s.hidden_dim}-{generator.upsample_initial_channel}"
