from dataclasses import replace

import pytest
import torch

from sovits_rt.nn.attention import length_mask
from sovits_rt.nn.flow import FlowConfig
from sovits_rt.nn.hifigan import GeneratorConfig
from sovits_rt.nn.quantizer import QuantizerConfig
from sovits_rt.nn.sovits import Sovits, SovitsNetConfig, sample_prior
from sovits_rt.nn.style import StyleConfig
from sovits_rt.nn.text_encoder import TextEncoderConfig

TEXT = TextEncoderConfig(phones=30, semantic=10, latent=6, hidden=12, feed_forward=16, layers=2, mixer=16)
UPSTREAM = {
    "inter_channels": 192,
    "hidden_channels": 192,
    "filter_channels": 768,
    "n_heads": 2,
    "n_layers": 6,
    "kernel_size": 3,
    "gin_channels": 1024,
    "resblock": "1",
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "upsample_rates": [10, 8, 2, 2, 2],
    "upsample_kernel_sizes": [16, 16, 8, 2, 2],
    "upsample_initial_channel": 512,
}


def config(speaker_features):
    voice = 8 if speaker_features else 16
    return SovitsNetConfig(
        text=TEXT,
        flow=FlowConfig(voice=voice, latent=6, hidden=8),
        generator=GeneratorConfig(voice=voice, latent=6, channels=32),
        style=StyleConfig(bins=20, voice=voice, hidden=8),
        quantizer=QuantizerConfig(channels=10, codes=24),
        speaker_features=speaker_features,
    )


@pytest.fixture
def plain(fill):
    return fill(Sovits(config(speaker_features=0)))


@pytest.fixture
def pro(fill):
    return fill(Sovits(config(speaker_features=40)))


def test_upstream_sizes_of_v2pro():
    assert SovitsNetConfig.from_upstream(
        UPSTREAM, phones=732, style_bins=704, speaker_features=20480
    ) == SovitsNetConfig(
        text=TextEncoderConfig(phones=732),
        flow=FlowConfig(voice=1024),
        generator=GeneratorConfig(voice=1024),
        style=StyleConfig(bins=704, voice=1024),
        speaker_features=20480,
    )


def test_another_residual_block_is_refused():
    with pytest.raises(ValueError, match="resblock '2'"):
        SovitsNetConfig.from_upstream({**UPSTREAM, "resblock": "2"}, phones=732, style_bins=704)


def test_without_speaker_features_the_mixer_is_as_wide_as_the_voice():
    reduced = {**UPSTREAM, "gin_channels": 96, "ssl_dim": 64}
    built = SovitsNetConfig.from_upstream(reduced, phones=732, style_bins=704)
    assert (built.text.mixer, built.text.semantic, built.quantizer.channels) == (96, 64, 64)
    published = SovitsNetConfig.from_upstream({**UPSTREAM, "gin_channels": 512}, phones=732, style_bins=704)
    assert published.text == TextEncoderConfig(phones=732)


def test_a_voice_that_the_text_encoder_cannot_read_is_refused():
    with pytest.raises(ValueError, match="16 channels are needed, but got 20"):
        replace(
            config(speaker_features=0),
            flow=FlowConfig(voice=20, latent=6, hidden=8),
            generator=GeneratorConfig(voice=20, latent=6, channels=32),
            style=StyleConfig(bins=20, voice=20, hidden=8),
        )


@torch.inference_mode()
def test_a_voice_without_speaker_features_is_the_mean(plain, random):
    references = torch.randn(3, 16, 1, generator=random)
    voice, text_voice = plain.style(references)
    assert torch.equal(voice, references.mean(0, keepdim=True))
    assert torch.equal(text_voice, voice)


@torch.inference_mode()
def test_speaker_features_join_before_the_mean(pro, random):
    references, features = torch.randn(3, 8, 1, generator=random), torch.randn(3, 40, generator=random)
    voice, text_voice = pro.style(references, features)
    singles = torch.cat([pro.style(r[None], f[None])[0] for r, f in zip(references, features, strict=True)])
    difference = (voice - singles.mean(0, keepdim=True)).abs().max()
    print(f"largest difference {difference:.1e}")
    assert difference < 1e-6
    assert text_voice.shape == (1, 16, 1)
    assert (pro.prelu.weight != 1).all()


def test_speaker_features_must_fit_the_version(plain, pro):
    with pytest.raises(ValueError, match="needs speaker features, but got none"):
        pro.style(torch.zeros(1, 8, 1))
    with pytest.raises(ValueError, match="takes no speaker features, but got some"):
        plain.style(torch.zeros(1, 16, 1), torch.zeros(1, 40))


@torch.inference_mode()
def test_bins_above_those_of_the_style_encoder_are_ignored(plain, random):
    spectrogram = torch.rand(1, 33, 12, generator=random)
    assert torch.equal(plain.encode_reference(spectrogram), plain.encode_reference(spectrogram[:, :20]))


@pytest.mark.parametrize("frames", [8, 9])
@torch.inference_mode()
def test_two_frames_to_a_token(plain, random, frames):
    hubert = torch.randn(1, 9, 10, generator=random)
    codes = plain.codes(hubert[:, :frames])
    assert codes.shape == (1, 4)
    assert torch.equal(codes, plain.codes(hubert[:, :8]))


@torch.inference_mode()
def test_batched_sentences_equal_single_ones(pro, random):
    codes, phones = torch.randint(24, (2, 10), generator=random), torch.randint(30, (2, 7), generator=random)
    voice, text_voice = torch.randn(1, 8, 1, generator=random), torch.randn(1, 16, 1, generator=random)
    noise = torch.randn(2, 6, 20, generator=random)

    def speak(codes, phones, noise, codes_mask=None, phones_mask=None):
        mean, deviation = pro.encode_text(codes, phones, text_voice, 1.0, codes_mask, phones_mask)
        mask = None if codes_mask is None else codes_mask.repeat_interleave(2, dim=2)
        return pro.generate(pro.latent(sample_prior(mean, deviation, noise, 0.5), voice, mask), voice, mask)

    lengths = ((10, 4), (6, 7))
    masks = [length_mask(torch.tensor(column), column_max) for column, column_max in (((10, 6), 10), ((4, 7), 7))]
    batch = speak(codes, phones, noise, *masks)
    for row, (tokens, symbols) in enumerate(lengths):
        alone = speak(codes[row, None, :tokens], phones[row, None, :symbols], noise[row, None, :, : 2 * tokens])
        difference = (batch[row, :, : tokens * 1280] - alone[0]).abs().max()
        print(f"row {row}: largest difference {difference:.1e}")
        assert alone.shape == (1, 1, tokens * 1280)
        assert difference < 1e-5


def test_noise_is_scaled_by_its_deviation():
    zeros, ones = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    assert torch.equal(sample_prior(ones, zeros, 4 * ones, 0.5), 3 * ones)
    assert torch.equal(sample_prior(ones, ones, 4 * ones, 0.0), ones)
