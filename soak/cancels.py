"""How long the server still holds something of a stream that nobody wants any more.

    python -m soak.cancels        # make cancels

Streams of a long text are left after their first packet: by a request to end, as our clients do
(also after their fifth), and as strangers may: by a cancel of their RPC, at its deadline, or by a
client whose process is killed. From then on the server's metrics are read until no stream, no
generation of the language model and no sequence of the flow is left. Exit status 1 where one took
longer than `--most`.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import grpc
from tqdm import tqdm
from tritonclient.grpc import service_pb2_grpc

from soak.requests import HANG_S
from soak.server import UNLIMITED, launcher
from soak.watch import held
from tritone import resources
from tritone_client import SpeechClient, Utterance
from tritone_client.request import infer_request
from tritone_client.sync import CHANNEL_OPTIONS

LONG = Utterance("The birch canoe slid on the smooth planks, and nobody asked why it had. " * 20)
_DEADLINE_S = 0.4
_LOOK_S = 0.002
_SPEAKING = """
import sys
from tritone_client import SpeechClient, Utterance
with SpeechClient(sys.argv[1]) as client:
    for _ in client.stream(Utterance(sys.argv[2])):
        print("packet", flush=True)
"""


def asked_to_end(url: str, packets: int = 1) -> float:
    with SpeechClient(url) as client, closing(client.stream(LONG, timeout=HANG_S)) as stream:
        for _ in range(packets):
            next(stream)
        return time.monotonic()


def cancelled(url: str) -> float:
    with _responses(url, HANG_S) as responses:
        next(responses)
        left = time.monotonic()
        responses.cancel()
        return left


def out_of_time(url: str) -> float:
    """Raises SystemExit where the whole text was spoken in time."""
    with _responses(url, _DEADLINE_S) as responses:
        try:
            for _ in responses:
                pass
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED, error
            return time.monotonic()
    raise SystemExit(f"this machine speaks {LONG.text[:20]}... within {_DEADLINE_S} s")


@contextmanager
def _responses(url: str, deadline: float) -> Iterator[Any]:
    """To a request that no other one can end, in an RPC that its caller may cancel."""
    with SpeechClient(url) as client:
        request = infer_request(LONG, client.model)
    with grpc.insecure_channel(url, options=CHANNEL_OPTIONS) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        yield stub.ModelStreamInfer(iter([request]), timeout=deadline)


def killed(url: str) -> float:
    command = [sys.executable, "-c", _SPEAKING, url, LONG.text]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        client.stdout.readline()
        left = time.monotonic()
        client.kill()
        return left


def wait_until_free(metrics: str) -> None:
    began = time.monotonic()
    while held(metrics):
        if time.monotonic() > began + HANG_S:
            raise SystemExit(f"after {HANG_S} s there is still {held(metrics)}")
        time.sleep(_LOOK_S)


# Each returns when the stream was left, on the clock of `time.monotonic`.
WAYS: dict[str, Callable[[str], float]] = {
    "asked to end": asked_to_end,
    "asked to end later": partial(asked_to_end, packets=5),  # when more is computed at once
    "cancelled": cancelled,
    "deadline": out_of_time,
    "client killed": killed,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=resources.embedded_voice())
    parser.add_argument("--count", type=int, default=50, help="of each way (%(default)s)")
    parser.add_argument("--most", type=float, default=0.2, help="seconds (%(default)s)")
    options = parser.parse_args()
    slowest = 0.0
    with (
        tempfile.TemporaryDirectory() as folder,
        launcher(options.model, Path(folder), UNLIMITED) as (_, url, metrics),
    ):
        print("| left | median | 95 % | slowest |\n|---|---|---|---|")
        for name, leave in WAYS.items():
            times = []
            for _ in tqdm(range(options.count), desc=name, leave=False):
                left = leave(url)
                wait_until_free(metrics)
                times.append(1000 * (time.monotonic() - left))
            late = quantiles(times, n=20, method="inclusive")[-1]
            print(
                f"| {name} | {median(times):.0f} ms | {late:.0f} | {max(times):.0f} |", flush=True
            )
            slowest = max(slowest, *times)
    return 1 if slowest > 1000 * options.most else 0


if __name__ == "__main__":
    sys.exit(main())
