"""Tensors on their way from a file into a network: read, checked, weight norm folded, loaded without leniency."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from sovits_rt.checkpoints.archive import Archive
from sovits_rt.checkpoints.pickles import TensorRef
from sovits_rt.checkpoints.wording import quoted, some
from sovits_rt.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor, nn

# Gain and direction: the names before and since PyTorch 2.0.
_WEIGHT_NORM_NAMES = (("_g", "_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1"))
# Stacked views on one storage are how a small file could fill the memory; tied weights need far less than this.
_MAX_BYTES_PER_FILE_BYTE = 4


def read_tensors(archive: Archive, references: Mapping[str, TensorRef]) -> dict[str, Tensor]:
    """Views of the file, as stored. Raises CheckpointError for missing data and for values that are not finite."""
    weights = {name: archive.tensor(reference) for name, reference in references.items()}
    total = sum(weight.numel() * weight.element_size() for weight in weights.values())
    if total > _MAX_BYTES_PER_FILE_BYTE * len(archive.content):
        raise CheckpointError(
            f"{archive.path} describes {total} bytes of weights, far more than it has: it is damaged."
        )
    require_finite(weights, archive.path)
    return weights


def require_finite(weights: Mapping[str, Tensor], path: object) -> None:
    """Raises CheckpointError that names the first tensor with a NaN or an infinity."""
    import torch

    for name, weight in weights.items():
        if not weight.is_floating_point() or not weight.numel():
            continue
        # min and max pass NaN on, so two numbers speak for all (20 times faster than isfinite on float16).
        low, high = torch.aminmax(weight)
        if not (torch.isfinite(low) and torch.isfinite(high)):
            raise CheckpointError(
                f"{path} has NaN or infinite values in {quoted(name)}: training failed or the file is damaged, "
                "use another checkpoint."
            )


def fold_weight_norm(weights: Mapping[str, Tensor], dim: int, path: object) -> dict[str, Tensor]:
    """Replaces each pair of gain and direction by the weight, in float32: g * v / norm of v over all axes but dim.

    What torch.nn.utils.weight_norm computes for float32 parameters; other tensors stay as they are.
    """
    import torch

    folded: dict[str, Tensor] = {}
    for name, weight in weights.items():
        gain_name, direction_name = _weight_norm_pair(name)
        if not gain_name:
            folded[name] = weight
        elif name == direction_name:
            _require_pair(weights, gain_name, name, path)
        else:
            direction = _require_pair(weights, direction_name, name, path)
            shape = [size if axis == dim else 1 for axis, size in enumerate(direction.shape)]
            if list(weight.shape) != shape:
                raise CheckpointError(
                    f"{path} has {quoted(name)} of shape {list(weight.shape)}, expected {shape}: it is damaged."
                )
            folded[_plain_name(name)] = torch._weight_norm(direction.float(), weight.float(), dim)
    new = {name: weight for name, weight in folded.items() if name not in weights}
    require_finite(new, path)
    return folded


def _weight_norm_pair(name: str) -> tuple[str, str]:
    """Names of gain and direction if `name` is one of such a pair, else two empty names."""
    for gain, direction in _WEIGHT_NORM_NAMES:
        for ending in (gain, direction):
            stem = name.removesuffix(ending)
            if stem != name and (not ending.startswith("_") or stem.endswith(".weight")):
                return stem + gain, stem + direction
    return "", ""


def _plain_name(gain_name: str) -> str:
    old_gain, new_gain = (gain for gain, _ in _WEIGHT_NORM_NAMES)
    return (
        gain_name.removesuffix(old_gain)
        if gain_name.endswith(old_gain)
        else gain_name.removesuffix(new_gain) + "weight"
    )


def _require_pair(weights: Mapping[str, Tensor], name: str, partner: str, path: object) -> Tensor:
    if name not in weights:
        raise CheckpointError(f"{path} has {quoted(partner)} without {quoted(name)}: the file is incomplete.")
    return weights[name]


def load_into(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    what: str,
    may_miss: Collection[str] = (),
    may_ignore: Collection[str] = (),
    consume: bool = False,
) -> None:
    """Copies weights into a network, converted to its dtypes; the network owns its numbers afterwards.

    what: named in errors, such as "the T2S model voice.ckpt". A module built on the meta device gets real tensors.
    may_miss: names that the checkpoint need not have; they keep the module's values.
    may_ignore: names that the checkpoint may have and the module has not. In both, "head." stands for all below it.
    consume: weights is a dict and left empty: each tensor is let go of once it is copied, so that memory never holds
    all of them twice.
    Raises CheckpointError if names or shapes differ; the module is then unchanged.
    """
    import torch

    own = module.state_dict()
    missing = _beyond(own.keys() - weights.keys(), may_miss)
    unexpected = _beyond(weights.keys() - own.keys(), may_ignore)
    if missing or unexpected:
        parts = [f"{len(missing)} missing ({some(missing)})"] if missing else []
        parts += [f"{len(unexpected)} unexpected ({some(unexpected)})"] if unexpected else []
        raise CheckpointError(f"{what} does not fit its network: {' and '.join(parts)}; is it of another version?")
    shared = [name for name in own if name in weights]
    wrong = [name for name in shared if not _fits(weights[name], own[name])]
    if wrong:
        first = wrong[0]
        raise CheckpointError(
            f"{what} does not fit its network: {len(wrong)} of another shape or type ({some(wrong)}), the first is "
            f"{_described(weights[first])} where {_described(own[first])} is expected."
        )
    # Strictness is checked above, where tolerated names are known.
    on_meta = any(own[name].is_meta for name in shared)
    ready = {}
    for name in shared:
        given, dtype = weights[name], own[name].dtype
        ready[name] = given.to(dtype, copy=True, memory_format=torch.contiguous_format) if on_meta else given
        del given
        if consume:
            _forget(weights, name)
    if consume:
        _forget(weights, *weights)  # with the last views the file's pages leave the memory
    module.load_state_dict(ready, strict=False, assign=on_meta)


def _forget(weights: Mapping[str, Tensor], *names: str) -> None:
    assert isinstance(weights, dict)
    for name in names:
        del weights[name]


def _fits(weight: Tensor, own: Tensor) -> bool:
    # Scalars were vectors of one number before PyTorch 0.4, and some tools still write them so; torch takes both.
    same_shape = weight.shape == own.shape or (own.dim() == 0 and weight.shape == (1,))
    return same_shape and weight.is_floating_point() == own.is_floating_point()


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _beyond(names: Iterable[str], tolerated: Collection[str]) -> list[str]:
    prefixes = tuple(name for name in tolerated if name.endswith("."))
    return sorted(name for name in names if name not in tolerated and not name.startswith(prefixes))
