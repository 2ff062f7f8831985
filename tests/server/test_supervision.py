"""The real server when the processes of its models die."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from paths import EMBEDDED
from serving import LONGEST, SHORT, is_speech, wait_until_free
from waiting import HANG_S, wait_until

from tritone.launcher import ServerSettings
from tritone.launcher.launch import TritonServer
from tritone.launcher.model_processes import model_processes
from tritone.launcher.ports import free_ports
from tritone.launcher.supervisor import End, Supervisor
from tritone_client import SpeechClient, SpeechError, Utterance

pytestmark = pytest.mark.server
SEEDED = Utterance(SHORT, seed=5)


class Supervised:
    """A supervised server, in a thread that ends with it."""

    def __init__(self, cache_dir: Path) -> None:
        http, grpc, metrics = free_ports()
        settings = ServerSettings(
            model_dir=EMBEDDED,
            http_port=http,
            grpc_port=grpc,
            metrics_port=metrics,
            cache_dir=cache_dir,
        )
        self.servers: list[TritonServer] = []
        self.end: End | None = None
        self._supervisor = Supervisor(settings, lambda server, _: self.servers.append(server))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        wait_until(lambda: self.servers)

    @property
    def server(self) -> TritonServer:
        return self.servers[-1]

    def _run(self) -> None:
        self.end = self._supervisor.run()

    def kill(self, model: str, number: signal.Signals = signal.SIGKILL) -> None:
        os.kill(model_processes(self.server.pid)[model][0], number)

    def stop(self) -> None:
        os.kill(self.server.pid, signal.SIGTERM)
        self._thread.join()


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    running = Supervised(tmp_path_factory.mktemp("supervised"))
    yield running
    running.stop()
    assert running.end is End.ENDED


@pytest.fixture
def speaking(supervised: Supervised) -> Iterator[SpeechClient]:
    with SpeechClient(supervised.server.urls.grpc) as client:
        yield client


def ends(client: SpeechClient, supervised: Supervised, model: str, number: int) -> list[str]:
    """What three long streams end with when a model's process gets that signal; "" for well."""
    streams = [client.stream(Utterance(LONGEST, seed=n), timeout=HANG_S) for n in range(3)]

    def end(stream: Iterator[np.ndarray]) -> str:
        try:
            for _ in stream:
                pass
        except SpeechError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(next, streams))
        supervised.kill(model, signal.Signals(number))
        return list(pool.map(end, streams))


def spoken_again(supervised: Supervised) -> np.ndarray:
    def tried() -> np.ndarray | None:
        try:
            with SpeechClient(supervised.server.urls.grpc) as client:
                return client.speak(SEEDED, timeout=HANG_S)
        except SpeechError as error:
            assert error.status == "UNAVAILABLE", error
            return None

    heard: list[np.ndarray] = []

    def heard_it() -> bool:
        if (samples := tried()) is not None:
            heard.append(samples)
        return bool(heard)

    wait_until(heard_it)
    return heard[0]


@pytest.mark.parametrize(
    ("model", "number"),
    [
        ("frontend", signal.SIGKILL),
        ("tensorrt_llm", signal.SIGKILL),
        ("token2wav", signal.SIGKILL),
        ("vocoder", signal.SIGKILL),
        ("token2wav", signal.SIGSTOP),
    ],
)
def test_a_lost_model_is_named_and_replaced(
    supervised: Supervised, speaking: SpeechClient, model: str, number: int
) -> None:
    before, servers = speaking.speak(SEEDED), len(supervised.servers)
    for problem in ends(speaking, supervised, model, number):
        named = f"{model}: its process ended" in problem or f"{model} is being started" in problem
        # whose text has been read needs no front end
        assert named or (model == "frontend" and not problem)
    assert np.array_equal(spoken_again(supervised), before)
    assert len(supervised.servers) == servers, "in place"
    wait_until_free(supervised.server)


def test_without_the_public_model_the_server_is_replaced(
    supervised: Supervised, speaking: SpeechClient
) -> None:
    servers = len(supervised.servers)
    for problem in ends(speaking, supervised, "cosyvoice2", signal.SIGKILL):
        assert problem.startswith("UNAVAILABLE")
    wait_until(lambda: len(supervised.servers) > servers)
    assert is_speech(spoken_again(supervised))
