"""BERT, the text encoder behind the Chinese prosody features.

Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding".
Parameter names are those of Hugging Face `BertModel` (a `BertForMaskedLM` file without its `bert.` prefix). GPT-SoVITS
reads `hidden_states[-3]`, so of 24 stored layers only the first 22 are built.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sovits_rt.nn.attention import attend

# hidden_states[-3] is the output of the layer before the last two.
SKIPPED_LAYERS = 2

# Names that a checkpoint may have and no BertConfig needs: the heads (all names below "head."), and constants that old
# files store.
UNUSED = ("cls.", "pooler.", "embeddings.position_ids", "embeddings.token_type_ids")


@dataclass(frozen=True, slots=True)
class BertConfig:
    """Sizes; the defaults are those of chinese-roberta-wwm-ext-large. layers: how many are run, of the stored ones."""

    vocabulary: int = 21128
    positions: int = 512
    token_types: int = 2
    hidden: int = 1024
    feed_forward: int = 4096
    heads: int = 16
    layers: int = 24 - SKIPPED_LAYERS
    norm_epsilon: float = 1e-12

    @classmethod
    def from_huggingface(cls, config: Mapping[str, Any]) -> "BertConfig":
        """config: a parsed `config.json`, or the same names in another mapping.

        Raises ValueError for the variants that this network is not, KeyError for a missing size.
        """
        for name, wanted in (("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
            if config.get(name, wanted) != wanted:
                raise ValueError(f"This BERT has {name} {config[name]!r}, but only {wanted!r} is supported.")
        if config["num_hidden_layers"] <= SKIPPED_LAYERS:
            raise ValueError(
                f"This BERT has {config['num_hidden_layers']} layers, but at least {SKIPPED_LAYERS + 1} are needed."
            )
        return cls(
            vocabulary=config["vocab_size"],
            positions=config["max_position_embeddings"],
            token_types=config["type_vocab_size"],
            hidden=config["hidden_size"],
            feed_forward=config["intermediate_size"],
            heads=config["num_attention_heads"],
            layers=config["num_hidden_layers"] - SKIPPED_LAYERS,
            norm_epsilon=config["layer_norm_eps"],
        )


def unused(config: BertConfig, stored_layers: int) -> tuple[str, ...]:
    """UNUSED and the layers that are not built; names have no `bert.` prefix, "layer.5." stands for all below it."""
    return UNUSED + tuple(f"encoder.layer.{layer}." for layer in range(config.layers, stored_layers))


class Embeddings(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocabulary, config.hidden)
        self.position_embeddings = nn.Embedding(config.positions, config.hidden)
        self.token_type_embeddings = nn.Embedding(config.token_types, config.hidden)
        self.LayerNorm = nn.LayerNorm(config.hidden, eps=config.norm_epsilon)

    def forward(self, ids: Tensor) -> Tensor:
        # One text only, never a pair: every token has type 0.
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.word_embeddings(ids) + self.token_type_embeddings.weight[0] + self.position_embeddings(positions)
        normed: Tensor = self.LayerNorm(x)
        return normed


class SelfAttention(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.hidden, config.hidden)
        self.key = nn.Linear(config.hidden, config.hidden)
        self.value = nn.Linear(config.hidden, config.hidden)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return attend(self.query(x), self.key(x), self.value(x), self.heads, key_mask=mask)


class Output(nn.Module):
    """Projection, residual sum, norm: the end of both halves of a layer."""

    def __init__(self, inputs: int, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden)
        self.LayerNorm = nn.LayerNorm(config.hidden, eps=config.norm_epsilon)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(self.dense(x) + residual)
        return normed


class Attention(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Output(config.hidden, config)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        out: Tensor = self.output(self.self(x, mask), x)
        return out


class Intermediate(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden, config.feed_forward)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.dense(x))


class Layer(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = Output(config.feed_forward, config)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.attention(x, mask)
        out: Tensor = self.output(self.intermediate(x), x)
        return out


class Encoder(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class Bert(nn.Module):
    """Token ids to the hidden state of the last layer that is built. It knows nothing of characters or phones."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """ids: int64 [B, n] with the start and end tokens; mask: bool [B, n], True for real tokens, or None for all.

        Returns [B, n, hidden]. Raises ValueError when n exceeds the stored positions.
        """
        if ids.shape[1] > self.config.positions:
            raise ValueError(
                f"BERT reads at most {self.config.positions} tokens at once, but got {ids.shape[1]}; split the text."
            )
        hidden: Tensor = self.encoder(self.embeddings(ids), mask)
        return hidden
