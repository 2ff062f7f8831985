"""HAProxy in front of several servers on this machine, with the configuration that comes along."""

import csv
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[1]
CONFIGURATION = _PROJECT / "deploy" / "haproxy.cfg"
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path=_PROJECT / ".venv" / "bin")

_SERVER = re.compile(r"^    server tts-\d .*\n", re.MULTILINE)
_START_S = 60.0


@dataclass(frozen=True)
class Ports:
    """Of one server."""

    grpc: int
    http: int


@dataclass(frozen=True)
class Balancer:
    """A running one. url: of its gRPC. admin: the socket that tells what it knows."""

    url: str
    admin: Path

    def servers(self) -> dict[str, Mapping[str, str]]:
        """What it counts of each, by name (tts-1 and so on); columns are those of HAProxy."""
        return {row["svname"]: row for row in self._rows() if row["svname"].startswith("tts-")}

    def up(self) -> list[str]:
        """Those that were found well, and get new streams."""
        return [
            name
            for name, row in self.servers().items()
            if row["status"].startswith("UP") and row["check_status"] in ("L7OK", "* L7OK")
        ]

    def taken(self) -> dict[str, int]:
        """Streams that each has been given so far."""
        return {name: int(row["stot"]) for name, row in self.servers().items()}

    def _rows(self) -> Iterator[Mapping[str, str]]:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(self.admin))
            asking.sendall(b"show stat\n")
            with asking.makefile(encoding="ascii") as told:
                yield from csv.DictReader(told.read().removeprefix("# ").splitlines())


def configuration(servers: Sequence[Ports], url: str, admin: Path) -> str:
    """As it comes along, with these servers on this machine, and an address to ask it questions."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    head, *_ = _SERVER.split(text)
    own = [
        f"    server tts-{number} 127.0.0.1:{ports.grpc} port {ports.http}\n"
        for number, ports in enumerate(servers, 1)
    ]
    asked = f"global\n    stats socket {admin} level user\n"
    whole = "".join([head, *own]).replace("global\n", asked)
    return whole.replace("bind 127.0.0.1:8011 ", f"bind {url} ")


@contextmanager
def balancer(servers: Sequence[Ports], folder: Path, host: str = "127.0.0.1") -> Iterator[Balancer]:
    """Over these, once it has found all of them well. folder: for its files; its name is short, as
    that of a socket must be."""
    assert HAPROXY is not None, "HAProxy (Debian's package haproxy) is missing"
    with socket.socket() as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    running = Balancer(f"{host}:{port}", folder / "admin")
    file = folder / "haproxy.cfg"
    file.write_text(configuration(servers, running.url, running.admin), encoding="utf-8")
    with subprocess.Popen([HAPROXY, "-db", "-f", str(file)]) as process:
        try:
            until = time.monotonic() + _START_S
            while not (running.admin.exists() and len(running.up()) == len(servers)):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("HAProxy did not start, or a server is not well")
                time.sleep(0.05)
            yield running
        finally:
            process.terminate()
