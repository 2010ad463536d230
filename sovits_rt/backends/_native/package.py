"""Hands a decoder's weights to step.cpp, in the formats asked for, and calls it."""

import ctypes
import os
import weakref
from collections.abc import Sequence
from ctypes import c_bool, c_float, c_int32, c_void_p

import torch
from torch import Tensor

from sovits_rt.nn.t2s import T2S

FORMATS = ("fp32", "bf16", "int8")  # by number: step.cpp, enum Format
_MEMORY = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}  # step.cpp, enum MemoryFormat
_USUAL_SPINS = "1000"
_SIGNATURES: dict[str, tuple[object, Sequence[object]]] = {
    "decoder_new": (c_void_p, [*[c_int32] * 5, c_float, c_void_p]),
    "decoder_free": (None, [c_void_p]),
    "decoder_inputs": (None, [c_void_p, c_void_p, c_void_p, c_int32, c_float]),
    "decoder_matrix": (None, [c_void_p, c_int32, c_void_p, c_int32, c_void_p, c_int32]),
    "decoder_norm": (None, [c_void_p, c_int32, c_void_p, c_void_p]),
    "decoder_step": (
        c_bool,
        [c_void_p, c_int32, *[c_void_p] * 4, c_int32, c_void_p, c_int32, c_void_p, c_int32, c_int32],
    ),
}


class NativeStep:
    """T2S.step by another way: called with the same tensors, on the CPU; logits are always float32.

    library: built from step.cpp. formats: of the projections (query, key, value), their combination, the two halves of
    the feed-forward part, and the head: names of FORMATS. The network's width must be a multiple of 16.
    """

    def __init__(self, library: ctypes.CDLL, network: T2S, formats: Sequence[str]) -> None:
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        config = network.config
        hidden = next(iter(network.h)).linear1.out_features
        assert config.width % 16 == 0
        assert len(formats) == 5
        self._library = library
        self._vocabulary = config.audio_vocab
        self._shape = (config.layers, 2, config.heads, config.head_width)
        self._spins = int(os.environ.get("GOMP_SPINCOUNT", _USUAL_SPINS))
        numbers = (c_int32 * 5)(*(FORMATS.index(name) for name in formats))
        epsilon = next(iter(network.h)).norm1.eps
        self._decoder = library.decoder_new(
            config.layers, config.width, config.heads, hidden, config.audio_vocab, epsilon, numbers
        )
        if not self._decoder:
            raise MemoryError("The decoder's weights do not fit into memory.")
        weakref.finalize(self, library.decoder_free, self._decoder)
        self._hand_over(network)

    def __call__(self, tokens: Tensor, audio_positions: Tensor, lengths: Tensor, memory: Tensor) -> Tensor:
        layers, pair, rows, heads, window, head_width = memory.shape
        assert (layers, pair, heads, head_width) == self._shape
        assert memory.stride(5) == 1
        assert tokens.shape == audio_positions.shape == lengths.shape == (rows,)
        inputs = [each.to(torch.int64).contiguous() for each in (tokens, audio_positions, lengths)]
        strides = torch.tensor(memory.stride()[:5])
        logits = torch.empty(rows, self._vocabulary)
        done = self._library.decoder_step(
            self._decoder,
            rows,
            *(each.data_ptr() for each in inputs),
            memory.data_ptr(),
            _MEMORY[memory.dtype],
            strides.data_ptr(),
            window,
            logits.data_ptr(),
            torch.get_num_threads(),
            self._spins,
        )
        assert done, f"out of range: {tokens=}, {audio_positions=} or {lengths=}"
        return logits

    def _hand_over(self, network: T2S) -> None:
        matrices: list[tuple[Tensor, Tensor | None]] = []
        norms = []
        for layer in network.h:
            attention = layer.self_attn
            matrices += [
                (attention.in_proj_weight, attention.in_proj_bias),
                (attention.out_proj.weight, attention.out_proj.bias),
                (layer.linear1.weight, layer.linear1.bias),
                (layer.linear2.weight, layer.linear2.bias),
            ]
            norms += [layer.norm1, layer.norm2]
        matrices.append((network.ar_predict_layer.weight, None))
        for index, (weight, bias) in enumerate(matrices):
            self._matrix(index, _plain(weight), None if bias is None else _plain(bias))
        for index, norm in enumerate(norms):
            weight, bias = _plain(norm.weight), _plain(norm.bias)
            self._library.decoder_norm(self._decoder, index, weight.data_ptr(), bias.data_ptr())
        position = network.ar_audio_position
        # the library keeps their addresses
        self._kept = (_plain(network.ar_audio_embedding.word_embeddings.weight), _plain(position.table))
        embedding, table = self._kept
        self._library.decoder_inputs(
            self._decoder, embedding.data_ptr(), table.data_ptr(), len(table), float(position.alpha)
        )

    def _matrix(self, index: int, weight: Tensor, bias: Tensor | None) -> None:
        self._library.decoder_matrix(
            self._decoder,
            index,
            weight.data_ptr(),
            weight.shape[1],
            None if bias is None else bias.data_ptr(),
            torch.get_num_threads(),
        )


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float32).contiguous()
