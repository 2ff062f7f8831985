"""The real server when the processes of its models die."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from metrics_scrape import Scrape, text_of
from paths import EMBEDDED, PROJECT
from serving import LONGEST, SHORT, is_speech
from toy_server import free_ports
from waiting import HANG_S, wait_until

from tritone.launcher.model_processes import model_processes
from tritone_client import SpeechClient, SpeechError, Utterance

pytestmark = pytest.mark.server
SEEDED = Utterance(SHORT, seed=5)


class Supervised:
    """`tritone serve`, and the lines that it has printed."""

    def __init__(self, cache_dir: Path) -> None:
        ports = free_ports()
        self.url = f"127.0.0.1:{ports['grpc_port']}"
        self.metrics = f"http://127.0.0.1:{ports['metrics_port']}/metrics"
        # how slow the machine is must not decide which streams are taken
        unlimited = ["--set", "cosyvoice2.max_first_audio_seconds=0"]
        unlimited += ["--set", "cosyvoice2.playback_reserve=0"]
        command = [sys.executable, "-m", "tritone", "serve", "--model", str(EMBEDDED)]
        command += ["--port-base", str(ports["http_port"]), "--cache-dir", str(cache_dir)]
        self._launcher = subprocess.Popen(
            [*command, *unlimited, "--no-warm-up", "--no-golden"],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        wait_until(lambda: self.starts, lambda: self._lines)

    @property
    def starts(self) -> int:
        """How often a server became ready."""
        return sum(line.startswith("ready after ") for line in self._lines)

    def _read(self) -> None:
        assert self._launcher.stdout is not None
        self._lines.extend(self._launcher.stdout)

    def kill(self, model: str, number: signal.Signals) -> None:
        (server,) = psutil.Process(self._launcher.pid).children()
        os.kill(model_processes(server.pid)[model][0], number)

    def stop(self) -> int:
        self._launcher.terminate()
        status = self._launcher.wait(timeout=HANG_S)
        assert self._launcher.stdout is not None
        self._launcher.stdout.close()
        return status


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    running = Supervised(tmp_path_factory.mktemp("supervised"))
    yield running
    assert running.stop() == 0


@pytest.fixture
def speaking(supervised: Supervised) -> Iterator[SpeechClient]:
    with SpeechClient(supervised.url) as client:
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
            with SpeechClient(supervised.url) as client:
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
    before, starts = speaking.speak(SEEDED), supervised.starts
    for problem in ends(speaking, supervised, model, number):
        named = f"{model}: its process ended" in problem or f"{model} is being started" in problem
        # whose text has been read needs no front end
        assert named or (model == "frontend" and not problem)
    assert np.array_equal(spoken_again(supervised), before)
    assert supervised.starts == starts, "in place"
    wait_until(lambda: Scrape(text_of(supervised.metrics))["tritone_streams"] == 0)


def test_without_the_public_model_the_server_is_replaced(
    supervised: Supervised, speaking: SpeechClient
) -> None:
    starts = supervised.starts
    for problem in ends(speaking, supervised, "cosyvoice2", signal.SIGKILL):
        assert problem.startswith("UNAVAILABLE")
    wait_until(lambda: supervised.starts > starts)
    assert is_speech(spoken_again(supervised))
