"""Text-to-semantic decoder (GPT-SoVITS stage 1): phones and reference tokens in, 25 Hz semantic tokens out.

A post-norm transformer. Text positions see all text and no audio; audio positions see all text and earlier audio.
The network keeps no state: key/value memory is an argument, one row ("slot") per sentence, filled from the left.
It knows nothing of sampling, of stopping, or of how it is run.

Source: upstream AR/models/t2s_model.py (infer_panel_*), AR/modules/embedding.py.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BERT_WIDTH = 1024


@dataclass(frozen=True, slots=True)
class T2SConfig:
    """width: model dimension; text_vocab / audio_vocab: embedding rows (audio_vocab counts the end token, its last)."""

    width: int
    heads: int
    layers: int
    text_vocab: int
    audio_vocab: int

    @property
    def eos(self) -> int:
        return self.audio_vocab - 1

    @property
    def head_width(self) -> int:
        return self.width // self.heads


class TokenEmbedding(nn.Module):
    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(rows, width)

    def forward(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.word_embeddings(ids)
        return embedded


class Position(nn.Module):
    """x + alpha * sinusoid(position): interleaved sin/cos, base 10000, learned scalar alpha."""

    table: Tensor

    def __init__(self, width: int, positions: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1))
        self.register_buffer("table", sinusoids(positions, width), persistent=False)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        # x: [..., W], positions: [...] -> [..., W]
        return x + self.alpha * self.table[positions]


def sinusoids(positions: int, width: int) -> Tensor:
    """[positions, width] in float32, on the CPU even where the network is being built without storage."""
    cpu = torch.device("cpu")
    position = torch.arange(positions, dtype=torch.float32, device=cpu).unsqueeze(1)
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32, device=cpu) * -(math.log(10000.0) / width))
    table = torch.zeros(positions, width, device=cpu)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)
    return table


class SelfAttention(nn.Module):
    """Packed query/key/value projection; attention over keys and values that the caller supplies."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.in_proj_bias)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # x: [B, T, W] -> query, key, value: [B, H, T, D]
        batch, time, width = x.shape
        packed = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        query, key, value = packed.view(batch, time, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        return query, key, value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        # query: [B, H, T, D], key/value: [B, H, S, D], mask: bool, True = visible, broadcasts to [B, H, T, S]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        attended: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return attended


class Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = SelfAttention(width, heads)
        self.linear1 = nn.Linear(width, 4 * width)
        self.linear2 = nn.Linear(4 * width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        x = self.norm1(x + attended)
        out: Tensor = self.norm2(x + self.linear2(F.relu(self.linear1(x))))
        return out


class Stack(nn.Module):
    def __init__(self, config: T2SConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config.width, config.heads) for _ in range(config.layers))

    def __iter__(self) -> Iterator[Layer]:
        return iter(cast("Iterable[Layer]", self.layers))


class T2S(nn.Module):
    """Parameter names are upstream's without the leading "model."."""

    def __init__(self, config: T2SConfig, *, positions: int = 4096) -> None:
        super().__init__()
        self.config = config
        self.positions = positions
        self.bert_proj = nn.Linear(BERT_WIDTH, config.width)
        self.ar_text_embedding = TokenEmbedding(config.text_vocab, config.width)
        self.ar_text_position = Position(config.width, positions)
        self.ar_audio_embedding = TokenEmbedding(config.audio_vocab, config.width)
        self.ar_audio_position = Position(config.width, positions)
        self.h = Stack(config)
        self.ar_predict_layer = nn.Linear(config.width, config.audio_vocab, bias=False)

    def new_memory(self, slots: int, capacity: int, *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Key/value memory: [L, 2, slots, H, capacity, D]; rows are valid up to the slot's length."""
        config = self.config
        shape = (config.layers, 2, slots, config.heads, capacity, config.head_width)
        return torch.zeros(shape, dtype=dtype, device=device)

    def prefill(self, phones: Tensor, bert: Tensor, tokens: Tensor, memory: Tensor) -> Tensor:
        """Read one sentence's text and prompt; fill its memory from position 0.

        phones: [n] int64, prompt phones then text phones. bert: [n, 1024]. tokens: [t] int64 reference tokens, t may
        be 0 (no prompt). memory: [L, 2, H, capacity, D], one slot's view, capacity >= n + t.
        Returns logits [max(t, 1), audio_vocab]: one row per audio position, or the last text position without a prompt.
        """
        text, audio = phones.shape[0], tokens.shape[0]
        assert bert.shape == (text, BERT_WIDTH)
        steps = torch.arange(max(text, audio), device=phones.device)
        x = self.ar_text_embedding(phones) + self.bert_proj(bert)
        x = self.ar_text_position(x, steps[:text])
        y = self.ar_audio_position(self.ar_audio_embedding(tokens), steps[:audio])
        hidden = torch.cat([x, y]).unsqueeze(0)
        mask = visible(text, audio, phones.device)
        length = text + audio
        for layer, (keys, values) in zip(self.h, memory, strict=True):
            query, key, value = layer.self_attn.project(hidden)
            keys[:, :length] = key[0]
            values[:, :length] = value[0]
            hidden = layer.finish(hidden, layer.self_attn.attend(query, key, value, mask))
        logits: Tensor = self.ar_predict_layer(hidden[0, min(text, length - 1) :])
        return logits

    def prefill_many(
        self, phones: Tensor, bert: Tensor, tokens: Tensor, texts: Tensor, lengths: Tensor, memory: Tensor
    ) -> Tensor:
        """`prefill` of several sentences at once, each padded at its end to P positions.

        phones: [B, P] int64 from position 0. bert: [B, P, 1024]. tokens: [B, P] int64 from position texts[b]. texts,
        lengths: [B] how many phones, and phones and tokens together. memory: [L, 2, B, H, P, D]; rows from lengths[b]
        on are left with whatever padding gives. Returns logits [B, audio_vocab] of each last position.
        """
        index = torch.arange(phones.shape[1], device=phones.device)
        text = (index < texts.unsqueeze(1)).unsqueeze(2)
        x = self.ar_text_position(self.ar_text_embedding(phones) + self.bert_proj(bert), index)
        y = self.ar_audio_position(self.ar_audio_embedding(tokens), (index - texts.unsqueeze(1)).clamp(min=0))
        hidden = torch.where(text, x, y)
        seen_by = torch.maximum(index, texts.unsqueeze(1) - 1)
        mask = (index <= seen_by.unsqueeze(2)).unsqueeze(1)
        for layer, (keys, values) in zip(self.h, memory, strict=True):
            query, key, value = layer.self_attn.project(hidden)
            keys.copy_(key)
            values.copy_(value)
            hidden = layer.finish(hidden, layer.self_attn.attend(query, key, value, mask))
        last = hidden[torch.arange(len(lengths), device=lengths.device), lengths - 1]
        logits: Tensor = self.ar_predict_layer(last)
        return logits

    def step(self, tokens: Tensor, audio_positions: Tensor, lengths: Tensor, memory: Tensor) -> Tensor:
        """One decoding step for every slot.

        tokens: [B] the newest token. audio_positions: [B] its position among the audio. lengths: [B] valid rows of
        memory, where this token's key and value are written. memory: [L, 2, B, H, S, D] with S > max(lengths), often
        the beginning of longer rows: the strides of B and H are those of the whole buffer.
        Returns logits [B, audio_vocab].
        """
        batch, window = tokens.shape[0], memory.shape[4]
        hidden = self.ar_audio_position(self.ar_audio_embedding(tokens), audio_positions).unsqueeze(1)
        rows = torch.arange(batch, device=tokens.device)
        mask = (torch.arange(window, device=tokens.device) <= lengths.unsqueeze(1))[:, None, None, :]
        for index, layer in enumerate(self.h):
            query, key, value = layer.self_attn.project(hidden)
            keys, values = memory[index, 0], memory[index, 1]
            keys[rows, :, lengths] = key[:, :, 0].to(keys.dtype)
            values[rows, :, lengths] = value[:, :, 0].to(values.dtype)
            hidden = layer.finish(hidden, layer.self_attn.attend(query, keys, values, mask))
        logits: Tensor = self.ar_predict_layer(hidden[:, 0])
        return logits


def visible(text: int, audio: int, device: torch.device) -> Tensor:
    """[text + audio, text + audio] bool: text sees text; audio sees text and itself causally."""
    index = torch.arange(text + audio, device=device)
    return index.unsqueeze(0) <= index.clamp(min=text - 1).unsqueeze(1)
