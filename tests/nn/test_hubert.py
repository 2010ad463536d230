import pytest
import torch

from sovits_rt.nn.hubert import Hubert, HubertConfig

SMALL = HubertConfig(conv_channels=(8,) * 7, hidden=32, feed_forward=16, heads=4, layers=2, position_groups=4)
HUGGINGFACE = {
    "conv_dim": [512] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_bias": False,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "layer_norm_eps": 1e-5,
}


def test_defaults_are_those_of_the_published_model():
    assert HubertConfig.from_huggingface(HUGGINGFACE) == HubertConfig()


def test_another_variant_is_refused():
    with pytest.raises(ValueError, match="feat_extract_norm 'layer'"):
        HubertConfig.from_huggingface({**HUGGINGFACE, "feat_extract_norm": "layer"})


@pytest.mark.parametrize(("samples", "frames"), [(399, 0), (400, 1), (719, 1), (720, 2), (89_600, 279)])
def test_frames_of_a_recording(samples, frames):
    assert HubertConfig().frames(samples) == frames


@torch.inference_mode()
def test_shape_follows_frames(fill, random):
    hubert = fill(Hubert(SMALL))
    out = hubert(torch.randn(1, 5000, generator=random))
    assert out.shape == (1, SMALL.frames(5000), 32)
    assert out.std() > 0.1


@torch.inference_mode()
def test_recordings_of_a_batch_do_not_meet(fill, random):
    hubert = fill(Hubert(SMALL))
    wavs = torch.randn(2, 4000, generator=random)
    difference = (hubert(wavs)[1] - hubert(wavs[1:])[0]).abs().max()
    print(f"largest difference {difference:.1e}")
    assert difference < 1e-5


def test_a_recording_shorter_than_one_frame_is_refused():
    with pytest.raises(ValueError, match="got 399 samples"):
        Hubert(SMALL)(torch.zeros(1, 399))
