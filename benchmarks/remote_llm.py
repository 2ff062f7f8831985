"""What it costs a portion of tokens that the language model runs on another server.

    python -m benchmarks.remote_llm

This process plays the other server. Portions of tokens leave it at intervals, and arrive here
again, by the same clock: in turn at a caller who asks it directly, and at one who asks a real
server whose `tensorrt_llm` is "there". What the second way takes longer is one more passage over
gRPC and through a model's process: what a portion pays, one way. A network adds its own time.
"""

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tritone import resources
from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.ports import free_ports
from tritone.serving.generation_tensors import LATENTS, OUTPUTS, row
from tritone.serving.remote_server import RemoteServer, inference
from tritone.serving.remote_settings import RemoteSettings
from tritone.triton_models import LANGUAGE_MODEL

MOST_S = 0.003
_TOKENS = 25  # of a portion
_PORTIONS = 20  # of a generation
_INTERVAL_S = 0.02  # between two: neither waits for the one before


class Portions(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """A language model that says nothing, in portions. latents: numbers beside each token.

    left: when each portion of the last generation did.
    """

    def __init__(self, latents: int) -> None:
        self.latents = latents
        self.left: list[float] = []

    def ModelReady(self, *_: Any) -> service_pb2.ModelReadyResponse:
        return service_pb2.ModelReadyResponse(ready=True)

    def ModelStreamInfer(self, requests: Iterator[Any], _: Any) -> Iterator[Any]:
        asked = {given.name for given in next(requests).inputs}
        portion = self._portion()
        yield portion  # as every generation: at once
        if "stop" in asked:
            return
        self.left = []
        for _ in range(_PORTIONS):
            time.sleep(_INTERVAL_S)
            self.left.append(time.perf_counter())
            yield portion

    def _portion(self) -> service_pb2.ModelStreamInferResponse:
        ids = np.zeros((1, 1, _TOKENS), np.int32)
        answer = service_pb2.ModelStreamInferResponse()
        given = answer.infer_response
        given.outputs.add(name="output_ids", datatype="INT32", shape=ids.shape)
        given.raw_output_contents.append(ids.tobytes())
        if self.latents:
            states = np.zeros((1, 1, _TOKENS, self.latents), np.float32)
            given.outputs.add(name=LATENTS, datatype="FP32", shape=states.shape)
            given.raw_output_contents.append(states.tobytes())
        return answer


@contextmanager
def listening(portions: Portions) -> Iterator[str]:
    """Its address."""
    server = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(portions, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def behind(address: str, model: Path, folder: Path) -> Iterator[str]:
    """The address of a server whose language model is at this one."""
    http, port, metrics = free_ports()
    settings = ServerSettings(
        model_dir=model,
        http_port=http,
        grpc_port=port,
        metrics_port=metrics,
        cache_dir=folder,
        open_inner_models=True,
        parameters={LANGUAGE_MODEL: {"url": address}},
    )
    with TritonServer(settings) as server:
        server.wait_ready()
        yield server.urls.grpc


def passages(portions: Portions, caller: RemoteServer) -> list[float]:
    """Seconds that each portion of one generation was on its way."""
    prompt = {
        "input_ids": row([0], np.int32),
        "input_lengths": row([1], np.int32),
        "request_output_len": row([1], np.int32),
    }
    outputs = (*OUTPUTS, LATENTS) if portions.latents else OUTPUTS
    came = []
    for answer in caller.call(inference(secrets.token_hex(8), prompt, outputs)):
        came.append(time.perf_counter())
        if answer.error_message:
            raise RuntimeError(answer.error_message)
    return [there - here for here, there in zip(portions.left, came[1:], strict=True)]


def compared(portions: Portions, address: str, second: str, rounds: int) -> list[list[float]]:
    """Seconds on the way of all portions: directly, and through the second server."""
    callers = [RemoteServer(RemoteSettings(url)) for url in (address, second)]
    for caller in callers:
        passages(portions, caller)  # warms up
    taken: list[list[float]] = [[], []]
    for _ in range(rounds):
        for times, caller in zip(taken, callers, strict=True):
            times += passages(portions, caller)
    for caller in callers:
        caller.close()
    return taken


def p95(values: Sequence[float]) -> float:
    return quantiles(values, n=20, method="inclusive")[-1]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.remote_llm")
    parser.add_argument("--model", type=Path, default=resources.embedded_voice())
    parser.add_argument("--rounds", type=int, default=25, help=f"of {_PORTIONS} portions each way")
    parser.add_argument("--latents", type=int, default=0, help="numbers beside each token")
    options = parser.parse_args(arguments)
    portions = Portions(options.latents)
    with (
        tempfile.TemporaryDirectory() as folder,
        listening(portions) as address,
        behind(address, options.model, Path(folder)) as second,
    ):
        direct, through = compared(portions, address, second, options.rounds)
    for name, times in (("directly", direct), ("through the second server", through)):
        print(f"{name}: median {1000 * median(times):.2f} ms, p95 {1000 * p95(times):.2f} ms")
    added = median(through) - median(direct), p95(through) - p95(direct)
    print(f"added: median {1000 * added[0]:.2f} ms, p95 {1000 * added[1]:.2f} ms")
    if added[0] > MOST_S:
        print(f"more than {1000 * MOST_S:.0f} ms")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
