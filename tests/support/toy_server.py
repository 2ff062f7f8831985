"""The toy server of the tests: its models, its settings, and what its model noted."""

import json
import random
import socket
import time
from pathlib import Path

from paths import PROJECT, SUPPORT

from tritone.launcher import ServerSettings, TritonServer

TOY_REPO = SUPPORT / "toy_repo"
PACKET = 2400
LONG = " ".join(["word"] * 100)
"""Five seconds of packets, 50 ms apart."""


def free_ports() -> dict[str, int]:
    """Three neighbouring ports within 18000..18999 that nobody listens on."""
    for base in random.sample(range(18000, 18990, 3), 300):
        probes = [socket.socket() for _ in range(3)]
        try:
            for offset, probe in enumerate(probes):
                probe.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
        return {"http_port": base, "grpc_port": base + 1, "metrics_port": base + 2}
    raise AssertionError("no free ports")


def toy_settings(cache_dir: Path, repository: Path = TOY_REPO, **changes: object) -> ServerSettings:
    options = {**free_ports(), "start_timeout_s": 60.0, "exit_timeout_s": 10, **changes}
    return ServerSettings(repository, PROJECT / ".triton", cache_dir=cache_dir, **options)


class Toy:
    """The running toy server, and what its model noted."""

    def __init__(self, server: TritonServer, notes: Path) -> None:
        self.server = server
        self.notes = notes

    @property
    def url(self) -> str:
        return self.server.urls.grpc

    def events(self) -> list[dict]:
        return [json.loads(line) for line in self.notes.read_text().splitlines()]

    def wait_for(self, kind: str, since: float, within_s: float = 1.0) -> dict:
        """The first event of this kind at or after `since` (time.monotonic)."""
        while True:
            for event in self.events():
                if event["event"] == kind and event["at"] >= since:
                    return event
            assert time.monotonic() < since + within_s, f"no {kind!r} within {within_s} s"
            time.sleep(0.02)
