"""Reading inputs and making outputs."""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from tritone.arrays import Float32, Int32
from tritone.errors import InvalidRequest


class Inputs:
    """The inputs of one request by wire name. An absent input is None or the given default.

    Batch dimensions of one are dropped: values are flat arrays or scalars.
    """

    def __init__(self, request: Any) -> None:
        self._request = request

    def array(self, name: str) -> NDArray[Any] | None:
        """The flat values of an input; raises InvalidRequest for a batch of more than one."""
        tensor = pb_utils.get_input_tensor_by_name(self._request, name)
        return None if tensor is None else tensor.as_numpy().reshape(-1)

    def shaped(self, name: str, *shape: int) -> Float32 | None:
        """A float array of the given shape, -1 for what follows from the size."""
        values = self.array(name)
        return None if values is None else values.astype(np.float32, copy=False).reshape(shape)

    def integers(self, name: str) -> Int32 | None:
        values = self.array(name)
        return None if values is None else values.astype(np.int32, copy=False)

    def scalar(self, name: str, default: Any = None) -> Any:
        """The one value of an input as a Python value."""
        values = self.array(name)
        if values is None:
            return default
        if values.size != 1:
            raise InvalidRequest(name, f"has {values.size} values; it takes one")
        return values[0].item() if isinstance(values[0], np.generic) else values[0]

    def flag(self, name: str, default: bool = False) -> bool:
        return bool(self.scalar(name, default))

    def text(self, name: str) -> str | None:
        value = self.scalar(name)
        if value is None:
            return None
        try:
            return value.decode() if isinstance(value, bytes) else str(value)
        except UnicodeDecodeError as error:
            raise InvalidRequest(name, f"is not UTF-8 text: {error}") from error


def tensor(name: str, values: NDArray[Any]) -> Any:
    return pb_utils.Tensor(name, np.ascontiguousarray(values))


def response(*tensors: Any) -> Any:
    return pb_utils.InferenceResponse(output_tensors=list(tensors))
