"""An ONNX graph under construction whose weights go straight to disk."""

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 10
MICROSOFT = "com.microsoft"  # operators of ONNX Runtime, docs/ContribOperators.md there

_EXTERNAL_BYTES = 1024  # smaller tensors stay inside the graph file
_ALIGNMENT = 64


class GraphWriter:
    """Collects nodes and constants; large constants are written at once.

    Use as a context manager: leaving it without an error puts the graph at `path` and its weights
    beside it in `<name>.data`; an error leaves there what was there before. Several processes may
    write the same graph at the same time.
    """

    def __init__(self, path: Path, name: str, metadata: dict[str, str]) -> None:
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._path = path
        self._name = name
        self._metadata = metadata
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._data_path = path.with_name(path.name + ".data")
        self._partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._data = self._partial.open("wb")

    def node(self, operator: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        """Add an operator and return the name of its first output.

        An empty name is an input or output that is not used; operators of ONNX Runtime have the
        attribute `domain`.
        """
        name = outputs[0]
        self._nodes.append(helper.make_node(operator, inputs, outputs, name, **attributes))
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant and return its name; a large one goes to the data file at once."""
        if value.nbytes < _EXTERNAL_BYTES:
            self._constants.append(numpy_helper.from_array(value, name))
            return name
        self._data.seek(-self._data.tell() % _ALIGNMENT, 1)
        location = {
            "location": self._data_path.name,
            "offset": str(self._data.tell()),
            "length": str(value.nbytes),
        }
        self._data.write(np.ascontiguousarray(value).data)
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        tensor = TensorProto(name=name, data_type=kind, dims=value.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, text in location.items():
            tensor.external_data.add(key=key, value=text)
        self._constants.append(tensor)
        return name

    def __enter__(self) -> "GraphWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._data.close()
        if kind is not None:
            self._partial.unlink()
            return
        self._partial.replace(self._data_path)
        graph = helper.make_graph(
            self._nodes, self._name, self.inputs, self.outputs, self._constants
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="tritone")
        model.ir_version = IR_VERSION
        helper.set_model_props(model, self._metadata)
        onnx.save_model(model, self._partial)
        self._partial.replace(self._path)
