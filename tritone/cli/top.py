"""tritone top: a running server's models, its speed, and where the time goes."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from ssl import SSLContext
from typing import Annotated

import typer

from tritone.cli import options
from tritone.cli.command import refused
from tritone.diagnostics.monitor import live
from tritone.diagnostics.monitor.health import address
from tritone.diagnostics.monitor.observer import Observer, Snapshot
from tritone.diagnostics.monitor.report import as_json, as_line
from tritone.launcher import ServerSettings
from tritone.launcher.launch import termination_as_exit

Url = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Triton's HTTP service")]
MetricsUrl = Annotated[str | None, typer.Option(metavar="URL", help="metrics page (two ports on)")]


def top(
    url: Url = None,
    port_base: Annotated[
        int | None, typer.Option(help="of a server here, as for `tritone serve` (8000)")
    ] = None,
    metrics_url: MetricsUrl = None,
    log: Annotated[
        Path | None, typer.Option(help="the server's log (of a server here, where serve puts it)")
    ] = None,
    interval: Annotated[float, typer.Option(metavar="SECONDS", help="between two looks")] = 2.0,
    count: Annotated[int | None, typer.Option(help="end after so many looks")] = None,
    window: Annotated[float, typer.Option(metavar="SECONDS", help="of recent figures")] = 60.0,
    json: Annotated[bool, typer.Option("--json", help="a JSON object a line")] = False,
    ca: options.Ca = None,
    cert: options.Cert = None,
    key: options.Key = None,
) -> int:
    """Watch a running server: models, speed, and where the time goes.

    On a terminal it draws one screen again and again; q or Ctrl-C ends it.
    Otherwise it writes a line of key=value for each look, or of JSON with
    --json. What is not known is "-", and null in JSON.

    Exit status: 0 ended by its user or after --count looks, 1 no server ever
    answered, 2 the command line is wrong.
    """
    if url is not None and port_base is not None:
        return refused("--port-base is not allowed with --url")
    if not (interval > 0 and window > 0):
        return refused("--interval and --window must be above 0")
    if count is not None and count < 1:
        return refused(f"--count is {count}; it must be at least 1")
    try:
        tls = context_of(ca, cert, key) if ca or cert or key else None
        server = address(url or f"127.0.0.1:{port_base or 8000}", metrics_url, tls)
    except (OSError, ValueError) as error:
        return refused(error)
    if log is None and server.is_local:  # where `tritone serve` has it
        log = ServerSettings(http_port=server.http_port).log_path
    observer = Observer(server, window, log)
    snapshots = looks(observer.observe, interval, count)
    try:
        with termination_as_exit():
            if live.available() and not json:
                live.show(snapshots)
            else:
                write_lines(snapshots, as_json if json else as_line)
    except KeyboardInterrupt:
        pass  # its way to end
    return 0 if observer.answered else 1


def context_of(ca: Path | None, cert: Path | None, key: Path | None) -> SSLContext:
    """Raises ValueError, or OSError for a file that cannot be read."""
    from tritone_client.tls import Tls  # with gRPC, which nothing else here needs

    return Tls(ca, cert, key).context()


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
