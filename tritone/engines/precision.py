"""The half-precision form of an exported graph: every type said, nothing left to a builder.

Matrix products and convolutions run in half precision; everything else stays in float32: the
residual stream, LayerNorm, softmax, activations, sines, powers and sums. That is what torch's
autocast does, and the choice is by kind of operator, not by trial: products have the arithmetic,
and what overflows in float16 lies between them. Plans all of float16 give NaN from a flow's
estimator, and LayerNorm in float32 cures it: a LayerNorm squares the residual stream, and 256
squared is beyond float16. Operators that only move values keep the type of what they move, so that
cached keys and values, stored in half precision, are never widened.
"""

from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tritone.llm.trtllm.checkpoint_config import to_dtype

PRODUCTS = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})
MOVES = frozenset({"Concat", "Expand", "Gather", "Identity", "Reshape", "Slice", "Split"})
MOVES |= {"Squeeze", "Transpose", "Unsqueeze"}
TYPES: dict[str, int] = {"bfloat16": TensorProto.BFLOAT16, "float16": TensorProto.FLOAT16}
FLOAT: int = TensorProto.FLOAT


def to_half(model: onnx.ModelProto, dtype: str, caches: Collection[str]) -> onnx.ModelProto:
    """The graph with its products in `dtype` (bfloat16, float16) by explicit casts.

    caches: inputs and outputs that get the type too; the others stay as they are. Raises
    ModelDirectoryError, naming the tensor, for a weight that `dtype` cannot hold.
    """
    return _Rewriting(model, dtype, caches).run()


class _Rewriting:
    def __init__(self, model: onnx.ModelProto, dtype: str, caches: Collection[str]) -> None:
        self._model = onnx.shape_inference.infer_shapes(model)  # a copy
        self._dtype, self._half, self._caches = dtype, TYPES[dtype], caches
        self._weights = {tensor.name: tensor for tensor in self._model.graph.initializer}
        self._types = self._float_tensors()
        self._nodes: list[onnx.NodeProto] = []
        self._halved: list[onnx.TensorProto] = []
        self._cast: dict[tuple[str, int], str] = {}

    def _float_tensors(self) -> dict[str, int]:
        """Type of every floating tensor: float32 as exported, half for cached inputs."""
        graph = self._model.graph
        values = [*graph.input, *graph.value_info, *graph.output]
        types = {v.name: v.type.tensor_type.elem_type for v in values}
        types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
        floats = [name for name, kind in types.items() if kind == FLOAT]
        return {name: self._half if name in self._caches else FLOAT for name in floats}

    def run(self) -> onnx.ModelProto:
        graph = self._model.graph
        wanted = {o.name: self._types[o.name] for o in graph.output if o.name in self._types}
        inner = {name: f"{name}_inner" for name in wanted}
        for node in graph.node:
            self._rewrite(node, inner)
        for name, kind in wanted.items():
            self._nodes.append(helper.make_node("Cast", [inner[name]], [name], to=kind))
        used = {name for node in self._nodes for name in node.input}
        kept = [weight for name, weight in self._weights.items() if name in used]
        for value in [*graph.input, *graph.output]:
            if value.name in self._caches:
                value.type.tensor_type.elem_type = self._half
        rewritten = helper.make_graph(
            self._nodes, graph.name, graph.input, graph.output, [*kept, *self._halved]
        )
        model = helper.make_model(rewritten, opset_imports=self._model.opset_import)
        model.ir_version = self._model.ir_version
        onnx.checker.check_model(model)
        return model

    def _rewrite(self, node: onnx.NodeProto, inner: dict[str, str]) -> None:
        names = [inner.get(name, name) for name in node.input]
        kind = self._kind(node, names)
        node.input[:] = [self._as(name, kind) if name in self._types else name for name in names]
        for index, name in enumerate(node.output):
            node.output[index] = inner.get(name, name)
            if name in self._types:
                self._types[node.output[index]] = kind
        self._nodes.append(node)

    def _kind(self, node: onnx.NodeProto, names: list[str]) -> int:
        """The type in which a node computes."""
        if node.op_type in PRODUCTS:
            return self._half
        floats = {self._types[name] for name in names if name in self._types}
        moves_halves = node.op_type in MOVES and floats == {self._half}
        return self._half if moves_halves else FLOAT

    def _as(self, name: str, kind: int) -> str:
        """The tensor `name` in the type `kind`: itself, a rounded weight, or a cast."""
        if self._types[name] == kind:
            return name
        key = (name, kind)
        if key not in self._cast:
            renamed = self._cast[key] = f"{name}_{TensorProto.DataType.Name(kind).lower()}"
            if name in self._weights:
                weight = self._weights[name]
                values = np.ascontiguousarray(numpy_helper.to_array(weight))
                data = to_dtype(values, self._dtype, name).tobytes()
                rounded = helper.make_tensor(renamed, self._half, weight.dims, data, raw=True)
                self._halved.append(rounded)
            else:
                self._nodes.append(helper.make_node("Cast", [name], [renamed], to=kind))
        return self._cast[key]
