"""What several networks share around attention and padding: one attention call and the mask of real frames."""

import torch
from torch import Tensor
from torch.nn import functional as F


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    heads: int,
    *,
    scale: float | None = None,
    key_mask: Tensor | None = None,
) -> Tensor:
    """Multi-head attention over projected inputs.

    query: [B, T, C]; key, value: [B, S, C]; C is split into `heads` equal parts. scale: factor on the scores, or None
    for 1/sqrt(C / heads). key_mask: bool [B, S], True where a key may be seen, or None for all. Returns [B, T, C].
    """
    assert query.shape[-1] % heads == 0
    q, k, v = (x.view(*x.shape[:2], heads, -1).transpose(1, 2) for x in (query, key, value))  # [B, H, T or S, D]
    mask = None if key_mask is None else key_mask[:, None, None, :]
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return mixed.transpose(1, 2).flatten(-2)


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """lengths: int [B]. Returns bool [B, 1, size], True for the first lengths[b] frames of row b."""
    return (torch.arange(size, device=lengths.device) < lengths[:, None])[:, None, :]


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """x: [B, C, T]; mask: bool [B, 1, T] or None when every frame is real. Returns x with the other frames zeroed."""
    return x if mask is None else x * mask
