"""A server that refuses and breaks off as it is told to, and speaks what a request's seed says."""

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
from fake_server import MODEL, FakeServer, answer
from tritonclient.grpc import service_pb2

REFUSED = "UNAVAILABLE: 1 streams are running, the limit; retry after 0.01 s"
PACKET, PACKETS = 1000, 5


def wave(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(PACKET * PACKETS).astype("<f4")


class Shaky(FakeServer):
    """Speaks noise of the request's seed. faults: of its streams, in order: what it refuses them
    with, or packets after which it breaks off. asked: seeds of all requests so far."""

    def __init__(self, *faults: str | int) -> None:
        super().__init__()
        self._faults, self.asked = list(faults), list[int]()

    def ModelStreamInfer(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        first = next(requests)
        seed = next(
            int.from_bytes(contents, "little")
            for tensor, contents in zip(first.inputs, first.raw_input_contents, strict=True)
            if tensor.name == "seed"
        )
        self.asked.append(seed)
        fault = self._faults.pop(0) if self._faults else None
        if isinstance(fault, str):
            yield answer(first, final=True, error=fault)
            return
        for number in range(PACKETS if fault is None else fault):
            message = answer(first, PACKET)
            part = wave(seed)[number * PACKET :][:PACKET]
            message.infer_response.raw_output_contents[0] = part.tobytes()
            yield message
        if fault is not None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        yield answer(first, final=True)


class Asked(Shaky):
    """Tells what models it has."""

    def ModelStatistics(self, *_: Any) -> service_pb2.ModelStatisticsResponse:
        return service_pb2.ModelStatisticsResponse(model_stats=[{"name": MODEL}])

    def ModelConfig(self, *_: Any) -> service_pb2.ModelConfigResponse:
        parameters = {"sample_rate": {"string_value": "24000"}}
        return service_pb2.ModelConfigResponse(config={"name": MODEL, "parameters": parameters})

    def ServerReady(self, *_: Any) -> service_pb2.ServerReadyResponse:
        return service_pb2.ServerReadyResponse(ready=True)
