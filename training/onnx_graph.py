"""A small ONNX graph written node by node, its matrices stored as int8."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from tritone.checkpoints.atomic_write import written_whole

OPSET = 20  # the first with Gelu
IR_VERSION = 9
LARGEST_CODE = 127
CLIPPED_SHARES = np.linspace(0.7, 1.0, 31, dtype=np.float32)  # of a channel's largest weight

Shape = list[int | str]


def quantise(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(out, ...) weights -> int8 codes of the same shape and a scale for each output channel.

    Of several scales each channel takes the one with the least squared error: a few clipped weights
    often cost less than coarser steps for all.
    """
    rows = weight.reshape(len(weight), -1)
    largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-12) / LARGEST_CODE
    scales = [largest * share for share in CLIPPED_SHARES]
    rounded = [np.rint(rows / s).clip(-LARGEST_CODE, LARGEST_CODE) for s in scales]
    errors = [((r * s - rows) ** 2).sum(axis=1) for r, s in zip(rounded, scales, strict=True)]
    best, every = np.argmin(errors, axis=0), np.arange(len(rows))
    codes = np.stack(rounded)[best, every].astype(np.int8)
    return codes.reshape(weight.shape), np.stack(scales)[best, every, 0].astype(np.float32)


class Graph:
    """Nodes and constants under construction; every method returns the name of its output."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, kind: int, shape: Shape) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, source: str, name: str, kind: int, shape: Shape) -> None:
        """Declare an output: `source`, a tensor of the graph, under the name `name`."""
        self._nodes.append(helper.make_node("Identity", [source], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, value: NDArray[Any] | np.generic) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def swap(self, x: str) -> str:
        """(rows, a, b) -> (rows, b, a)."""
        return self.node("Transpose", x, perm=[0, 2, 1])

    def matrix(self, weight: Tensor) -> str:
        """(out, ...) weights kept as int8, a scale for each output channel."""
        codes, scale = (self.constant(part) for part in quantise(array(weight)))
        return self.node("DequantizeLinear", codes, scale, axis=0)

    def conv(self, x: str, weight: Tensor, bias: Tensor, **attributes: Any) -> str:
        """x (rows, in, frames) with a weight (out, in, taps)."""
        parts = self.matrix(weight), self.constant(array(bias))
        return self.node("Conv", x, *parts, **attributes)

    def linear(self, x: str, layer: nn.Linear) -> str:
        """x (rows, in) -> (rows, out)."""
        parts = self.matrix(layer.weight), self.constant(array(layer.bias))
        return self.node("Gemm", x, *parts, transB=1)

    def layer_norm(self, x: str, norm: nn.LayerNorm) -> str:
        """Over the last axis."""
        parts = self.constant(array(norm.weight)), self.constant(array(norm.bias))
        return self.node("LayerNormalization", x, *parts, axis=-1, epsilon=norm.eps)

    def save(self, path: Path) -> None:
        """Check the graph and write it, whole or not at all."""
        graph = helper.make_graph(
            self._nodes, self._name, self._inputs, self._outputs, self._constants
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="tritone")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        with written_whole(path) as partial:
            onnx.save_model(model, partial)


def array(tensor: Tensor) -> NDArray[np.float32]:
    values: NDArray[np.float32] = tensor.detach().float().numpy()
    return values


FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
