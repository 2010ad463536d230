import pytest
import torch

from sovits_rt.nn.attention import length_mask
from sovits_rt.nn.hifigan import Generator, GeneratorConfig, halo_frames

SMALL = GeneratorConfig(voice=5, latent=6, channels=32)
PLUS = GeneratorConfig(voice=5, latent=6, channels=32, upsample_kernels=(20, 16, 8, 2, 2))
UNEVEN = GeneratorConfig(
    voice=5, latent=6, channels=8, upsample_rates=(3, 2), upsample_kernels=(9, 4), block_kernels=(5,),
    block_dilations=((1, 2),),
)  # fmt: skip


def rendered(generator, latent, voice, chunk, halo):
    """The whole, rendered `chunk` frames at a time."""
    rate, frames = generator.config.samples_per_frame, latent.shape[2]
    pieces = []
    for start in range(0, frames, chunk):
        end = min(start + chunk, frames)
        first, last = max(start - halo, 0), min(end + halo, frames)
        wav = generator(latent[..., first:last], voice)
        pieces.append(wav[..., (start - first) * rate : (end - first) * rate])
    return torch.cat(pieces, dim=2)


@pytest.mark.parametrize(("config", "frames"), [(GeneratorConfig(voice=512), 11), (PLUS, 11), (SMALL, 11)])
def test_halo_of_known_sizes(config, frames):
    assert halo_frames(config) == frames


@pytest.mark.parametrize("config", [SMALL, PLUS, UNEVEN], ids=["small", "plus", "uneven"])
def test_the_halo_is_how_far_the_generator_reaches(fill, random, config):
    generator = fill(Generator(config)).double()
    latent = torch.randn(1, 6, 40, generator=random, dtype=torch.float64, requires_grad=True)
    rate = config.samples_per_frame
    generator(latent, torch.ones(1, 5, 1, dtype=torch.float64))[..., 20 * rate : 21 * rate].sum().backward()
    reached = latent.grad[0].abs().sum(0).nonzero()[:, 0]
    assert max(20 - reached.min(), reached.max() - 20) == halo_frames(config)


@pytest.mark.parametrize("chunk", [5, 16, 100])
@pytest.mark.parametrize("config", [SMALL, PLUS, UNEVEN], ids=["small", "plus", "uneven"])
@torch.inference_mode()
def test_chunks_equal_the_whole(fill, random, config, chunk):
    # Float64 leaves nothing but a missing frame to differ by; golden tests do the same in float32.
    generator = fill(Generator(config), spread=1.5).double()
    latent = torch.randn(1, 6, 40, generator=random, dtype=torch.float64)
    voice = torch.randn(1, 5, 1, generator=random, dtype=torch.float64)
    whole = generator(latent, voice)
    difference = (rendered(generator, latent, voice, chunk, halo_frames(config)) - whole).abs().max()
    print(f"chunks of {chunk}: largest difference {difference:.1e}")
    assert whole.shape == (1, 1, 40 * config.samples_per_frame)
    assert whole.std() > 0.01
    assert difference < 1e-12


@torch.inference_mode()
def test_a_masked_row_equals_that_row_alone(fill, random):
    generator = fill(Generator(SMALL))
    latent, voice = torch.randn(2, 6, 30, generator=random), torch.randn(2, 5, 1, generator=random)
    out = generator(latent, voice, length_mask(torch.tensor([30, 17]), 30))
    difference = (out[1, :, : 17 * 640] - generator(latent[1:, :, :17], voice[1:])[0]).abs().max()
    print(f"largest difference {difference:.1e}")
    assert difference < 1e-6


@torch.inference_mode()
def test_bfloat16_is_near(fill, random):
    generator = fill(Generator(SMALL))
    latent, voice = torch.randn(1, 6, 20, generator=random), torch.randn(1, 5, 1, generator=random)
    exact = generator(latent, voice)
    rounded = generator.bfloat16()(latent.bfloat16(), voice.bfloat16())
    difference = (rounded.float() - exact).abs().max()
    print(f"largest difference {difference:.1e}")
    assert rounded.dtype == torch.bfloat16
    assert difference < 0.1 * exact.abs().max()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"upsample_rates": (2, 2)}, "needs a rate and a kernel"),
        ({"block_kernels": (3,)}, "needs a kernel and dilations"),
        ({"upsample_kernels": (15, 16, 8, 2, 2)}, "by an even number"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        GeneratorConfig(voice=5, **sizes)
