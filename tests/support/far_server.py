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


class Silence(grpc.RpcError):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.DEADLINE_EXCEEDED

    def details(self) -> str:
        return "not in time"


def answer_with(
    tensors: dict[str, np.ndarray] | None = None, error: str = "", *, final: bool = False
) -> service_pb2.ModelStreamInferResponse:
    """A response of `tensorrt_llm`."""
    message = service_pb2.ModelStreamInferResponse(error_message=error)
    message.infer_response.parameters["triton_final_response"].bool_param = final
    for name, values in (tensors or {}).items():
        kind = np_to_triton_dtype(values.dtype)
        message.infer_response.outputs.add(name=name, datatype=kind, shape=values.shape)
        message.infer_response.raw_output_contents.append(
            serialize_byte_tensor(values).item() if kind == "BYTES" else values.tobytes()
        )
    return message


class FarServer(FakeServer):
    """answers: of each generation, which then lasts until it is stopped; with `breaks` it ends with
    this status instead, and not `whole` without a last answer. looks: what it says to those who ask
    whether it is ready, in order, the last one again and again; None is silence. refusals: errors
    of stops, in order; None is silence.

    asked: the requests so far. ends: of every generation, whether its caller read to its end.
    """

    def __init__(self, *answers: service_pb2.ModelStreamInferResponse) -> None:
        super().__init__()
        self.answers = answers
        self.breaks: grpc.StatusCode | None = None
        self.whole = True
        self.looks: list[bool | None] = [True]
        self.looked = 0
        self.refusals: list[str | None] = []
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
        if any(given.name == "stop" for given in request.inputs):
            self.asked.append(request)
            yield from self._stop(request.id, context)
            return
        stopped = self._stops[request.id] = _with_call(context, threading.Event())
        self.asked.append(request)  # whoever sees it there may stop it
        try:
            yield from self.answers
            if self.breaks is not None:
                context.abort(self.breaks, "as it was told to")
            stopped.wait(HANG_S)
        finally:  # of a call that was torn off too
            self.generation_ends.put(context.is_active())
        if self.whole:
            yield answer_with(final=True)

    def _stop(self, name: str, context: Any) -> Iterator[Any]:
        error = self.refusals.pop(0) if self.refusals else ""
        if error is None:
            _with_call(context, threading.Event()).wait(HANG_S)
            return
        if stopped := self._stops.get(name):
            stopped.set()
        yield answer_with({"sequence_length": np.zeros((1, 1), np.int32)}, error)
        yield answer_with(final=True)


def _with_call(context: Any, over: threading.Event) -> threading.Event:
    """It happens too when the call is over."""
    if not context.add_callback(over.set):  # it is already
        over.set()
    return over
