"""Watching the processes of a running server and of its models; one that no longer works is ended.

Triton 2.51 stays up and ready when a model's process dies, and says nothing of one that hangs.
"""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass, replace

from tritone.launcher.health import LOOK_S, Beat, Health, HealthLimits, Sight
from tritone.launcher.model_processes import model_processes
from tritone.launcher.readable import readable

SERVER = "the Triton server"
_CHUNK = 65536  # what a pipe holds


@dataclass(frozen=True)
class Loss:
    """A model, or SERVER, whose process has ended, or was ended for this reason."""

    model: str
    reason: str


class Beats:
    """A pipe on which the models' processes tell that they work; `sender` is to be inherited."""

    def __init__(self) -> None:
        self._receiver, self.sender = os.pipe()
        for end in (self._receiver, self.sender):
            os.set_blocking(end, False)  # nobody waits for the other side

    def latest(self) -> dict[int, Beat]:
        """Process -> its latest since the last call."""
        found = {}
        with suppress(BlockingIOError):
            while data := os.read(self._receiver, _CHUNK):
                for line in data.decode().splitlines():
                    pid, running, progress = map(int, line.split())
                    found[pid] = Beat(running, progress)
        return found

    def close(self) -> None:
        os.close(self._receiver)
        os.close(self.sender)


@dataclass
class _Watched:
    model: str
    pid: int
    health: Health
    reason: str = ""


class ModelWatch:
    """The server with this process, and its models."""

    def __init__(self, server_pid: int, beats: Beats, limits: HealthLimits) -> None:
        self._server_pid, self._beats, self._limits = server_pid, beats, limits
        self._processes: dict[int, _Watched] = {}  # by pidfd
        self._add(SERVER, server_pid, replace(limits, memory_mb=0))
        self.look_again()

    def look_again(self) -> None:
        """Watch the processes that have come since the last time."""
        known = {watched.pid for watched in self._processes.values()}
        for model, pids in model_processes(self._server_pid).items():
            for pid in set(pids) - known:
                self._add(model, pid, self._limits)

    def next_loss(self) -> Loss | None:
        """The next process that has ended; None when none has for a while, in which those that no
        longer work were ended, each with its reason."""
        ended = readable(self._processes, LOOK_S)
        for descriptor in sorted(ended):  # the server's is the oldest
            watched = self._processes.pop(descriptor)
            os.close(descriptor)
            return Loss(watched.model, watched.reason or "its process ended")
        self._judge()
        return None

    def close(self) -> None:
        for descriptor in self._processes:
            os.close(descriptor)
        self._processes.clear()

    def _add(self, model: str, pid: int, limits: HealthLimits) -> None:
        with suppress(ProcessLookupError):  # ended meanwhile: the server will not say ready
            self._processes[os.pidfd_open(pid)] = _Watched(model, pid, Health(limits))

    def _judge(self) -> None:
        beats = self._beats.latest()
        for descriptor, watched in self._processes.items():
            sight = _look(watched.pid, beats.get(watched.pid))
            if sight and not watched.reason:
                watched.reason = watched.health.judge(sight)
                if watched.reason:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)


def _look(pid: int, beat: Beat | None) -> Sight | None:
    """None for a process that has just ended."""
    import psutil  # here, as the doctor must run where it cannot be imported

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            stopped = process.status() == psutil.STATUS_STOPPED
            return Sight(beat, stopped, times.user + times.system, process.memory_info().rss)
    return None
