"""Watch a running server: its models, its speed, and where the time goes.

    python scripts/monitor.py
    python scripts/monitor.py --url 10.0.0.5:8000 --window 300
    python scripts/monitor.py --interval 10 | grep -o 'first_packet_s.window.p95=[^ ]*'

On a terminal it draws one screen again and again; q or Ctrl-C ends it. Otherwise it writes a line
of key=value for each look, or of JSON with --json. What is not known is "-", and null in JSON.

Exit status: 0 ended by its user or after --count looks, 1 no server ever answered, 2 the command
line is wrong.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tritone.diagnostics.monitor import live
from tritone.diagnostics.monitor.address import Address, address
from tritone.diagnostics.monitor.observer import Observer, Snapshot
from tritone.diagnostics.monitor.report import as_json, as_line
from tritone.launcher import ServerSettings
from tritone.launcher.launch import termination_as_exit

PROJECT = Path(__file__).resolve().parents[1]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/monitor.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what is watched")
    where = what.add_mutually_exclusive_group()
    where.add_argument("--url", metavar="HOST:PORT", help="Triton's HTTP service")
    where.add_argument(
        "--port-base",
        type=int,
        default=8000,
        help="of a server here, as for serve.py (%(default)s)",
    )
    what.add_argument("--metrics-url", metavar="URL", help="metrics page (two ports above)")
    what.add_argument(
        "--log", type=Path, help="the server's log (of a server here, where serve.py puts it)"
    )
    how = parser.add_argument_group("how")
    how.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="(%(default)s)")
    how.add_argument("--count", type=int, help="end after so many looks")
    how.add_argument(
        "--window",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="of recent figures (%(default)s)",
    )
    how.add_argument("--json", action="store_true", help="a JSON object a line")
    return parser


def default_log(server: Address) -> Path | None:
    """Where scripts/serve.py has the log of a server on this machine."""
    if not server.is_local:
        return None
    settings = ServerSettings(
        PROJECT / "model_repo", PROJECT / ".triton", http_port=server.http_port
    )
    return settings.log_path


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


def main() -> int:
    parser = build_parser()
    options = parser.parse_args()
    if not (options.interval > 0 and options.window > 0):
        parser.error("--interval and --window must be above 0")
    if options.count is not None and options.count < 1:
        parser.error(f"--count is {options.count}; it must be at least 1")
    try:
        server = address(options.url or f"127.0.0.1:{options.port_base}", options.metrics_url)
    except ValueError as error:
        parser.error(str(error))
    observer = Observer(server, options.window, options.log or default_log(server))
    snapshots = looks(observer.observe, options.interval, options.count)
    try:
        with termination_as_exit():
            if live.available() and not options.json:
                live.show(snapshots)
            else:
                write_lines(snapshots, as_json if options.json else as_line)
    except KeyboardInterrupt:
        pass  # its way to end
    return 0 if observer.answered else 1


if __name__ == "__main__":
    sys.exit(main())
