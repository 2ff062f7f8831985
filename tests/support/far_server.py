"""A server that has the language model of another one: what it is asked, and what it is to do."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
from fake_server import FakeServer
from tritonclient.grpc import service_pb2
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor
from waiting import HANG_S


def answer_with(
    tensors: dict[str, np.ndarray] | None = None, error: str = ""
) -> service_pb2.ModelStreamInferResponse:
    """A response of `tensorrt_llm`."""
    message = service_pb2.ModelStreamInferResponse(error_message=error)
    for name, values in (tensors or {}).items():
        kind = np_to_triton_dtype(values.dtype)
        message.infer_response.outputs.add(name=name, datatype=kind, shape=values.shape)
        message.infer_response.raw_output_contents.append(
            serialize_byte_tensor(values).item() if kind == "BYTES" else values.tobytes()
        )
    return message


class FarServer(FakeServer):
    """answers: of each generation, which then lasts until it is stopped; with `breaks` it ends with
    this status instead. looks: what it says to those who ask whether it is ready, in order, the
    last one again and again; None is silence. refusals: errors of stops, in order.

    asked: the requests so far. ends: of every generation, whether its caller read to its end.
    """

    def __init__(self, *answers: service_pb2.ModelStreamInferResponse) -> None:
        super().__init__()
        self.answers = answers
        self.breaks: grpc.StatusCode | None = None
        self.looks: list[bool | None] = [True]
        self.looked = 0
        self.refusals: list[str] = []
        self.asked: list[service_pb2.ModelInferRequest] = []
        self.generation_ends: queue.Queue[bool] = queue.Queue()
        self._stops: dict[str, threading.Event] = {}

    def ModelReady(self, _: Any, context: Any) -> service_pb2.ModelReadyResponse:
        self.looked += 1
        ready = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if ready is None:
            _with_call(context, threading.Event()).wait(HANG_S)
        return service_pb2.ModelReadyResponse(ready=bool(ready))

    def ModelStreamInfer(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        request = next(requests)
        self.asked.append(request)
        if any(given.name == "stop" for given in request.inputs):
            if stopped := self._stops.get(request.id):
                stopped.set()
            error = self.refusals.pop(0) if self.refusals else ""
            yield answer_with({"sequence_length": np.zeros((1, 1), np.int32)}, error)
            return
        stopped = self._stops[request.id] = _with_call(context, threading.Event())
        yield from self.answers
        if self.breaks is not None:
            context.abort(self.breaks, "as it was told to")
        stopped.wait(HANG_S)
        self.generation_ends.put(context.is_active())


def _with_call(context: Any, over: threading.Event) -> threading.Event:
    """It happens too when the call is over."""
    if not context.add_callback(over.set):  # it is already
        over.set()
    return over
