"""The toy server of the tests: its models, its settings, and what its model noted."""

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from paths import PROJECT, SUPPORT
from waiting import HANG_S, wait_until

from tritone.launcher import ServerSettings, TritonServer

TOY_REPO = SUPPORT / "toy_repo"
PACKET = 2400
HELD = "one wait:never two"
"""One packet, and then a gate that nobody opens."""


def free_ports() -> dict[str, int]:
    """Three neighbouring ports within 18000..18999 that nobody listens on, nor will in the other
    of two processes of tests."""
    other = os.environ.get("PYTEST_XDIST_WORKER") == "gw1"
    for base in random.sample(range(18000 + 3 * other, 18990, 6), 150):
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
    usual = {"start_timeout_s": HANG_S, "exit_timeout_s": 10, "public_model": "cosyvoice2"}
    options = {**free_ports(), **usual, **changes}
    return ServerSettings(repository, PROJECT / ".triton", cache_dir=cache_dir, **options)


def serve_command(cache_dir: Path) -> tuple[list[str], int]:
    """`tritone serve` with the toy models, and its gRPC port."""
    ports = free_ports()
    command = [sys.executable, "-m", "tritone", "serve", "--model-repository", str(TOY_REPO)]
    base = str(ports["http_port"])
    without = ["--no-warm-up", "--no-golden", "--no-gateway"]
    return [*command, *without, "--port-base", base, "--cache-dir", str(cache_dir)], ports[
        "grpc_port"
    ]


@contextmanager
def launched(
    cache_dir: Path, *more: str, before: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen, int]]:
    """That command, running; more: of its options; before: what runs it."""
    command, port = serve_command(cache_dir)
    with subprocess.Popen(
        [*before, *command, *more], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as launcher:
        yield launcher, port


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

    def mark(self) -> int:
        """The number of events so far."""
        return len(self.events())

    def wait_for(self, kind: str, mark: int, count: int = 1) -> dict:
        """The event with which there are `count` of this kind since the mark."""

        def found() -> list[dict]:
            return [event for event in self.events()[mark:] if event["event"] == kind]

        wait_until(lambda: len(found()) >= count, lambda: f"no {count} {kind!r}: {self.events()}")
        return found()[count - 1]

    def open(self, gate: str) -> None:
        """Let go on what waits at `wait:gate`."""
        self.notes.with_name(gate).touch()
