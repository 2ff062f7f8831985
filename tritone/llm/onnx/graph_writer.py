"""An ONNX graph under construction, whose weights go straight to disk."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 10
MICROSOFT = "com.microsoft"  # operators of ONNX Runtime, docs/ContribOperators.md there

_EXTERNAL_BYTES = 1024  # smaller tensors stay inside the graph file
_ALIGNMENT = 64


@contextmanager
def graph_writer(path: Path, metadata: dict[str, str]) -> Iterator["GraphWriter"]:
    """The graph comes to `path`, and its weights beside it to `<name>.data`, when the block ends.

    An error leaves there what was there before. Several processes, of several machines too, may
    write the same graph at the same time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_name(path.name + ".data")
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}.partial")
    with partial.open("wb") as file:
        try:
            writer = GraphWriter(file, data.name)
            yield writer
        except BaseException:
            partial.unlink()
            raise
    partial.replace(data)
    onnx.save_model(writer.model(metadata), partial)
    partial.replace(path)


class GraphWriter:
    """Collects nodes and constants; large constants are written at once.

    data: where those go, a file that the graph knows by `data_name`.
    """

    def __init__(self, data: BinaryIO, data_name: str) -> None:
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._data, self._data_name = data, data_name

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
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        tensor = TensorProto(name=name, data_type=kind, dims=value.shape)
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": self._data_name, "offset": self._data.tell(), "length": value.nbytes}
        for key, entry in place.items():
            tensor.external_data.add(key=key, value=str(entry))
        self._data.write(np.ascontiguousarray(value).data)
        self._constants.append(tensor)
        return name

    def model(self, metadata: dict[str, str]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self._nodes, "language_model", self.inputs, self.outputs, self._constants
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="tritone")
        model.ir_version = IR_VERSION
        helper.set_model_props(model, metadata)
        return model
