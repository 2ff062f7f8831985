"""What the gateway costs: `python -m benchmarks.gateway`.

On a server and a gateway of its own, with the embedded voice:

    added             ms from the request to the first sound through the gateway, less the same over
                      gRPC, asked in turn, as the median of the differences
    share of a core   what N streams in real time take of it: N texts are asked for at once, and the
                      gateway's processor seconds are divided by the seconds of one text's speech

With --slow N, over WebSockets, in place of both:

    first sound       ms from the start of a text to its first sound, for one who reads, alone and
                      beside N who have begun a speech each and read nothing of it
    let go            ms from a connection that breaks off until the gateway speaks for one less
"""

import argparse
import asyncio
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from http.client import HTTPConnection
from json import dumps
from pathlib import Path

import psutil

from benchmarks.slow_readers import beside_slow_readers
from tritone.gateway.formats import FORMATS
from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.ports import free_ports
from tritone.launcher.termination import termination_as_exit
from tritone_client import AsyncSpeechClient, Utterance

TEXT = "The birch canoe slid on the smooth planks."
ORDER = random.Random(0)  # what is busy beside it must not meet the same one each time
LONG = " ".join([TEXT, "Glue the sheet to the dark blue background."] * 6)


@contextmanager
def servers(streams: int = 64) -> Iterator[tuple[str, int, psutil.Process]]:
    """A server's gRPC address, a gateway's port before it, and the gateway. streams: that it takes
    at a time."""
    with (
        tempfile.TemporaryDirectory() as folder,
        server_in(Path(folder)) as server,
        gateway_beside(server, ["--max-streams", str(streams)]) as (port, gateway),
    ):
        yield server.urls.grpc, port, gateway


@contextmanager
def server_in(folder: Path, voices: Path | None = None) -> Iterator[TritonServer]:
    """One that is ready. voices: the registry of added voices."""
    http, grpc, metrics = free_ports()
    settings = ServerSettings(
        http_port=http,
        grpc_port=grpc,
        metrics_port=metrics,
        cache_dir=folder,
        voices_dir=voices,
        parameters={"cosyvoice2": {"max_first_audio_seconds": "0", "playback_reserve": "0"}},
    )
    with TritonServer(settings) as server:
        server.wait_ready()
        yield server


@contextmanager
def gateway_beside(
    server: TritonServer, more: Sequence[str] = ()
) -> Iterator[tuple[int, psutil.Process]]:
    """The port of a gateway before a server, and its process; more: options."""
    port = free_ports()[0]
    words = [sys.executable, "-m", "tritone", "gateway", "--port", str(port), *more]
    words += ["--backend", server.urls.grpc]
    with (
        termination_as_exit(),
        subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as gateway,
    ):
        try:
            assert gateway.stdout and gateway.stdout.readline()
            yield port, psutil.Process(gateway.pid)
        finally:
            gateway.terminate()


def over_http(port: int, form: str, seed: int) -> float:
    """Seconds to the first byte of sound, on a connection of its own that is there already."""
    connection = HTTPConnection("127.0.0.1", port)
    connection.connect()
    body = {"model": "tts-1", "input": TEXT, "response_format": form, "seed": seed}
    began = time.perf_counter()
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/v1/audio/speech", dumps(body), headers)
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read(1)
    took = time.perf_counter() - began
    answer.read()
    connection.close()
    return took


async def over_grpc(client: AsyncSpeechClient, seed: int) -> float:
    began = time.perf_counter()
    async with aclosing(client.stream(Utterance(TEXT, seed=seed))) as stream:
        await anext(stream)
        took = time.perf_counter() - began
        async for _ in stream:
            pass
    return took


async def added(url: str, port: int, rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in ("gRPC", *FORMATS)}
    async with AsyncSpeechClient(url) as client:
        for seed in range(-2, rounds):  # the first two warm up
            for name in ORDER.sample(list(times), len(times)):
                if name == "gRPC":
                    took = await over_grpc(client, abs(seed))
                else:
                    took = await asyncio.to_thread(over_http, port, name, abs(seed))
                if seed >= 0:
                    times[name].append(1000 * took)
    direct = statistics.median(times["gRPC"])
    print(f"first sound over gRPC {direct:.1f} ms (median of {rounds})")
    for name in FORMATS:
        pairs = zip(times[name], times["gRPC"], strict=True)
        more = statistics.median(through - straight for through, straight in pairs)
        print(f"  {name:<5} {statistics.median(times[name]):6.1f} ms, added {more:+.1f} ms")


def whole(port: int, form: str, seed: int) -> int:
    """Bytes of one long answer."""
    connection = HTTPConnection("127.0.0.1", port)
    body = {"model": "tts-1", "input": LONG, "response_format": form, "seed": seed}
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/v1/audio/speech", dumps(body), headers)
    size = len(connection.getresponse().read())
    connection.close()
    return size


async def share(port: int, gateway: psutil.Process, streams: int) -> None:
    samples = 2 * FORMATS["pcm"].own_rate
    seconds = await asyncio.to_thread(whole, port, "pcm", 0) / samples
    for form in FORMATS:
        before = sum(gateway.cpu_times()[:2])
        asking = (asyncio.to_thread(whole, port, form, 0) for _ in range(streams))
        sizes = await asyncio.gather(*asking)
        assert all(sizes)
        used = sum(gateway.cpu_times()[:2]) - before
        print(f"  {form:<5} {100 * used / seconds:.1f} % of a core")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--slow", type=int, default=0, metavar="N")
    options = parser.parse_args()
    if options.slow:
        with servers(options.slow + 16) as (_, port, gateway):
            asyncio.run(beside_slow_readers(port, gateway, options.slow, options.rounds))
        return
    with servers() as (url, port, gateway):
        asyncio.run(added(url, port, options.rounds))
        print(f"{options.streams} streams in real time")
        asyncio.run(share(port, gateway, options.streams))


if __name__ == "__main__":
    main()
