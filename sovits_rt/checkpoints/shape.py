"""What can be said of a pair of checkpoints before they are loaded: version, sizes, whether they fit. No torch here."""

from collections.abc import Mapping
from dataclasses import dataclass

from sovits_rt.checkpoints.archive import open_archive
from sovits_rt.checkpoints.config import SovitsConfig, T2SConfig
from sovits_rt.checkpoints.files import Pathlike
from sovits_rt.checkpoints.huggingface import check_bert, check_hubert
from sovits_rt.checkpoints.kinds import Kind, require
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.checkpoints.sovits import recognise_version, require_same_features, require_same_table
from sovits_rt.checkpoints.t2s import t2s_symbols
from sovits_rt.versions import ModelVersion


@dataclass(frozen=True, slots=True)
class Preview:
    """shape: the sizes that decide how fast the pair runs: layers and width of the decoder, channels of the generator;
    "24x512-512" for the published v2 pair. sample_rate: of the speech, Hz. ssl_dim: channels of HuBERT's features."""

    version: ModelVersion
    shape: str
    sample_rate: int
    ssl_dim: int


def check_companions(paths: ModelPaths, models: Preview, *, prompted: bool, chinese: bool) -> None:
    """The other models that a voice and a text need. prompted: with a reference text. chinese: in either text.

    models: of the pair in `paths`. Raises CheckpointError for one that is not known, missing, of another kind or made
    for another pair, as far as tables of contents tell.
    """
    if prompted:
        hubert = paths.require("hubert", "to read a reference recording")
        channels = check_hubert(hubert).hidden_size
        require_same_features(hubert, channels, paths.require("sovits", "always"), models.ssl_dim)
    if chinese:
        check_bert(paths.require("bert", "for Chinese text"))
    if models.version.speaker_embedding:
        require(open_archive(paths.require("speaker", f"by {models.version.name}")), Kind.SPEAKER)


def preview(gpt: Pathlike, sovits: Pathlike) -> Preview:
    """Raises CheckpointError as the loaders do, as far as tables of contents tell."""
    decoder = open_archive(gpt)
    decoder_tensors = require(decoder, Kind.T2S)
    acoustic = open_archive(sovits)
    acoustic_tensors = require(acoustic, Kind.SOVITS)
    assert isinstance(decoder.root, Mapping)
    assert isinstance(acoustic.root, Mapping)
    t2s = T2SConfig.read(decoder.root.get("config"), decoder.path)
    config = SovitsConfig.read(acoustic.root.get("config"), acoustic.path)
    version, _ = recognise_version(acoustic, acoustic_tensors, config)
    require_same_table(decoder.path, t2s_symbols(t2s, decoder_tensors, decoder.path), acoustic.path, version)
    shape = f"{t2s.n_layer}x{t2s.hidden_dim}-{config.upsample_initial_channel}"
    return Preview(version, shape, config.sampling_rate, config.ssl_dim)
