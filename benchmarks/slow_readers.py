"""One caller of the gateway's WebSockets, beside many who read nothing."""

import asyncio
import socket
import statistics
import time
from contextlib import AsyncExitStack
from json import dumps, loads
from urllib.request import urlopen

import psutil
from websockets.asyncio.client import ClientConnection, connect

TEXT = "The birch canoe slid on the smooth planks."
AT_A_TIME = 8  # of those who read nothing; the server takes 16 streams
BUFFER = 4096  # bytes that the kernel keeps for one of them


def spoken_now(port: int) -> int:
    """Streams, as the gateway counts them."""
    with urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        lines = page.read().decode().splitlines()
    (line,) = (line for line in lines if line.startswith("tritone_gateway_streams "))
    return int(float(line.split()[1]))


async def begin(caller: ClientConnection, seed: int, **options: object) -> None:
    """A speech, up to its first sound."""
    order = {"type": "start", "model": "tts-1", "input": TEXT, "seed": seed, **options}
    await caller.send(dumps(order))
    while isinstance(message := await caller.recv(), str):
        told = loads(message)
        if told["type"] == "audio":
            break
        if told["type"] == "error":  # the server has as many as it takes
            assert told["error"]["code"] == "overloaded", told
            await asyncio.sleep(0.2)
            await caller.send(dumps(order))


async def finish(caller: ClientConnection) -> None:
    while isinstance(message := await caller.recv(), bytes) or loads(message)["type"] != "done":
        pass


async def first_sounds(url: str, rounds: int) -> str:
    """Of one who reads, on a connection that is there already."""
    times = []
    async with connect(url) as caller:
        for seed in range(-2, rounds):  # the first two warm up
            began = time.perf_counter()
            await begin(caller, abs(seed))
            if seed >= 0:
                times.append(1000 * (time.perf_counter() - began))
            await finish(caller)
    lower, median, upper = statistics.quantiles(times, n=4)
    return f"{median:.1f} ms (half of {rounds} between {lower:.1f} and {upper:.1f})"


async def read_nothing(url: str, port: int) -> ClientConnection:
    """One who has begun a speech, and reads nothing after its first sound."""
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    own.setblocking(False)
    await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", port))
    caller = await connect(url, sock=own, max_queue=1, ping_interval=None)
    await begin(caller, 0, sample_rate=48_000, audio="base64")  # more than is kept on its way
    caller.transport.pause_reading()
    return caller


async def let_go(port: int, caller: ClientConnection) -> float:
    """ms until the gateway speaks for one less, once this connection breaks off."""
    before = spoken_now(port)
    began = time.perf_counter()
    caller.transport.abort()
    while await asyncio.to_thread(spoken_now, port) >= before:
        pass
    return 1000 * (time.perf_counter() - began)


async def beside_slow_readers(port: int, gateway: psutil.Process, count: int, rounds: int) -> None:
    url = f"ws://127.0.0.1:{port}/v1/audio/stream"
    print(f"first sound alone {await first_sounds(url, rounds)}")
    memory = gateway.memory_info().rss
    async with AsyncExitStack() as open_to_the_end:
        slow: list[ClientConnection] = []
        while len(slow) < count:
            more = min(AT_A_TIME, count - len(slow))
            slow += await asyncio.gather(*(read_nothing(url, port) for _ in range(more)))
        for caller in slow:
            open_to_the_end.callback(caller.transport.abort)
        beside = await first_sounds(url, rounds)
        print(f"first sound beside {spoken_now(port)} who read nothing {beside}")
        more_memory = (gateway.memory_info().rss - memory) / count / 1024
        print(f"  {more_memory:.0f} KiB of the gateway's memory for each of {count}")
        times = [await let_go(port, caller) for caller in slow[-20:]]  # who are still there
        print(f"let go after {statistics.median(times):.0f} ms, at most {max(times):.0f}")
