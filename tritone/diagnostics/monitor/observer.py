"""All that is seen of a server at one moment."""

import json
import os
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from tritone.diagnostics.monitor.figures import Figures, figures
from tritone.diagnostics.monitor.health import PYTHON, READY, Address, HealthProbe, fetch
from tritone.diagnostics.monitor.scrape import Scrape, Window, parse
from tritone.launcher.model_processes import Processes, by_model, find_server, memory, uptime_s

_BACKLOG = 1 << 20  # bytes of the log that are read back at first
_ERRORS = ("failed", "refused", "overloaded")
NO_PROCESS = "NO PROCESS"  # of a model that Triton believes to be ready


@dataclass(frozen=True)
class SpeechError:
    """A request that ended badly. time: ISO 8601, UTC; "" where the line has none."""

    time: str
    id: str
    outcome: str
    error: str


@dataclass(frozen=True)
class Model:
    """processes: None where they cannot be seen, or the model has none of its own."""

    state: str
    processes: Processes | None


@dataclass(frozen=True)
class Snapshot:
    """time: UTC. live, ready: None where nothing answers. away_since: UTC, while nothing does.

    uptime_s, server_process: of the server's process, on this machine only. problems: what could
    not be seen, and why. no_log: why `errors` cannot grow; None where they can, and for a server
    elsewhere.
    """

    time: datetime
    server: str
    live: bool | None
    ready: bool | None
    away_since: datetime | None
    problems: tuple[str, ...]
    uptime_s: float | None
    server_process: Processes | None
    models: dict[str, Model]
    figures: Figures | None
    no_log: str | None
    errors: tuple[SpeechError, ...]


class SpeechLog:
    """Follows a log in which each request that ended is a line of JSON among other lines."""

    def __init__(self, path: Path, keep: int = 5) -> None:
        self._path = path
        self._errors: deque[SpeechError] = deque(maxlen=keep)
        self._file: tuple[int, int] | None = None  # device and inode
        self._offset = 0
        self._rest = b""

    @property
    def errors(self) -> tuple[SpeechError, ...]:
        """The last ones, the oldest first."""
        return tuple(self._errors)

    def read(self) -> str | None:
        """Take in what was appended; returns what keeps it from that, None if nothing."""
        try:
            with self._path.open("rb") as log:
                status = os.fstat(log.fileno())
                file, size = (status.st_dev, status.st_ino), status.st_size
                if self._file is None:
                    self._offset = max(0, size - _BACKLOG)
                elif file != self._file or size < self._offset:  # another log
                    self._offset, self._rest = 0, b""
                self._file = file
                log.seek(self._offset)
                added = log.read()
        except OSError as error:
            return f"no log: {self._path}: {error.strerror}; name it with --log"
        self._offset += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        self._errors.extend(found for line in lines if (found := _error_in(line)))
        return None


def _error_in(line: bytes) -> SpeechError | None:
    try:
        record = json.loads(line) if line.startswith(b"{") else {}
    except ValueError:
        return None
    if record.get("event") != "speech" or record.get("outcome") not in _ERRORS:
        return None
    texts = (str(record.get(name) or "") for name in ("time", "id", "outcome", "error"))
    return SpeechError(*texts)


class Observer:
    """Looks at one server as often as it is asked to, and remembers what a window needs.

    log: the server's log file, None where it is out of reach.
    """

    def __init__(self, address: Address, window_s: float, log: Path | None) -> None:
        self._address = address
        self._probe = HealthProbe(address.http, address.tls)
        self._window = Window(window_s)
        self._log = SpeechLog(log) if log else None
        self._last_answer = datetime.now(timezone.utc)
        self.answered = False  # whether it ever has

    def observe(self) -> Snapshot:
        live, ready, states, problem = self._probe.probe()
        scrape, *problems = self._scrape()
        if scrape is not None:
            self._window.add(time.monotonic(), scrape)
        pid = find_server(self._address.http_port) if self._address.is_local else None
        models = self._models(states, pid)
        no_log = self._log.read() if self._log else None
        now = datetime.now(timezone.utc)
        away = live is None and scrape is None
        if not away:
            self._last_answer, self.answered = now, True
        problems += [
            f"{name}: its process ended, so its requests fail; restart the server, see its log"
            for name, model in models.items()
            if model.state == NO_PROCESS
        ]
        if problem:
            problems.insert(0, f"no answer from {self._address.http}: {problem}")
        if away and pid:
            problems.append(f"its process {pid} runs: it loads its models, or hangs; see its log")
        return Snapshot(
            time=now,
            server=self._address.name,
            live=live,
            ready=ready,
            away_since=self._last_answer if away else None,
            problems=tuple(filter(None, problems)),
            uptime_s=uptime_s(pid) if pid else None,
            server_process=memory(pid) if pid else None,
            models=models,
            figures=figures(self._window) if scrape is not None else None,
            no_log=no_log,
            errors=self._log.errors if self._log else (),
        )

    def _scrape(self) -> tuple[Scrape | None, str | None]:
        """The metrics, or why there are none."""
        url = self._address.metrics
        try:
            answer = fetch(url, tls=self._address.tls)
            if answer.status != 200:
                return None, f"no metrics: {url} answers {answer.status}; name it: --metrics-url"
            return parse(answer.body.decode()), None
        except ConnectionError as error:
            return None, f"no metrics: {url}: {error}; name it with --metrics-url"
        except ValueError as error:
            return None, f"no metrics: {url} is no metrics page: {error}"

    def _models(self, states: dict[str, str], pid: int | None) -> dict[str, Model]:
        """Triton 2.51 calls a model ready whose process has died, so we look for ourselves."""
        running = by_model(pid) if pid else {}
        models = {}
        for name, state in states.items():
            own = running.get(name)
            if pid and own is None and state == READY and self._probe.backend(name) == PYTHON:
                state = NO_PROCESS
            models[name] = Model(state, own)
        return models
