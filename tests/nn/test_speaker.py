import pytest
import torch

from sovits_rt.nn.speaker import SpeakerConfig, SpeakerNet

SMALL = SpeakerConfig(mels=16, channels=8, blocks=(1, 1, 1, 1))


def test_the_published_network_gives_20480_features():
    assert SpeakerConfig().features == 20480


@torch.inference_mode()
def test_shape_and_mode(fill, random):
    network = fill(SpeakerNet(SMALL))
    fbank = torch.randn(2, 50, 16, generator=random)
    out = network(fbank)
    assert out.shape == (2, SMALL.features)
    assert out.std() > 1e-3
    assert torch.equal(network.train()(fbank), out)


def test_another_number_of_bins_is_refused():
    with pytest.raises(ValueError, match="reads 16 mel bins, but got 80"):
        SpeakerNet(SMALL)(torch.zeros(1, 50, 80))
