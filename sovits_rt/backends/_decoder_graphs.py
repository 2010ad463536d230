"""The text-to-semantic decoder as ONNX graphs: reading a sentence ("prefill") and one decoding step.

They compute what nn/t2s.py computes, with ONNX Runtime's operators for transformers (domain com.microsoft).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sovits_rt.backends._graph import CONTRIB, Graph, Model, TensorKind
from sovits_rt.nn.t2s import BERT_WIDTH, T2S, Layer, Position

if TYPE_CHECKING:
    from torch import Tensor

_EPSILON = 1e-5  # torch's LayerNorm


@dataclass(frozen=True, slots=True)
class Formats:
    """Number formats of the weights: fp32, int8 or int4. down: of the second feed-forward matrix, which reads the
    widest range of numbers. head: of the matrix that makes the logits."""

    layers: str = "fp32"
    down: str = "fp32"
    head: str = "fp32"


def step_graph(network: T2S, formats: Formats) -> Model:
    """T2S.step. Inputs: tokens [B], audio_positions [B] int64; lengths [B] int32; window [] int32, more than any
    length; key_i, value_i [B, H, capacity, D] per layer. Outputs: logits [B, V]; key_i_out, value_i_out, which may be
    the same memory as the inputs: then only the new rows are written.
    """
    config, graph = network.config, Graph()
    embedded = graph.add("Gather", graph.constant(network.ar_audio_embedding.word_embeddings.weight), "tokens")
    positions = graph.add("Gather", _positions(graph, network.ar_audio_position), "audio_positions")
    axis = graph.constant(np.array([1], np.int64))
    hidden = graph.add("Unsqueeze", graph.add("Add", embedded, positions), axis)
    for index, layer in enumerate(network.h):
        attention = layer.self_attn
        packed = graph.linear(hidden, attention.in_proj_weight, attention.in_proj_bias, formats.layers)
        mixed = graph.add(
            "GroupQueryAttention",
            *(packed, "", "", f"key_{index}", f"value_{index}", "lengths", "window"),
            outputs=(f"mixed_{index}", f"key_{index}_out", f"value_{index}_out"),
            domain=CONTRIB,
            num_heads=config.heads,
            kv_num_heads=config.heads,
        )
        hidden = _finish(graph, layer, hidden, mixed, formats)
    last = graph.add("Squeeze", hidden, axis)
    logits = graph.linear(last, network.ar_predict_layer.weight, None, formats.head)
    graph.add("Identity", logits, outputs=("logits",))
    rows = ("batch", config.heads, "capacity", config.head_width)
    names = memory_names(config.layers)
    inputs: list[TensorKind] = [
        ("tokens", "int64", ("batch",)),
        ("audio_positions", "int64", ("batch",)),
        ("lengths", "int32", ("batch",)),
        ("window", "int32", ()),
        *((name, "float", rows) for name in names),
    ]
    outputs: list[TensorKind] = [
        ("logits", "float", ("batch", config.audio_vocab)),
        *((f"{name}_out", "float", rows) for name in names),
    ]
    return graph.model("t2s_step", inputs, outputs)


def prefill_graph(network: T2S) -> Model:
    """T2S.prefill. Inputs: phones [n], bert [n, 1024], tokens [t]. Outputs: logits [max(t, 1), V]; key_i,
    value_i [1, H, n + t, D] per layer."""
    config, graph = network.config, Graph()
    text = graph.add("Gather", graph.constant(network.ar_text_embedding.word_embeddings.weight), "phones")
    text = graph.add("Add", text, graph.linear("bert", network.bert_proj.weight, network.bert_proj.bias, "fp32"))
    audio = graph.add("Gather", graph.constant(network.ar_audio_embedding.word_embeddings.weight), "tokens")
    zero = graph.constant(np.array([0], np.int64))
    lengths = {"phones": graph.add("Shape", "phones"), "tokens": graph.add("Shape", "tokens")}
    text = _at_positions(graph, text, network.ar_text_position, lengths["phones"], zero)
    audio = _at_positions(graph, audio, network.ar_audio_position, lengths["tokens"], zero)
    hidden = graph.add("Unsqueeze", graph.add("Concat", text, audio, axis=0), zero)
    unseen = _unseen(graph, lengths, zero)
    for index, layer in enumerate(network.h):
        attention = layer.self_attn
        packed = graph.linear(hidden, attention.in_proj_weight, attention.in_proj_bias, "fp32")
        parts = [f"{name}_{index}" for name in ("query", "keys", "values")]
        graph.add("Split", packed, outputs=parts, axis=2)
        mixed = graph.add(
            "MultiHeadAttention",
            *(*parts, "", "", unseen),
            outputs=(f"mixed_{index}", f"key_{index}", f"value_{index}"),
            domain=CONTRIB,
            num_heads=config.heads,
        )
        hidden = _finish(graph, layer, hidden, mixed, Formats())
    logits = graph.linear(_heard(graph, hidden, lengths, zero), network.ar_predict_layer.weight, None, "fp32")
    graph.add("Identity", logits, outputs=("logits",))
    inputs: list[TensorKind] = [
        ("phones", "int64", ("phones",)),
        ("bert", "float", ("phones", BERT_WIDTH)),
        ("tokens", "int64", ("tokens",)),
    ]
    rows = (1, config.heads, "positions", config.head_width)
    outputs: list[TensorKind] = [
        ("logits", "float", ("heard", config.audio_vocab)),
        *((name, "float", rows) for name in memory_names(config.layers)),
    ]
    return graph.model("t2s_prefill", inputs, outputs)


def memory_names(layers: int) -> list[str]:
    return [f"{kind}_{index}" for index in range(layers) for kind in ("key", "value")]


def _positions(graph: Graph, position: Position) -> str:
    return graph.constant(position.alpha * position.table)


def _at_positions(graph: Graph, x: str, position: Position, length: str, zero: str) -> str:
    return graph.add("Add", x, graph.add("Slice", _positions(graph, position), zero, length, zero))


def _unseen(graph: Graph, lengths: Mapping[str, str], zero: str) -> str:
    """[1, 1, T, T] to add to attention's scores: 0 where nn.t2s.visible is True, else the lowest number."""
    scalar = graph.add("Squeeze", graph.add("Add", lengths["phones"], lengths["tokens"]))
    first, one = graph.constant(np.array(0, np.int64)), graph.constant(np.array(1, np.int64))
    index = graph.add("Range", first, scalar, one)
    last_text = graph.add("Sub", lengths["phones"], one)
    seen_by = graph.add("Unsqueeze", graph.add("Max", index, last_text), graph.constant(np.array([1], np.int64)))
    beyond = graph.add("Greater", graph.add("Unsqueeze", index, zero), seen_by)
    lowest = graph.constant(np.array(np.finfo(np.float32).min, np.float32))
    nothing = graph.constant(np.array(0, np.float32))
    return graph.add("Unsqueeze", graph.add("Where", beyond, lowest, nothing), graph.constant(np.array([0, 1])))


def _heard(graph: Graph, hidden: str, lengths: Mapping[str, str], zero: str) -> str:
    """[1, T, W] -> the audio positions [t, W], or the last text position [1, W] if there is no audio."""
    one = graph.constant(np.array([1], np.int64))
    total = graph.add("Add", lengths["phones"], lengths["tokens"])
    start = graph.add("Min", lengths["phones"], graph.add("Sub", total, one))
    return graph.add("Slice", graph.add("Squeeze", hidden, zero), start, total, zero)


def _finish(graph: Graph, layer: Layer, hidden: str, mixed: str, formats: Formats) -> str:
    """What follows attention in a layer: output projection, feed-forward, both norms."""
    attended = graph.linear(mixed, layer.self_attn.out_proj.weight, layer.self_attn.out_proj.bias, formats.layers)
    hidden = _norm(graph, layer.norm1.weight, layer.norm1.bias, hidden, attended)
    wide = graph.add("Relu", graph.linear(hidden, layer.linear1.weight, layer.linear1.bias, formats.layers))
    narrow = graph.linear(wide, layer.linear2.weight, layer.linear2.bias, formats.down)
    return _norm(graph, layer.norm2.weight, layer.norm2.bias, hidden, narrow)


def _norm(graph: Graph, weight: "Tensor", bias: "Tensor", *summands: str) -> str:
    scale, shift = graph.constant(weight), graph.constant(bias)
    return graph.add("SkipLayerNormalization", *summands, scale, shift, domain=CONTRIB, epsilon=_EPSILON)
