"""Three real servers behind HAProxy, of which one is killed, told to end, or stands still."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from paths import EMBEDDED
from serving import LONGEST, SENTENCE, SHORT
from toy_server import free_ports
from waiting import HANG_S, wait_until

from benchmarks.balanced import SERVERS, ports, renew, several
from benchmarks.balancer import HAPROXY, Balancer, balancer
from tritone.launcher import TritonServer
from tritone_client import AsyncSpeechClient, SpeechClient, SpeechError, StreamMeter, Utterance

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.skipif(HAPROXY is None, reason="haproxy (Debian's package) is missing"),
]
RETRIES = 8  # 10 s of pauses and more, in which a new server is found well
LENGTHY = Utterance(" ".join([SENTENCE] * 4), seed=3)
CALLERS = 4


class Balanced:
    """The three, and what stands before them."""

    def __init__(self, servers: list[TritonServer], front: Balancer) -> None:
        self.servers, self.front = servers, front
        with self.client() as client:
            self.lengthy = client.speak(LENGTHY, timeout=HANG_S)

    def client(self, **patience: bool) -> SpeechClient:
        return SpeechClient(self.front.url, retries=RETRIES, **patience)

    def wait_for_all(self) -> None:
        wait_until(lambda: len(self.front.up()) == SERVERS, self.front.servers)

    @contextmanager
    def without(self, number: int) -> Iterator[TritonServer]:
        """What is done here ends this server; then there is another."""
        self.wait_for_all()
        yield self.servers[number]
        renew(self.servers[number])
        self.wait_for_all()


def places() -> list[tuple[int, ...]]:
    """Ports that a killed server finds free again."""
    found: dict[int, tuple[int, ...]] = {}
    while len(found) < SERVERS:
        ports = tuple(free_ports().values())
        found[ports[0]] = ports
    return [*found.values()]


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    folder = tmp_path_factory.mktemp("balanced")
    with (
        several(EMBEDDED, folder, places()) as servers,
        balancer([ports(server) for server in servers], folder) as front,
    ):
        yield Balanced(servers, front)


class Unresumed:
    """Long speeches of asyncio's client, one at each server, in a thread. errors: with which they
    end while nobody leaves them."""

    def __init__(self, url: str) -> None:
        self._url, self.begun, self.errors = url, 0, list[str]()
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()))
        self._thread.start()
        wait_until(lambda: self.begun == SERVERS)

    def leave(self) -> None:
        self._over.set()
        self._thread.join()

    async def _all(self) -> None:
        async with AsyncSpeechClient(self._url, retries=RETRIES) as client:
            await asyncio.gather(*(self._speak(client, seed) for seed in range(SERVERS)))

    async def _speak(self, client: AsyncSpeechClient, seed: int) -> None:
        stream = client.stream(Utterance(LONGEST, seed=seed), timeout=2 * HANG_S)
        try:
            await anext(stream)
            self.begun += 1
            async for _ in stream:
                if self._over.is_set():
                    break
        except SpeechError as error:
            self.errors.append(str(error))
        finally:
            await stream.aclose()


def test_a_killed_server_costs_those_who_resume_nothing_but_time(balanced: Balanced) -> None:
    with balanced.without(0) as victim, balanced.client(resume=True) as client:
        others = Unresumed(balanced.front.url)
        meters = [StreamMeter(client.sample_rate) for _ in range(SERVERS)]
        streams = [client.stream(LENGTHY, timeout=2 * HANG_S, on_retry=m.retry) for m in meters]
        heard = [[next(stream)] for stream in streams]
        os.kill(victim.pid, signal.SIGKILL)
        wait_until(lambda: others.errors)
        others.leave()
        for parts, stream in zip(heard, streams, strict=True):
            parts += stream
            assert np.array_equal(np.concatenate(parts), balanced.lengthy)
        assert sum(meter.finish().retries for meter in meters) >= 1
        assert all(error.startswith("UNAVAILABLE") for error in others.errors)
        assert len(others.errors) == 1, "the other servers' streams go on"


def test_a_server_that_is_told_to_end_loses_nothing(balanced: Balanced) -> None:
    """Streams that it has are spoken to their end, and new ones go elsewhere, without a resume."""
    with balanced.without(1) as leaving, balanced.client() as client:
        streams = [client.stream(LENGTHY, timeout=2 * HANG_S) for _ in range(2 * SERVERS)]
        heard = [[next(stream)] for stream in streams]
        ending = threading.Thread(target=leaving.stop)
        ending.start()
        spoken = 0
        while ending.is_alive():
            spoken += len(client.speak(Utterance(SHORT, seed=1), timeout=HANG_S)) > 0
            for parts, stream in zip(heard, streams, strict=True):
                parts += [part for part in [next(stream, None)] if part is not None]
        for parts, stream in zip(heard, streams, strict=True):
            assert np.array_equal(np.concatenate([*parts, *stream]), balanced.lengthy)
        assert spoken


def test_a_server_that_stands_still_gets_less(balanced: Balanced) -> None:
    balanced.wait_for_all()
    still, front = balanced.servers[2], balanced.front
    over = threading.Event()
    # Triton's models may take a server that stands still for one that has ended, and end too
    with balanced.client(resume=True) as client:
        expected = client.speak(Utterance(SENTENCE, seed=1), timeout=HANG_S)
        before = front.taken()

        def ask() -> int:
            count = 0
            while not over.is_set():
                heard = client.speak(Utterance(SENTENCE, seed=1), timeout=2 * HANG_S)
                assert np.array_equal(heard, expected)
                count += 1
            return count

        with ThreadPoolExecutor(2 * CALLERS) as pool:
            os.kill(still.pid, signal.SIGSTOP)
            try:
                asking = [pool.submit(ask) for _ in range(2 * CALLERS)]
                wait_until(lambda: "tts-3" not in front.up())
                wait_until(lambda: sum(front.taken().values()) - sum(before.values()) > 20)
                now = front.taken()  # a stream each may wait there; what is asked again comes later
            finally:
                over.set()
                os.kill(still.pid, signal.SIGCONT)
            assert all(one.result() for one in asking)
    new = {name: now[name] - before[name] for name in now}
    assert new["tts-3"] <= 2 * CALLERS < new["tts-1"] + new["tts-2"], new
    balanced.wait_for_all()
