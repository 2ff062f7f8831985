"""What the server holds, second by second."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import psutil
from prometheus_client.parser import text_string_to_metric_families

from tritone.launcher.model_processes import model_processes

SERVER = "server"
GAUGES = ("tritone_streams", "tritone_llm_generations", "tritone_flow_sequences")
_EVERY_S = 5.0  # the proportional size of a process takes some milliseconds to find


@dataclass(frozen=True)
class Sight:
    """At one moment. at: seconds since the beginning. memory: of each process, PSS in MiB, in which
    shared pages are divided among all that have them, other servers of this machine too. private:
    what it allocated, in MiB, without pages of files: those do not grow, and whether they count as
    its own changes as other servers come and go. shared: bytes in /dev/shm."""

    at: float
    memory: dict[str, float]
    private: dict[str, float]
    files: int
    threads: int
    shared: int

    @property
    def total(self) -> float:
        return sum(self.memory.values())


def processes(launcher_pid: int) -> dict[str, psutil.Process]:
    """Of the server that this launcher runs now, by model."""
    (server,) = psutil.Process(launcher_pid).children()
    found = {SERVER: server}
    for model, pids in model_processes(server.pid).items():
        found[model] = psutil.Process(pids[0])
    return found


def held(metrics_url: str) -> dict[str, float]:
    """The gauges of what is in use that are not zero."""
    with urlopen(metrics_url, timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        values = {s.name: s.value for family in families for s in family.samples}
    return {name: values[name] for name in GAUGES if values[name]}


class Watch:
    """Looks at a launcher's server in a thread; a moment at which one is replaced is left out."""

    def __init__(self, launcher_pid: int) -> None:
        self.sights: list[Sight] = []
        self._launcher, self._began = launcher_pid, time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_EVERY_S):
            try:
                self.sights.append(look(self._launcher, time.monotonic() - self._began))
            except (psutil.Error, ValueError):
                continue


def look(launcher_pid: int, at: float) -> Sight:
    """Raises psutil.Error, or ValueError, while a process is being replaced."""
    every = processes(launcher_pid)
    sizes = {name: p.memory_full_info() for name, p in every.items()}
    own = {name: size.rss - size.shared for name, size in sizes.items()}
    prefix = next(
        word.split("=")[1]
        for word in every[SERVER].cmdline()
        if word.startswith("--backend-config=python,shm-region-prefix-name=")
        for word in [word.partition(",")[2]]
    )
    regions = [path for path in Path("/dev/shm").glob(f"{prefix}*") if path.is_file()]
    return Sight(
        at,
        {name: size.pss / 2**20 for name, size in sizes.items()},
        {name: size / 2**20 for name, size in own.items()},
        files=sum(p.num_fds() for p in every.values()),
        threads=sum(p.num_threads() for p in every.values()),
        shared=sum(path.stat().st_blocks * 512 for path in regions),
    )
