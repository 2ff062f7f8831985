"""`tritone serve` in tests, and its processes, some of which a test kills."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from paths import EMBEDDED, PROJECT
from serving import LONGEST, SHORT
from toy_server import free_ports
from waiting import HANG_S, wait_until

from tritone.launcher.model_processes import model_processes
from tritone_client import SpeechClient, SpeechError, Utterance

SEEDED = Utterance(SHORT, seed=5)


class Supervised:
    """`tritone serve` with these options, and the lines that it has printed."""

    def __init__(self, cache_dir: Path, *options: str) -> None:
        ports = free_ports()
        self.url = f"127.0.0.1:{ports['grpc_port']}"
        self.metrics = f"http://127.0.0.1:{ports['metrics_port']}/metrics"
        self.health = f"http://127.0.0.1:{ports['http_port']}/v2/health/ready"
        # how slow the machine is must not decide which streams are taken
        unlimited = ["--set", "cosyvoice2.max_first_audio_seconds=0"]
        unlimited += ["--set", "cosyvoice2.playback_reserve=0"]
        command = [sys.executable, "-m", "tritone", "serve", "--model", str(EMBEDDED)]
        command += ["--port-base", str(ports["http_port"]), "--cache-dir", str(cache_dir)]
        self._launcher = subprocess.Popen(
            [*command, *unlimited, "--no-warm-up", "--no-golden", "--no-gateway", *options],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        self.wait_for("ready after ")

    def count(self, words: str) -> int:
        """Of the lines that have these words."""
        return sum(words in line for line in self.lines)

    def wait_for(self, words: str, count: int = 1) -> None:
        wait_until(lambda: self.count(words) >= count, lambda: self.lines)

    def _read(self) -> None:
        assert self._launcher.stdout is not None
        self.lines.extend(self._launcher.stdout)

    def servers(self) -> list[int]:
        """Processes, the one that was started first in front."""
        children = psutil.Process(self._launcher.pid).children()
        return [child.pid for child in sorted(children, key=psutil.Process.create_time)]

    def kill(self, model: str, number: int = signal.SIGKILL, server: int = 0) -> None:
        """A model's process of one of its servers."""
        os.kill(model_processes(self.servers()[server])[model][0], number)

    def stop(self) -> int:
        self._launcher.terminate()
        status = self._launcher.wait(timeout=HANG_S)
        assert self._launcher.stdout is not None
        self._launcher.stdout.close()
        return status


def ends(client: SpeechClient, kill: Callable[[], None], text: str = LONGEST) -> list[str]:
    """What three long streams end with when something is killed that they need; "" for well."""
    streams = [client.stream(Utterance(text, seed=n), timeout=HANG_S) for n in range(3)]

    def end(stream: Iterator[np.ndarray]) -> str:
        try:
            for _ in stream:
                pass
        except SpeechError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(next, streams))
        kill()
        return list(pool.map(end, streams))


def spoken_again(supervised: Supervised) -> np.ndarray:
    """SEEDED, as soon as somebody speaks it."""

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
