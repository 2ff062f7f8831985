"""A gateway beside a server: a process that is started again, until the server ends."""

import logging
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.util import find_spec

from tritone.launcher.command import BECOME
from tritone.launcher.restart_limit import RestartLimit

_LOG = logging.getLogger(__name__)

_PACKAGES = ("fastapi", "uvicorn", "websockets", "av", "python_multipart")
MISSING = "the gateway is not installed: pip install 'tritone[gateway]' (in a checkout: make setup)"

_CANNOT_START = 2
_START_SECONDS = 30.0
_END_SECONDS = 15.0  # what it gives its own streams, and a margin


def missing() -> bool:
    """Whether a gateway lacks a package here."""
    return any(find_spec(package) is None for package in _PACKAGES)


class GatewayProcess:
    """Runs `tritone gateway` with these arguments, from a thread of its own.

    The server that it is for need not be there yet. One that cannot start (status 2) stays away.
    """

    def __init__(self, arguments: Sequence[str], restarts_per_hour: int) -> None:
        words = [sys.executable, "-m", "tritone", "gateway", *arguments]
        # becomes that command, and ends with the thread that started it
        self._command = [sys.executable, "-I", "-S", "-c", BECOME, *words]
        self._limit = RestartLimit(restarts_per_hour)
        self._stopping, self._lock = threading.Event(), threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._told = threading.Event()  # that it listens, or never will
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Start it, unless that was done."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_running, name="gateway")
            self._thread.start()

    def is_listening(self) -> bool:
        """Whether callers can connect; waits for it where it was just started."""
        return self._told.wait(_START_SECONDS) and self._process is not None

    def end(self) -> None:
        """Let its streams end, which is soon where the server has ended; then it is gone."""
        with self._lock:
            self._stopping.set()
            process = self._process
        if process is None or self._thread is None:
            return
        process.terminate()
        self._thread.join(_END_SECONDS)
        process.kill()
        self._thread.join()

    def _keep_running(self) -> None:
        while (process := self._start()) is not None:
            with process.stdout or nullcontext() as out:
                if out and out.readline():
                    self._told.set()
                status = process.wait()
            if self._stopping.is_set():
                return
            pause = None if status == _CANNOT_START else self._limit.pause("gateway")
            if pause is None:
                _LOG.error("the gateway ended with status %d and stays away", status)
                self._process = None
                self._told.set()
                return
            _LOG.error("the gateway ended with status %d and is started again", status)
            self._stopping.wait(pause)

    def _start(self) -> subprocess.Popen[bytes] | None:
        """None once it is not wanted any more."""
        with self._lock:
            if self._stopping.is_set():
                return None
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the server, whose streams it carries
            )
            return self._process
