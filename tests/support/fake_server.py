"""A gRPC server that speaks without Triton, and notes how its streams end."""

import json
import queue
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc
from waiting import HANG_S

MODEL = "speaker"


def answer(
    request: service_pb2.ModelInferRequest,
    samples: int = 0,
    *,
    final: bool = False,
    timing: dict | None = None,
    error: str = "",
) -> service_pb2.ModelStreamInferResponse:
    """A response to this request, as Triton streams it."""
    message = service_pb2.ModelStreamInferResponse(error_message=error)
    response = message.infer_response
    response.id = request.id
    response.parameters["triton_final_response"].bool_param = final
    if samples:
        response.outputs.add(name="waveform", datatype="FP32", shape=[1, samples])
        response.raw_output_contents.append(np.zeros(samples, "<f4").tobytes())
    if timing is not None:
        text = json.dumps(timing).encode()
        response.outputs.add(name="timing", datatype="BYTES", shape=[1, 1])
        response.raw_output_contents.append(struct.pack("<I", len(text)) + text)
    return message


class FakeServer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Each speech has `packets`, and goes on until it is to end. deaf: it takes no notice of that.
    ends: of every stream, "closed" by a caller who had it end first, or "cancelled"."""

    def __init__(self, packets: int = 1, *, deaf: bool = False) -> None:
        self._packets, self._deaf = packets, deaf
        self.ends: queue.Queue[str] = queue.Queue()

    def ModelStreamInfer(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        gone, closed = threading.Event(), False
        context.add_callback(gone.set)
        try:
            first = next(requests)
            for _ in range(self._packets):
                yield answer(first, 3)
            for request in requests:
                if request.parameters["text_cancel"].bool_param and not self._deaf:
                    closed = True
                    yield answer(first, final=True, error="CANCELLED: nobody wants the audio")
                    sent = {"samples": 3, "text": [0, 0]}
                    yield answer(request, final=True, timing={"sent": sent})
            if self._deaf:  # a cancel looks like a close at first
                gone.wait(HANG_S)
                closed = not gone.is_set()
        finally:
            self.ends.put("closed" if closed and context.is_active() else "cancelled")


@contextmanager
def listening(server: FakeServer) -> Iterator[str]:
    """Its address."""
    serving = grpc.server(ThreadPoolExecutor(8))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(server, serving)
    port = serving.add_insecure_port("127.0.0.1:0")
    serving.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        serving.stop(None).wait()
