"""ONNX Runtime sessions of the decoder, called like T2S.prefill and T2S.step.

Inputs and outputs are torch's memory, bound once and used again: a step costs no copy but that of its few numbers.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sovits_rt.backends._graph import Model
from sovits_rt.nn.t2s import T2SConfig

_TYPES = {torch.float32: np.float32, torch.int32: np.int32, torch.int64: np.int64}
_MAX_BINDINGS = 64


@dataclass(frozen=True, slots=True)
class Session:
    """weights: kept because ONNX Runtime reads them where they are."""

    run: Any
    weights: Mapping[str, NDArray[Any]]


def open_session(model: Model, *, repack: bool) -> Session:
    """On as many threads as torch has. repack: let ONNX Runtime keep a copy of the weights in a layout of its own."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    spin = os.environ.get("OMP_WAIT_POLICY", "").upper() == "ACTIVE"  # idle threads do as OpenMP's
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    options.add_session_config_entry("session.disable_prepacking", str(int(not repack)))
    options.log_severity_level = 3  # errors; it warns of what it optimises
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(each) for each in model.weights.values()]
    options.add_external_initializers(list(model.weights), values)
    run = onnxruntime.InferenceSession(model.proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Session(run, model.weights)


class Step:
    """T2S.step. memory may be a view of a longer buffer: its strides say how much memory each row really has."""

    def __init__(self, session: Session, config: T2SConfig) -> None:
        self._session = session
        self._config = config
        self._bound: dict[tuple[int, int, int], _BoundStep] = {}

    def __call__(self, tokens: Tensor, audio_positions: Tensor, lengths: Tensor, memory: Tensor) -> Tensor:
        batch, capacity = tokens.shape[0], memory.stride(3) // memory.stride(4)
        key = (memory.data_ptr(), batch, capacity)
        bound = self._bound.get(key)
        if bound is None:
            if len(self._bound) >= _MAX_BINDINGS:
                self._bound.clear()
            bound = self._bound[key] = self._bind(batch, capacity, memory)
        bound.tokens.copy_(tokens)
        bound.positions.copy_(audio_positions)
        bound.lengths.copy_(lengths)
        bound.window.fill_(int(lengths.max()) + 1)
        self._session.run.run_with_iobinding(bound.binding)
        return bound.logits.clone()

    def _bind(self, batch: int, capacity: int, memory: Tensor) -> "_BoundStep":
        config = self._config
        assert memory.dtype == torch.float32
        assert memory.shape[:2] == (config.layers, 2)
        row = capacity * config.head_width
        assert memory.stride()[2:] == (config.heads * row, row, config.head_width, 1)
        bound = _BoundStep(
            binding=self._session.run.io_binding(),
            tokens=torch.zeros(batch, dtype=torch.int64),
            positions=torch.zeros(batch, dtype=torch.int64),
            lengths=torch.zeros(batch, dtype=torch.int32),
            window=torch.zeros((), dtype=torch.int32),
            logits=torch.zeros(batch, config.audio_vocab),
        )
        bind_input(bound.binding, "tokens", bound.tokens)
        bind_input(bound.binding, "audio_positions", bound.positions)
        bind_input(bound.binding, "lengths", bound.lengths)
        bind_input(bound.binding, "window", bound.window)
        bind_output(bound.binding, "logits", bound.logits)
        rows = (batch, config.heads, capacity, config.head_width)
        for index in range(config.layers):
            for kind, part in zip(("key", "value"), memory[index], strict=True):
                whole = part.as_strided(rows, part.stride())
                bind_input(bound.binding, f"{kind}_{index}", whole)
                bind_output(bound.binding, f"{kind}_{index}_out", whole)
        return bound


@dataclass(frozen=True, slots=True)
class _BoundStep:
    """What a binding points to, kept alive with it (the caller keeps the key/value memory)."""

    binding: Any
    tokens: Tensor
    positions: Tensor
    lengths: Tensor
    window: Tensor
    logits: Tensor


class Prefill:
    """T2S.prefill."""

    def __init__(self, session: Session, config: T2SConfig) -> None:
        self._session = session
        self._config = config

    def __call__(self, phones: Tensor, bert: Tensor, tokens: Tensor, memory: Tensor) -> Tensor:
        config, positions = self._config, len(phones) + len(tokens)
        read = torch.empty(config.layers, 2, 1, config.heads, positions, config.head_width)
        logits = torch.empty(max(len(tokens), 1), config.audio_vocab)
        inputs = {"phones": phones, "bert": bert, "tokens": tokens}
        contiguous = {name: values.contiguous() for name, values in inputs.items()}
        binding = self._session.run.io_binding()
        for name, values in contiguous.items():
            bind_input(binding, name, values)
        bind_output(binding, "logits", logits)
        for index in range(config.layers):
            bind_output(binding, f"key_{index}", read[index, 0])
            bind_output(binding, f"value_{index}", read[index, 1])
        self._session.run.run_with_iobinding(binding)
        memory[..., :positions, :] = read[:, :, 0]
        return logits


def bind_input(binding: Any, name: str, values: Tensor) -> None:
    binding.bind_input(name, "cpu", 0, _TYPES[values.dtype], list(values.shape), values.data_ptr())


def bind_output(binding: Any, name: str, values: Tensor) -> None:
    binding.bind_output(name, "cpu", 0, _TYPES[values.dtype], list(values.shape), values.data_ptr())
