import torch

from sovits_rt.nn.quantizer import Quantizer, QuantizerConfig

SMALL = QuantizerConfig(channels=6, codes=20)


@torch.inference_mode()
def test_each_code_is_nearest_to_its_own_entry(fill):
    quantizer = fill(Quantizer(SMALL), spread=3.0)
    codes = torch.arange(20).view(2, 10)
    features = quantizer.decode(codes)
    assert features.shape == (2, 6, 10)
    assert torch.equal(quantizer.encode(features), codes)


@torch.inference_mode()
def test_the_nearest_entry_wins(fill, random):
    quantizer = fill(Quantizer(SMALL), spread=3.0)
    features = torch.randn(1, 6, 50, generator=random)
    expected = torch.cdist(features[0].t(), quantizer.codebook).argmin(dim=1)
    assert torch.equal(quantizer.encode(features)[0], expected)
    assert len(expected.unique()) > 5
