"""HuBERT, the speech encoder whose features become semantic tokens.

Source: Hsu et al. 2021, "HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of Hidden Units",
the base form: group norm in the first convolution, layer norm after each residual sum. Parameter names are those of
Hugging Face `HubertModel`; the weight norm of the positional convolution is folded into a plain `weight`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from sovits_rt.nn.attention import attend

# Names that a checkpoint has and inference does not need: the mask of training.
UNUSED = ("masked_spec_embed",)


@dataclass(frozen=True, slots=True)
class HubertConfig:
    """Sizes; the defaults are those of chinese-hubert-base."""

    conv_channels: tuple[int, ...] = (512,) * 7
    conv_kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = False
    hidden: int = 768
    feed_forward: int = 3072
    heads: int = 12
    layers: int = 12
    position_kernel: int = 128
    position_groups: int = 16
    norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        if not len(self.conv_channels) == len(self.conv_kernels) == len(self.conv_strides) > 0:
            raise ValueError(
                "HuBERT needs one channel count, kernel and stride per convolution, but got "
                f"{len(self.conv_channels)}, {len(self.conv_kernels)} and {len(self.conv_strides)}."
            )

    @classmethod
    def from_huggingface(cls, config: Mapping[str, Any]) -> "HubertConfig":
        """config: a parsed `config.json`, or the same names in another mapping.

        Raises ValueError for the variants that this network is not, KeyError for a missing size.
        """
        for name, wanted in (
            ("feat_extract_norm", "group"),
            ("do_stable_layer_norm", False),
            ("feat_extract_activation", "gelu"),
            ("hidden_act", "gelu"),
            ("feat_proj_layer_norm", True),
            ("conv_pos_batch_norm", False),
        ):
            if config.get(name, wanted) != wanted:
                raise ValueError(f"This HuBERT has {name} {config[name]!r}, but only {wanted!r} is supported.")
        return cls(
            conv_channels=tuple(config["conv_dim"]),
            conv_kernels=tuple(config["conv_kernel"]),
            conv_strides=tuple(config["conv_stride"]),
            conv_bias=config["conv_bias"],
            hidden=config["hidden_size"],
            feed_forward=config["intermediate_size"],
            heads=config["num_attention_heads"],
            layers=config["num_hidden_layers"],
            position_kernel=config["num_conv_pos_embeddings"],
            position_groups=config["num_conv_pos_embedding_groups"],
            norm_epsilon=config["layer_norm_eps"],
        )

    def frames(self, samples: int) -> int:
        """How many feature frames a recording of that many samples gives."""
        for kernel, stride in zip(self.conv_kernels, self.conv_strides, strict=True):
            samples = (samples - kernel) // stride + 1 if samples >= kernel else 0
        return samples


class ConvLayer(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, *, bias: bool, normalised: bool) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, bias=bias)
        # One group per channel: each channel is normalised over time.
        self.layer_norm = nn.GroupNorm(outputs, outputs) if normalised else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.layer_norm(self.conv(x)))


class FeatureExtractor(nn.Module):
    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        inputs = (1, *config.conv_channels[:-1])
        sizes = zip(inputs, config.conv_channels, config.conv_kernels, config.conv_strides, strict=True)
        self.conv_layers = nn.ModuleList(
            ConvLayer(*size, bias=config.conv_bias, normalised=index == 0) for index, size in enumerate(sizes)
        )

    def forward(self, wav: Tensor) -> Tensor:
        # wav: [B, N] -> [B, T, conv_channels[-1]]
        x = wav[:, None, :]
        for layer in self.conv_layers:
            x = layer(x)
        return x.transpose(1, 2)


class FeatureProjection(nn.Module):
    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.conv_channels[-1], eps=config.norm_epsilon)
        self.projection = nn.Linear(config.conv_channels[-1], config.hidden)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.projection(self.layer_norm(x))
        return projected


class PositionConv(nn.Module):
    """Positions as a grouped convolution over the features themselves."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        kernel = config.position_kernel
        self.conv = nn.Conv1d(config.hidden, config.hidden, kernel, padding=kernel // 2, groups=config.position_groups)

    def forward(self, x: Tensor) -> Tensor:
        # x: [B, T, hidden]; an even kernel gives one frame too many
        return F.gelu(self.conv(x.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj = nn.Linear(config.hidden, config.hidden)
        self.k_proj = nn.Linear(config.hidden, config.hidden)
        self.v_proj = nn.Linear(config.hidden, config.hidden)
        self.out_proj = nn.Linear(config.hidden, config.hidden)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.out_proj(attend(self.q_proj(x), self.k_proj(x), self.v_proj(x), self.heads))
        return mixed


class FeedForward(nn.Module):
    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(config.hidden, config.feed_forward)
        self.output_dense = nn.Linear(config.feed_forward, config.hidden)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output_dense(F.gelu(self.intermediate_dense(x)))
        return out


class Layer(nn.Module):
    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.layer_norm = nn.LayerNorm(config.hidden, eps=config.norm_epsilon)
        self.feed_forward = FeedForward(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden, eps=config.norm_epsilon)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer_norm(x + self.attention(x))
        x = self.final_layer_norm(x + self.feed_forward(x))
        return x


class Encoder(nn.Module):
    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.pos_conv_embed = PositionConv(config)
        self.layer_norm = nn.LayerNorm(config.hidden, eps=config.norm_epsilon)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer_norm(x + self.pos_conv_embed(x))
        for layer in self.layers:
            x = layer(x)
        return x


class Hubert(nn.Module):
    """A recording to its features, 50 per second.

    It knows nothing of silence appended to a reference or of length limits. The first convolution is normalised over
    the whole recording, so recordings of one batch must have one length.
    """

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.config = config
        self.feature_extractor = FeatureExtractor(config)
        self.feature_projection = FeatureProjection(config)
        self.encoder = Encoder(config)

    def forward(self, wav: Tensor) -> Tensor:
        """wav: [B, N] mono 16 kHz in [-1, 1], not normalised. Returns [B, T, hidden], the last hidden state.

        Raises ValueError when the recording is shorter than one frame (400 samples).
        """
        if self.config.frames(wav.shape[-1]) < 1:
            raise ValueError(f"HuBERT needs at least one frame of audio, but got {wav.shape[-1]} samples.")
        features: Tensor = self.encoder(self.feature_projection(self.feature_extractor(wav)))
        return features
