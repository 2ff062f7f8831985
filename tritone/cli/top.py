"""tritone top: a running server's models, its speed, and where the time goes."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Annotated

import typer

from tritone.cli import options
from tritone.cli.command import refused
from tritone.diagnostics.monitor import live
from tritone.diagnostics.monitor.health import Address, address
from tritone.diagnostics.monitor.observer import Observer, Snapshot
from tritone.diagnostics.monitor.report import as_json, as_line
from tritone.launcher import ServerSettings
from tritone.launcher.termination import termination_as_exit

Url = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Triton's HTTP service")]
MetricsUrl = Annotated[str | None, typer.Option(metavar="URL", help="metrics page (two ports on)")]


@dataclass(frozen=True)
class Watched:
    """The server."""

    url: Url = None
    port_base: Annotated[
        int | None, typer.Option(help="of a server here, as for `tritone serve` (8000)")
    ] = None
    metrics_url: MetricsUrl = None
    log: Annotated[
        Path | None, typer.Option(help="the server's log (of a server here, where serve puts it)")
    ] = None
    ca: options.Ca = None
    cert: options.Cert = None
    key: options.Key = None

    @property
    def server(self) -> Address:
        """Raises ValueError, or OSError for a file that cannot be read."""
        if self.url is not None and self.port_base is not None:
            raise ValueError("--port-base is not allowed with --url")
        return address(
            self.url or f"127.0.0.1:{self.port_base or 8000}", self.metrics_url, self._tls
        )

    def observer(self, server: Address, window: float) -> Observer:
        log = self.log
        if log is None and server.is_local:  # where `tritone serve` has it
            log = ServerSettings(http_port=server.http_port).log_path
        return Observer(server, window, log)

    @property
    def _tls(self) -> SSLContext | None:
        from tritone_client.tls import Tls  # with gRPC, which nothing else here needs

        if not (self.ca or self.cert or self.key):
            return None
        return Tls(self.ca, self.cert, self.key).context()


@dataclass(frozen=True)
class Looks:
    """How often, and how long."""

    interval: Annotated[float, typer.Option(metavar="SECONDS", help="between two looks")] = 2.0
    count: Annotated[int | None, typer.Option(help="end after so many looks")] = None
    window: Annotated[float, typer.Option(metavar="SECONDS", help="of recent figures")] = 60.0

    def check(self) -> None:
        """Raise ValueError for what is no interval, or no number of looks."""
        if not (self.interval > 0 and self.window > 0):
            raise ValueError("--interval and --window must be above 0")
        if self.count is not None and self.count < 1:
            raise ValueError(f"--count is {self.count}; it must be at least 1")


def top(
    watched: Watched,
    often: Looks,
    json: Annotated[bool, typer.Option("--json", help="a JSON object a line")] = False,
) -> int:
    """Watch a running server: models, speed, and where the time goes.

    On a terminal it draws one screen again and again; q or Ctrl-C ends it.
    Otherwise it writes a line of key=value for each look, or of JSON with
    --json. What is not known is "-", and null in JSON.

    Exit status: 0 ended by its user or after --count looks, 1 no server ever
    answered, 2 the command line is wrong.
    """
    try:
        often.check()
        server = watched.server
    except (OSError, ValueError) as error:
        return refused(error)
    observer = watched.observer(server, often.window)
    snapshots = looks(observer.observe, often.interval, often.count)
    try:
        with termination_as_exit():
            if live.available() and not json:
                live.show(snapshots)
            else:
                write_lines(snapshots, as_json if json else as_line)
    except KeyboardInterrupt:
        pass  # its way to end
    return 0 if observer.answered else 1


def looks(
    observe: Callable[[], Snapshot], interval_s: float, count: int | None
) -> Iterator[Snapshot]:
    """A snapshot for each interval; a look that takes longer delays the next."""
    done, due = 0, time.monotonic()
    while count is None or done < count:
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due, time.monotonic() - interval_s) + interval_s
        yield observe()
        done += 1


def write_lines(snapshots: Iterator[Snapshot], form: Callable[[Snapshot], str]) -> None:
    try:
        for snapshot in snapshots:
            print(form(snapshot), flush=True)
    except BrokenPipeError:  # the reader has enough; what is buffered is for nobody
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
