import pytest
import torch

from sovits_rt.nn.style import StyleConfig, StyleEncoder

SMALL = StyleConfig(bins=20, voice=6, hidden=8)


@torch.inference_mode()
def test_one_vector_per_reference(fill, random):
    encoder = fill(StyleEncoder(SMALL))
    spectrograms = torch.rand(3, 20, 15, generator=random)
    out = encoder(spectrograms)
    difference = (out[1] - encoder(spectrograms[1:2])[0]).abs().max()
    print(f"largest difference {difference:.1e}")
    assert out.shape == (3, 6, 1)
    assert difference < 1e-6
    assert (out[0] - out[1]).abs().max() > 1e-4


def test_another_number_of_bins_is_refused():
    with pytest.raises(ValueError, match="reads 20 bins, but got 21"):
        StyleEncoder(SMALL)(torch.zeros(1, 21, 15))
