"""ONNX Runtime on the CPU: a whole decoding step is one call that reads and writes key/value memory in place.

Weights can be int8 or int4 (a scale per 32 weights; activations become int8 on the way); attention and norms stay fp32.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from autotune.knobs import Choice, knob
from autotune.machine import Machine
from sovits_rt.backends import EntryPoint
from sovits_rt.errors import SettingsError

if TYPE_CHECKING:
    from sovits_rt.backends._decoder_graphs import Formats

_FORMATS = {"t2s_step": ("fp32", "int8", "int4"), "t2s_prefill": ("fp32",)}
_KEPT = ("fp32", "int8", "same")


@dataclass(frozen=True, slots=True)
class OnnxRuntime:
    down: str = knob(
        Choice(_KEPT),
        default="fp32",
        doc="Where the decoder is int8 or int4: format of the second feed-forward matrices, or the same.",
        exact=False,
    )
    head: str = knob(
        Choice(_KEPT),
        default="fp32",
        doc="Where the decoder is int8 or int4: format of the matrix that makes the logits, or the same.",
        exact=False,
    )

    @staticmethod
    def unavailable(machine: Machine) -> str | None:
        if find_spec("onnx") is None:
            return "the package onnx is missing; pip install 'sovits-rt[onnx]'"
        return None

    @staticmethod
    def formats(entry_name: str) -> tuple[str, ...]:
        return _FORMATS.get(entry_name, ())

    def compile(self, entry: EntryPoint) -> Callable[..., Any]:
        from sovits_rt.backends import _decoder_graphs, _onnx_calls
        from sovits_rt.nn.t2s import T2S

        network = entry.module
        assert isinstance(network, T2S)
        if network.bert_proj.weight.device.type != "cpu":
            raise SettingsError("The backend 'onnxruntime' runs on the CPU only; choose process.device=cpu or another.")
        if entry.name == "t2s_prefill":
            # with few weights per position it gains nothing from a copy of them that is laid out for the processor
            session = _onnx_calls.open_session(_decoder_graphs.prefill_graph(network), repack=False)
            return _onnx_calls.Prefill(session, network.config)
        model = _decoder_graphs.step_graph(network, self._weights(entry.precision))
        return _onnx_calls.Step(_onnx_calls.open_session(model, repack=True), network.config)

    def _weights(self, precision: str) -> "Formats":
        from sovits_rt.backends._decoder_graphs import Formats

        if precision == "fp32":
            return Formats()
        down, head = (precision if each == "same" else each for each in (self.down, self.head))
        return Formats(layers=precision, down=down, head=head)


BACKEND = OnnxRuntime
