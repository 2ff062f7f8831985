"""All that is seen of a server at one moment."""

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from tritone.diagnostics.monitor.figures import Figures, figures
from tritone.diagnostics.monitor.health import PYTHON, READY, Address, HealthProbe, fetch
from tritone.diagnostics.monitor.scrape import Scrape, Window, parse
from tritone.diagnostics.monitor.speech_log import SpeechError, SpeechLog
from tritone.launcher.model_processes import Processes, by_model, find_server, memory, uptime_s

NO_PROCESS = "NO PROCESS"  # of a model that Triton believes to be ready


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


class Observer:
    """Looks at one server as often as it is asked to, and remembers what a window needs.

    log: the server's log file, None where it is out of reach.
    """

    def __init__(self, address: Address, window_s: float, log: Path | None) -> None:
        self._address = address
        self._probe = HealthProbe(address.http)
        self._window = Window(window_s)
        self._log = SpeechLog(log) if log else None
        self._last_answer = datetime.now(timezone.utc)
        self.answered = False  # whether it ever has

    def observe(self) -> Snapshot:
        health = self._probe.probe()
        scrape, *problems = self._scrape()
        if scrape is not None:
            self._window.add(time.monotonic(), scrape)
        pid = find_server(self._address.http_port) if self._address.is_local else None
        models = self._models(health.models, pid)
        no_log = self._log.read() if self._log else None
        now = datetime.now(timezone.utc)
        away = health.live is None and scrape is None
        if not away:
            self._last_answer, self.answered = now, True
        problems += [
            f"{name}: its process ended, so its requests fail; restart the server, see its log"
            for name, model in models.items()
            if model.state == NO_PROCESS
        ]
        if health.problem:
            problems.insert(0, f"no answer from {self._address.http}: {health.problem}")
        if away and pid:
            problems.append(f"its process {pid} runs: it loads its models, or hangs; see its log")
        return Snapshot(
            time=now,
            server=self._address.name,
            live=health.live,
            ready=health.ready,
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
            answer = fetch(url)
            if not answer.ok:
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
