import math

import pytest
import torch

from sovits_rt.nn.attention import length_mask
from sovits_rt.nn.text_encoder import RelativeAttention, TextEncoder, TextEncoderConfig, band, stretched_frames

SMALL = TextEncoderConfig(
    phones=30, semantic=10, latent=4, hidden=12, feed_forward=16, layers=2, mixer=16, mixer_heads=4, window=3
)


def spelled_out(attention, x):
    """Relative attention, one pair of frames at a time. x: [C, T]."""
    size = x.shape[0] // attention.heads
    query, key, value = (
        conv(x[None])[0].view(attention.heads, size, -1)
        for conv in (attention.conv_q, attention.conv_k, attention.conv_v)
    )
    mixed = torch.zeros_like(query)
    frames = range(x.shape[1])
    for head in range(attention.heads):
        for i in frames:
            keys, values = [], []
            for j in frames:
                near = abs(j - i) <= attention.window
                at = j - i + attention.window
                keys.append(key[head, :, j] + (attention.emb_rel_k[0, at] if near else 0))
                values.append(value[head, :, j] + (attention.emb_rel_v[0, at] if near else 0))
            scores = torch.stack([query[head, :, i] @ k / math.sqrt(size) for k in keys])
            mixed[head, :, i] = scores.softmax(0) @ torch.stack(values)
    return attention.conv_o(mixed.flatten(0, 1)[None])[0]


@pytest.mark.parametrize("frames", [1, 2, 4, 11])
@torch.inference_mode()
def test_relative_attention_equals_its_definition(fill, random, frames):
    attention = fill(RelativeAttention(SMALL), spread=2.0)
    x = torch.randn(1, 12, frames, generator=random)
    difference = (attention(x, band(frames, 3, x.device), None)[0] - spelled_out(attention, x[0])).abs().max()
    print(f"largest difference {difference:.1e}")
    assert difference < 1e-5


@torch.inference_mode()
def test_a_masked_row_equals_that_row_alone(fill, random):
    encoder = fill(TextEncoder(SMALL))
    semantic, voice = torch.randn(2, 10, 20, generator=random), torch.randn(2, 16, 1, generator=random)
    phones = torch.randint(30, (2, 9), generator=random)
    mask, phones_mask = length_mask(torch.tensor([20, 13]), 20), length_mask(torch.tensor([5, 9]), 9)
    batch = encoder(semantic, phones, voice, mask=mask, phones_mask=phones_mask)
    for row, frames, symbols in ((0, 20, 5), (1, 13, 9)):
        alone = encoder(semantic[row, None, :, :frames], phones[row, None, :symbols], voice[row, None])
        for name, ours, single in zip(("y", "mean", "log deviation"), batch, alone, strict=True):
            difference = (ours[row, :, :frames] - single[0]).abs().max()
            print(f"row {row} {name}: largest difference {difference:.1e}")
            assert difference < 1e-5
            assert ours[row, :, frames:].abs().sum() == 0


@pytest.mark.parametrize(("speed", "frames"), [(1.0, 20), (0.7, 29), (1.3, 16), (2.0, 11)])
@torch.inference_mode()
def test_speed_changes_the_number_of_frames(fill, random, speed, frames):
    encoder = fill(TextEncoder(SMALL))
    y, mean, log_deviation = encoder(
        torch.randn(1, 10, 20, generator=random), torch.tensor([[1, 2]]), torch.zeros(1, 16, 1), speed
    )
    assert y.shape == (1, 12, frames)
    assert mean.shape == log_deviation.shape == (1, 4, frames)


def test_just_above_normal_speed_still_adds_a_frame():
    assert stretched_frames(100, 1.0001) == 100
    assert stretched_frames(100, 0.9999) == 101


def test_speed_with_a_mask_is_refused():
    mask = torch.ones(1, 1, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"Speed 1\.2 needs sentences one by one"):
        TextEncoder(SMALL)(torch.zeros(1, 10, 4), torch.tensor([[1]]), torch.zeros(1, 16, 1), 1.2, mask)


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="got 192 by 5"):
        TextEncoderConfig(phones=3, heads=5)
