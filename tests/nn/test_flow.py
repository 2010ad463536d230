import pytest
import torch

from sovits_rt.nn.attention import length_mask
from sovits_rt.nn.flow import Coupling, Flow, FlowConfig, halo_frames

SMALL = FlowConfig(voice=5, latent=6, hidden=8)


def forwards(flow, latent, voice):
    """The direction of training: adds what synthesis subtracts, in the opposite order."""
    for part in flow.flows:
        if isinstance(part, Coupling):
            kept, changed = latent.chunk(2, dim=1)
            latent = torch.cat((kept, changed + part.post(part.enc(part.pre(kept), voice, None))), dim=1)
        else:
            latent = latent.flip(1)
    return latent


@torch.inference_mode()
def test_the_flow_undoes_its_inverse(fill, random):
    flow = fill(Flow(SMALL))
    latent, voice = torch.randn(1, 6, 30, generator=random), torch.randn(1, 5, 1, generator=random)
    prior = forwards(flow, latent, voice)
    difference = (flow(prior, voice) - latent).abs().max()
    print(f"largest difference {difference:.1e}")
    assert (prior - latent).abs().max() > 0.1
    assert difference < 1e-5


@pytest.mark.parametrize(("config", "frames"), [(FlowConfig(voice=512), 32), (FlowConfig(voice=5, couplings=2), 16)])
def test_halo_of_known_sizes(config, frames):
    assert halo_frames(config) == frames


def test_the_halo_is_how_far_the_flow_reaches(fill, random):
    flow = fill(Flow(SMALL)).double()
    prior = torch.randn(1, 6, 100, generator=random, dtype=torch.float64, requires_grad=True)
    flow(prior, torch.ones(1, 5, 1, dtype=torch.float64))[..., 50].sum().backward()
    reached = prior.grad[0].abs().sum(0).nonzero()[:, 0]
    assert (reached.min(), reached.max()) == (50 - halo_frames(SMALL), 50 + halo_frames(SMALL))


@torch.inference_mode()
def test_a_masked_row_equals_that_row_alone(fill, random):
    flow = fill(Flow(SMALL))
    prior, voice = torch.randn(2, 6, 40, generator=random), torch.randn(2, 5, 1, generator=random)
    out = flow(prior, voice, length_mask(torch.tensor([40, 23]), 40))
    difference = (out[1, :, :23] - flow(prior[1:, :, :23], voice[1:])[0]).abs().max()
    print(f"largest difference {difference:.1e}")
    assert difference < 1e-5
    assert out[1, :, 23:].abs().sum() == 0


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="got 7 channels"):
        FlowConfig(voice=5, latent=7)
    with pytest.raises(ValueError, match="must be odd, but got 4"):
        Flow(FlowConfig(voice=5, kernel=4))
