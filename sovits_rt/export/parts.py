"""The networks as parts of an export: what goes in, what comes out, which lengths may differ from call to call.

The decoder's two graphs are those that the backend "onnxruntime" runs; the other networks are traced by torch.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sovits_rt.backends._decoder_graphs import Formats, memory_names, prefill_graph, step_graph
from sovits_rt.backends._graph import Model
from sovits_rt.models import Models
from sovits_rt.nn.sovits import Sovits, sample_prior
from sovits_rt.nn.t2s import BERT_WIDTH, T2S

OPSET = 18  # of the traced parts
NOISE_SCALE = 0.5  # upstream's; an input of the encoder
Values = dict[str, Tensor]


class Part(Protocol):
    """name: of the file. example: inputs by name; `size` scales every length that may differ. plain: what the network
    itself makes of them. write: the part as a file."""

    @property
    def name(self) -> str: ...

    def example(self, size: int) -> Values: ...

    def plain(self, inputs: Values) -> Values: ...

    def write(self, path: Path) -> None: ...


@dataclass(frozen=True, slots=True)
class Traced:
    """lengths: input -> its axis that may differ. output: name of what comes out."""

    name: str
    network: nn.Module
    make: Callable[[int], Values]
    lengths: Mapping[str, int]
    output: str

    def example(self, size: int) -> Values:
        return self.make(size)

    def plain(self, inputs: Values) -> Values:
        return {self.output: self.network(*inputs.values())}

    def write(self, path: Path) -> None:
        """In opset 18, with the weights inside. The tracer's remarks on its own workings are not passed on."""
        inputs = self.example(3)
        varying = {name: {axis: torch.export.Dim.DYNAMIC} for name, axis in self.lengths.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                self.network,
                tuple(inputs.values()),
                path,
                input_names=list(inputs),
                output_names=[self.output],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=[varying.get(name) for name in inputs],
                external_data=False,
                verbose=False,
            )


@dataclass(frozen=True, slots=True)
class Prefill:
    network: T2S
    name: str = "prefill"

    def example(self, size: int) -> Values:
        phones, tokens = 7 * size, 5 * size
        return {
            "phones": _ids(self.network.config.text_vocab, phones),
            "bert": _normal(phones, BERT_WIDTH),
            "tokens": _ids(self.network.config.eos, tokens),
        }

    def plain(self, inputs: Values) -> Values:
        phones, bert, tokens = (inputs[name] for name in ("phones", "bert", "tokens"))
        positions = len(phones) + len(tokens)
        memory = self.network.new_memory(1, positions, dtype=torch.float32, device=torch.device("cpu"))
        logits = self.network.prefill(phones, bert, tokens, memory[:, :, 0])
        return {"logits": logits, **_memory_parts(memory)}

    def write(self, path: Path) -> None:
        _write(prefill_graph(self.network), path)


@dataclass(frozen=True, slots=True)
class Step:
    network: T2S
    name: str = "step"

    def example(self, size: int) -> Values:
        config, capacity = self.network.config, 20 * size
        lengths = torch.arange(size, dtype=torch.int32) + 8
        memory = _normal(config.layers, 2, size, config.heads, capacity, config.head_width)
        for row, length in enumerate(lengths):  # what lies beyond is not carried over to a new buffer
            memory[:, :, row, :, length:] = 0
        return {
            "tokens": _ids(config.eos, size),
            "audio_positions": torch.arange(size) + 3,
            "lengths": lengths,
            "window": lengths.max() + 1,
            **_memory_parts(memory),
        }

    def plain(self, inputs: Values) -> Values:
        pairs = [torch.stack([inputs[f"key_{i}"], inputs[f"value_{i}"]]) for i in range(self.network.config.layers)]
        memory = torch.stack(pairs)
        lengths = inputs["lengths"].long()
        logits = self.network.step(inputs["tokens"], inputs["audio_positions"], lengths, memory)
        return {"logits": logits, **{f"{name}_out": each for name, each in _memory_parts(memory).items()}}

    def write(self, path: Path) -> None:
        _write(step_graph(self.network, Formats()), path)


class _Encoder(nn.Module):
    """Tokens and phones to the generator's latent, at normal speed."""

    def __init__(self, network: Sovits) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, tokens: Tensor, phones: Tensor, style_text: Tensor, style: Tensor, noise: Tensor, noise_scale: Tensor
    ) -> Tensor:
        mean, log_deviation = self.network.encode_text(tokens, phones, style_text)
        return self.network.latent(sample_prior(mean, log_deviation, noise, noise_scale), style)  # type: ignore[arg-type]


def _encoder_inputs(network: Sovits, size: int) -> Values:
    config = network.config
    return {
        "tokens": _ids(config.quantizer.codes, 9 * size)[None],
        "phones": _ids(config.text.phones, 7 * size)[None],
        "style_text": _normal(1, config.text.mixer, 1),
        "style": _normal(1, config.style.voice, 1),
        "noise": _normal(1, config.text.latent, 18 * size),
        "noise_scale": torch.tensor(NOISE_SCALE),
    }


def _vocoder_inputs(network: Sovits, size: int) -> Values:
    config = network.config
    return {"latent": _normal(1, config.text.latent, 11 * size), "style": _normal(1, config.style.voice, 1)}


def parts_of(models: Models, names: tuple[str, ...]) -> list[Part]:
    """Those of `names`, out of prefill, step, encoder, vocoder, hubert, bert."""
    sovits = models.sovits
    encoder, vocoder = partial(_encoder_inputs, sovits), partial(_vocoder_inputs, sovits)
    lengths = {"tokens": 1, "phones": 1, "noise": 2}
    makers: dict[str, Callable[[], Part]] = {
        "prefill": lambda: Prefill(models.t2s),
        "step": lambda: Step(models.t2s),
        "encoder": lambda: Traced("encoder", _Encoder(sovits).eval(), encoder, lengths, "latent"),
        "vocoder": lambda: Traced("vocoder", sovits.dec, vocoder, {"latent": 2}, "wave"),
        "hubert": lambda: Traced("hubert", models.hubert, _wave, {"wave": 1}, "features"),
        "bert": lambda: Traced("bert", models.bert.network, _characters(models), {"ids": 1}, "features"),
    }
    return [makers[name]() for name in names]


def _wave(size: int) -> Values:
    return {"wave": _normal(1, 5000 * size) * 0.1}


def _characters(models: Models) -> Callable[[int], Values]:
    rows = models.bert.network.embeddings.word_embeddings.num_embeddings
    return lambda size: {"ids": _ids(rows, 6 * size)[None]}


def _normal(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape, np.float32))


def _ids(below: int, count: int) -> Tensor:
    return torch.arange(count) * 7 % below


def _memory_parts(memory: Tensor) -> Values:
    """[L, 2, B, H, S, D] -> key_i, value_i [B, H, S, D] of each layer."""
    return dict(zip(memory_names(memory.shape[0]), memory.flatten(0, 1), strict=True))


def _write(model: Model, path: Path) -> None:
    """With the weights inside, for readers that do not share our memory."""
    import onnx

    whole: Any = onnx.ModelProto()
    whole.CopyFrom(model.proto)
    for tensor in whole.graph.initializer:
        if tensor.name in model.weights:
            tensor.raw_data = model.weights[tensor.name].tobytes()
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
    onnx.save(whole, path)
