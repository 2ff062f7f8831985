"""Running a plan on torch CUDA tensors."""

import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tritone.engines.machine import import_tensorrt
from tritone.errors import ModelDirectoryError, StageFailed


class Plan:
    """A loaded plan: tensors in by name, tensors out by name, on the current CUDA stream.

    Calls of several threads take turns, and each waits on the GPU for the one before: they share
    the plan's scratch memory. Not to be used on the default stream, where TensorRT synchronises.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        """Load a plan file; raises ModelDirectoryError if TensorRT does not take it."""
        trt = import_tensorrt()
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))  # outlives its engines
        with torch.cuda.device(device):
            engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
            context = None if engine is None else engine.create_execution_context()
        if context is None:
            raise ModelDirectoryError(
                f"{path} is not a plan for this GPU and version, or the GPU's memory is full; "
                "build it again: tritone engines"
            )
        self.name, self.device = path.stem, device
        self._engine, self._context = engine, context
        self._types = _torch_types(trt)
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        modes = {name: engine.get_tensor_mode(name) for name in names}
        self.inputs = {
            name: self._type(name) for name in names if modes[name] == trt.TensorIOMode.INPUT
        }
        self.outputs = {name: self._type(name) for name in names if name not in self.inputs}
        self._lock = threading.Lock()
        self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def _type(self, name: str) -> torch.dtype:
        return self._types[self._engine.get_tensor_dtype(name)]

    def __call__(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Run the plan once; the inputs must have the types of `Plan.inputs` and lie on its device.

        Raises StageFailed, naming the tensor, for a shape outside the plan's profile.
        """
        assert inputs.keys() == self.inputs.keys(), f"{self.name} takes {sorted(self.inputs)}"
        stream = torch.cuda.current_stream(self.device)
        with self._lock, torch.cuda.device(self.device):
            stream.wait_event(self._done)
            given = {name: tensor.contiguous() for name, tensor in inputs.items()}
            for name, tensor in given.items():
                self._bind(name, tensor)
            outputs = {}
            for name, dtype in self.outputs.items():
                shape = tuple(self._context.get_tensor_shape(name))
                outputs[name] = torch.empty(shape, dtype=dtype, device=self.device)
                self._context.set_tensor_address(name, outputs[name].data_ptr())
            if not self._context.execute_async_v3(stream.cuda_stream):
                raise StageFailed(self.name, "TensorRT could not run it; its log has the cause")
            self._done.record(stream)
        return outputs

    def _bind(self, name: str, tensor: Tensor) -> None:
        assert tensor.dtype == self.inputs[name], f"{name} is {tensor.dtype}"
        assert tensor.device == self.device, f"{name} is on {tensor.device}"
        shape = tuple(tensor.shape)
        least, _, most = (tuple(s) for s in self._engine.get_tensor_profile_shape(name, 0))
        fits = len(shape) == len(least) and all(
            low <= size <= high for low, size, high in zip(least, shape, most, strict=True)
        )
        if not fits or not self._context.set_input_shape(name, shape):
            raise StageFailed(
                self.name, f"{name} has shape {shape}; the plan takes {least} to {most}"
            )
        self._context.set_tensor_address(name, tensor.data_ptr())


def _torch_types(trt: Any) -> dict[Any, torch.dtype]:
    return {
        trt.DataType.FLOAT: torch.float32,
        trt.DataType.HALF: torch.float16,
        trt.DataType.BF16: torch.bfloat16,
        trt.DataType.BOOL: torch.bool,
        trt.DataType.INT32: torch.int32,
        trt.DataType.INT64: torch.int64,
    }
