"""What differs between the GPT-SoVITS model families, as properties. Code asks for a property, never for a name."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """Facts that a SoVITS checkpoint's family fixes and its config does not carry.

    symbols: name of the phone table, "v1" (322 entries) or "v2" (732).
    style_bins: how many of the 1025 spectrogram bins the style encoder reads.
    speaker_embedding: whether an ERes2NetV2 embedding joins the style vector.
    """

    name: str
    symbols: str
    style_bins: int
    speaker_embedding: bool


VERSIONS: dict[str, ModelVersion] = {
    version.name: version
    for version in (
        ModelVersion("v1", symbols="v1", style_bins=1025, speaker_embedding=False),
        ModelVersion("v2", symbols="v2", style_bins=704, speaker_embedding=False),
        ModelVersion("v2Pro", symbols="v2", style_bins=704, speaker_embedding=True),
        ModelVersion("v2ProPlus", symbols="v2", style_bins=704, speaker_embedding=True),
    )
}
