"""ONNX graphs, node by node, and the weight formats of ONNX Runtime's MatMulNBits.

Graphs are built from a network's weights, not traced, so that an operator is chosen by us and not by an exporter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sovits_rt.types import Floats

if TYPE_CHECKING:
    import onnx
    from torch import Tensor

CONTRIB = "com.microsoft"
OPSET = 17
IR_VERSION = 9  # the oldest that this opset allows: more versions of ONNX Runtime read it
BLOCK = 32  # weights per scale
INT8_ACTIVATIONS = 4  # MatMulNBits' accuracy_level: activations become int8 too, the only fast kernel
_INSIDE_BYTES = 1024  # of the constants that are put into the model itself
_BITS = {"int8": 8, "int4": 4}

TensorKind = tuple[str, str, Sequence[str | int]]  # name, "float" | "int32" | "int64", shape


@dataclass(frozen=True, slots=True)
class Model:
    """weights: large constants by name, where they lie in memory; the model itself only names them."""

    proto: "onnx.ModelProto"
    weights: Mapping[str, NDArray[Any]]


class Graph:
    """A graph under construction. Names of values are made up unless they are given."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._weights: dict[str, NDArray[Any]] = {}

    def add(self, operator: str, *inputs: str, outputs: Sequence[str] = (), domain: str = "", **attributes: Any) -> str:
        """Append a node; returns the name of its first output."""
        from onnx import helper

        names = list(outputs) or [f"{operator}_{len(self._nodes)}"]
        self._nodes.append(helper.make_node(operator, list(inputs), names, domain=domain, **attributes))
        return names[0]

    def constant(self, values: "Tensor | NDArray[Any]") -> str:
        """Large ones are not copied: the model refers to them where they are."""
        from onnx import TensorProto, helper, numpy_helper

        name = f"constant_{len(self._constants)}"
        array = np.ascontiguousarray(values if isinstance(values, np.ndarray) else values.detach().float().numpy())
        if array.nbytes < _INSIDE_BYTES:
            self._constants.append(numpy_helper.from_array(array, name))
            return name
        self._weights[name] = array
        outside = TensorProto(
            name=name,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            dims=array.shape,
            data_location=TensorProto.EXTERNAL,
        )
        outside.external_data.add(key="location", value="memory")
        self._constants.append(outside)
        return name

    def linear(self, x: str, weight: "Tensor", bias: "Tensor | None", precision: str) -> str:
        """x [..., K] @ weight [N, K] transposed + bias [N]. precision: of the weight, fp32, int8 or int4."""
        values: Floats = weight.detach().float().numpy()
        if precision == "fp32":
            product = self.add("FusedMatMul", x, self.constant(values), domain=CONTRIB, transB=1)
            return product if bias is None else self.add("Add", product, self.constant(bias))
        bits = _BITS[precision]
        packed, scales = quantised(values, bits)
        more = () if bias is None else ("", "", self.constant(bias))
        return self.add(
            "MatMulNBits",
            *(x, self.constant(packed), self.constant(scales), *more),
            domain=CONTRIB,
            K=values.shape[1],
            N=values.shape[0],
            bits=bits,
            block_size=BLOCK,
            accuracy_level=INT8_ACTIVATIONS,
        )

    def model(self, name: str, inputs: Sequence[TensorKind], outputs: Sequence[TensorKind]) -> Model:
        from onnx import TensorProto, helper

        def described(kinds: Sequence[TensorKind]) -> list[Any]:
            types = {"float": TensorProto.FLOAT, "int32": TensorProto.INT32, "int64": TensorProto.INT64}
            return [helper.make_tensor_value_info(each, types[kind], list(shape)) for each, kind, shape in kinds]

        graph = helper.make_graph(self._nodes, name, described(inputs), described(outputs), self._constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        proto = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="sovits-rt")
        return Model(proto, self._weights)


def quantised(weight: Floats, bits: int) -> tuple[NDArray[np.uint8], Floats]:
    """Weights [N, K] as MatMulNBits reads them: numbers [N, blocks, bytes of a block], scales [N, blocks].

    Each block of a row has its own scale; zero is in the middle of the range. With 4 bits the largest number of a block
    is put on the end that has one value more (-8): of so few values none should be left unused.
    """
    rows, columns = weight.shape
    blocks = -(-columns // BLOCK)
    padded = np.zeros((rows, blocks * BLOCK), np.float32)
    padded[:, :columns] = weight
    grouped = padded.reshape(rows, blocks, BLOCK)
    middle = 1 << (bits - 1)
    peak = np.take_along_axis(grouped, np.abs(grouped).argmax(axis=2, keepdims=True), axis=2)
    scales: Floats = (np.abs(peak) / (middle - 1) if bits == 8 else peak / -middle).astype(np.float32)
    scales[scales == 0] = 1
    numbers: NDArray[np.uint8] = np.clip(np.rint(grouped / scales) + middle, 0, 2 * middle - 1).astype(np.uint8)
    if bits == 4:
        numbers = numbers[..., 0::2] | (numbers[..., 1::2] << np.uint8(4))
    return numbers, scales[..., 0]
