"""The sizes of each network, read from a checkpoint's configuration with every value checked.

Field names are upstream's and Hugging Face's own, so that a value can be found in the file it came from.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sovits_rt.checkpoints.wording import quoted
from sovits_rt.errors import CheckpointError

FRAMES_PER_SECOND = 50  # two to a token, whatever the sampling rate
UPSTREAM_SSL_DIM = 768  # channels of chinese-hubert-base, for which upstream's networks are written
_LARGEST = 2**20  # no size of these networks comes near; a larger one is damage


@dataclass(frozen=True, slots=True)
class Section:
    """Part of a configuration. name: how errors call it, such as "config.model of voice.pth"."""

    name: str
    values: Mapping[object, object]

    @classmethod
    def of(cls, name: str, value: object) -> "Section":
        if not isinstance(value, Mapping):
            raise CheckpointError(f"{name} is missing or not a table of settings, so the model can't be built from it.")
        return cls(name, value)

    def section(self, key: str, path: object) -> "Section":
        return Section.of(f"config.{key} of {path}", self.values.get(key))

    def integer(self, key: str, low: int = 1, high: int = _LARGEST, default: int | None = None) -> int:
        value = self.values.get(key, default)
        if type(value) is not int or not low <= value <= high:
            raise self.wrong(key, f"a whole number from {low} to {high}")
        return value

    def divisor(self, key: str, of: str) -> int:
        """A whole number that divides the value of `of`, as heads do the channels that they share."""
        whole = self.integer(of)
        value = self.integer(key, high=whole)
        if whole % value:
            raise self.wrong(key, f"a divisor of {of} ({whole})")
        return value

    def integers(self, key: str) -> tuple[int, ...]:
        values = self.values.get(key)
        if not isinstance(values, list | tuple) or not 0 < len(values) <= 64:
            raise self.wrong(key, "a list of whole numbers")
        inner = Section(self.name, {f"{key}[{i}]": value for i, value in enumerate(values)})
        return tuple(inner.integer(f"{key}[{i}]") for i in range(len(values)))

    def integer_rows(self, key: str) -> tuple[tuple[int, ...], ...]:
        rows = self.values.get(key)
        if not isinstance(rows, list | tuple) or not 0 < len(rows) <= 64:
            raise self.wrong(key, "a list of lists of whole numbers")
        inner = Section(self.name, {f"{key}[{i}]": row for i, row in enumerate(rows)})
        return tuple(inner.integers(f"{key}[{i}]") for i in range(len(rows)))

    def number(self, key: str, low: float, high: float) -> float:
        value = self.values.get(key)
        if type(value) not in (int, float) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.wrong(key, f"a number from {low} to {high}")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def text(self, key: str, allowed: str, default: str = "") -> str:
        """The value, which must be `allowed`: other variants of the network exist but upstream uses none of them."""
        value = self.values.get(key, default or None)
        if value != allowed:
            raise self.wrong(key, quoted(allowed))
        return allowed

    def wrong(self, key: str, expected: str) -> CheckpointError:
        value = self.values.get(key)
        plain = isinstance(value, str | int | float | bool | None)
        shown = quoted(str(value)) if plain else f"a {type(value).__name__}"
        came = f"{key} is {shown}" if key in self.values else f"{key} is missing"
        return CheckpointError(f"{self.name}: {came}, expected {expected}; sovits-rt can't build this model.")


@dataclass(frozen=True, slots=True)
class T2SConfig:
    """Sizes of the text-to-semantic decoder. eos: the end token, the last of vocab_size.

    max_sec: upstream's limit on generated audio in seconds, at the 50 tokens a second that upstream counts with.
    """

    embedding_dim: int
    hidden_dim: int
    head: int
    n_layer: int
    vocab_size: int
    phoneme_vocab_size: int
    eos: int
    max_sec: float

    @classmethod
    def read(cls, value: object, path: object) -> "T2SConfig":
        config = Section.of(f"config of {path}", value)
        model = config.section("model", path)
        vocab_size = model.integer("vocab_size", low=2)
        hidden_dim = model.integer("hidden_dim", low=2)
        return cls(
            embedding_dim=model.integer("embedding_dim", low=hidden_dim, high=hidden_dim),
            hidden_dim=hidden_dim,
            head=model.divisor("head", of="hidden_dim"),
            n_layer=model.integer("n_layer", high=512),
            vocab_size=vocab_size,
            phoneme_vocab_size=model.integer("phoneme_vocab_size"),
            eos=model.integer("EOS", low=vocab_size - 1, high=vocab_size - 1),
            max_sec=config.section("data", path).number("max_sec", 0.02, 100_000),
        )


@dataclass(frozen=True, slots=True)
class SovitsConfig:
    """Sizes of the acoustic network, and sampling_rate in Hz of what it renders.

    ssl_dim: channels of the HuBERT that it was trained with; files without it have upstream's 768. filter_length,
    hop_length, win_length: of the spectrogram in training; a reference's is always made from 32 kHz with the published
    ones (see audio.features), whatever the sampling rate.
    """

    inter_channels: int
    hidden_channels: int
    filter_channels: int
    n_heads: int
    n_layers: int
    kernel_size: int
    gin_channels: int
    ssl_dim: int
    resblock: str
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    upsample_initial_channel: int
    sampling_rate: int
    filter_length: int
    hop_length: int
    win_length: int

    @classmethod
    def read(cls, value: object, path: object) -> "SovitsConfig":
        config = Section.of(f"config of {path}", value)
        model, data = config.section("model", path), config.section("data", path)
        rates = model.integers("upsample_rates")
        read = cls(
            inter_channels=model.integer("inter_channels"),
            hidden_channels=model.integer("hidden_channels"),
            filter_channels=model.integer("filter_channels"),
            n_heads=model.divisor("n_heads", of="hidden_channels"),
            n_layers=model.integer("n_layers", high=512),
            kernel_size=model.integer("kernel_size"),
            gin_channels=model.integer("gin_channels"),
            ssl_dim=model.integer("ssl_dim", default=UPSTREAM_SSL_DIM),
            resblock=model.text("resblock", "1"),
            resblock_kernel_sizes=model.integers("resblock_kernel_sizes"),
            resblock_dilation_sizes=model.integer_rows("resblock_dilation_sizes"),
            upsample_rates=rates,
            upsample_kernel_sizes=model.integers("upsample_kernel_sizes"),
            upsample_initial_channel=model.integer("upsample_initial_channel"),
            sampling_rate=data.integer("sampling_rate"),
            filter_length=data.integer("filter_length"),
            hop_length=data.integer("hop_length"),
            win_length=data.integer("win_length"),
        )
        if len(read.upsample_kernel_sizes) != len(rates):
            raise model.wrong("upsample_kernel_sizes", f"{len(rates)} numbers, one per upsample rate")
        if len(read.resblock_dilation_sizes) != len(read.resblock_kernel_sizes):
            raise model.wrong("resblock_dilation_sizes", f"{len(read.resblock_kernel_sizes)} rows, one per kernel")
        wanted = read.sampling_rate / FRAMES_PER_SECOND
        if math.prod(rates) != wanted:
            raise CheckpointError(
                f"{model.name}: upsample_rates {'x'.join(map(str, rates))} make {math.prod(rates)} samples of a frame, "
                f"expected {wanted:g}, as sampling_rate is {read.sampling_rate} and a second has {FRAMES_PER_SECOND} "
                "frames; sovits-rt can't build this model."
            )
        return read


@dataclass(frozen=True, slots=True)
class HubertConfig:
    """Sizes of the speech encoder: convolutions over the wave, then post-norm transformer layers."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    conv_dim: tuple[int, ...]
    conv_kernel: tuple[int, ...]
    conv_stride: tuple[int, ...]
    conv_bias: bool
    num_conv_pos_embeddings: int
    num_conv_pos_embedding_groups: int
    layer_norm_eps: float

    @classmethod
    def read(cls, config: Section) -> "HubertConfig":
        config.text("feat_extract_norm", "group", default="group")
        config.text("hidden_act", "gelu", default="gelu")
        config.text("feat_extract_activation", "gelu", default="gelu")
        if config.flag("do_stable_layer_norm", False):
            raise config.wrong("do_stable_layer_norm", "false")
        if not config.flag("feat_proj_layer_norm", True):
            raise config.wrong("feat_proj_layer_norm", "true")
        return cls(
            hidden_size=config.integer("hidden_size"),
            num_hidden_layers=config.integer("num_hidden_layers", high=512),
            num_attention_heads=config.divisor("num_attention_heads", of="hidden_size"),
            intermediate_size=config.integer("intermediate_size"),
            conv_dim=config.integers("conv_dim"),
            conv_kernel=config.integers("conv_kernel"),
            conv_stride=config.integers("conv_stride"),
            conv_bias=config.flag("conv_bias", False),
            num_conv_pos_embeddings=config.integer("num_conv_pos_embeddings"),
            num_conv_pos_embedding_groups=config.divisor("num_conv_pos_embedding_groups", of="hidden_size"),
            layer_norm_eps=config.number("layer_norm_eps", 1e-20, 1.0),
        )


@dataclass(frozen=True, slots=True)
class BertConfig:
    """Sizes of the Chinese text encoder. used_layers: the layers below the output that the decoder was trained on."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float

    @property
    def used_layers(self) -> int:
        """Upstream reads hidden_states[-3] (get_bert_feature), which the last two layers don't change."""
        return self.num_hidden_layers - 2

    @classmethod
    def read(cls, config: Section) -> "BertConfig":
        config.text("hidden_act", "gelu", default="gelu")
        config.text("position_embedding_type", "absolute", default="absolute")
        return cls(
            vocab_size=config.integer("vocab_size"),
            hidden_size=config.integer("hidden_size", low=1024, high=1024),
            num_hidden_layers=config.integer("num_hidden_layers", low=3, high=512),
            num_attention_heads=config.divisor("num_attention_heads", of="hidden_size"),
            intermediate_size=config.integer("intermediate_size"),
            max_position_embeddings=config.integer("max_position_embeddings"),
            type_vocab_size=config.integer("type_vocab_size"),
            layer_norm_eps=config.number("layer_norm_eps", 1e-20, 1.0),
        )
