"""How a gateway is to run: one value for its command line, its parts and its tests."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from tritone.errors import EnvironmentProblem

if TYPE_CHECKING:  # it needs gRPC, and what is read of a command line does not
    from tritone_client import Tls

LOOPBACK = "127.0.0.1"
PORT = 8080
SERVER = f"{LOOPBACK}:8001"  # where one listens that was told nothing else


@dataclass(frozen=True)
class Address:
    """Where a server listens. url: host:port of its gRPC, or of several of one model with commas
    between, which are asked in turn. name: what requests call it by; None is the name of its public
    model."""

    url: str
    name: str | None = None

    @classmethod
    def of(cls, text: str) -> "Address":
        """Read URL or NAME=URL. Raises EnvironmentProblem."""
        name, equals, url = text.rpartition("=")
        if not all(":" in one for one in url.split(",")) or (equals and not name):
            raise EnvironmentProblem(
                f"--backend {text}: HOST:PORT or NAME=HOST:PORT of a server's gRPC is needed, such "
                f"as {SERVER}, or several with commas between"
            )
        return cls(url, name or None)


@dataclass(frozen=True)
class GatewaySettings:
    """One gateway.

    backends: servers; `model` of a request chooses, and the first takes OpenAI's own names.
    tls: of the connections to all of them; None speaks plain text.
    address, port: where it listens.
    keys: file of API keys, as `tritone keys` writes it; None asks nobody for a key.
    open_to_all: without keys it may listen on other addresses than loopback.
    cors_origins: web pages of these origins may call it; "*" means all.
    max_request_bytes: of a request's body. body_seconds: for the whole of it to arrive.
    max_streams: spoken at a time, for all callers together.
    max_connections: WebSockets that are open at a time, for all callers together.
    encoder_threads: for all streams together.
    utterance_seconds: for a server to speak one text.
    stall_seconds: for which a caller may take nothing of what waits for it.
    voices: folder of the registry that the servers read; None adds no voices. voices_model: the
        model directory whose encoders make them. upload_seconds: for a recording to arrive.
    voices_waiting: recordings at a time, on their way, waiting or being made into voices.
    voice_aliases: what requests may call a voice -> its id.
    idle_seconds: for which a WebSocket may be silent while nothing is spoken.
    """

    backends: tuple[Address, ...] = (Address(SERVER),)
    tls: "Tls | None" = None
    address: str = LOOPBACK
    port: int = PORT
    keys: Path | None = None
    open_to_all: bool = False
    cors_origins: tuple[str, ...] = ()
    max_request_bytes: int = 1 << 20
    body_seconds: float = 30.0
    max_streams: int = 64
    max_connections: int = 1024
    encoder_threads: int = 2
    utterance_seconds: float = 1800.0
    stall_seconds: float = 120.0
    voices: Path | None = None
    voices_model: Path | None = None
    upload_seconds: float = 120.0
    voices_waiting: int = 4
    voice_aliases: Mapping[str, str] = field(default_factory=dict)
    idle_seconds: float = 300.0

    @property
    def url(self) -> str:
        """Where a client on this machine reaches it; OpenAI's clients want it with /v1."""
        host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(self.address, self.address)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def check(self, prefix: str = "--") -> None:
        """Raise EnvironmentProblem for what must not be run. prefix: of the options that are
        named."""
        if not self.keys and not self.open_to_all and not is_loopback(self.address):
            raise EnvironmentProblem(
                f"{prefix}address {self.address} is open to other machines, and there are no API "
                f"keys: make one with `tritone keys add NAME --keys FILE` and give {prefix}keys "
                "FILE, or give --open to `tritone gateway` to let everyone speak"
            )
        names = [address.name or address.url for address in self.backends]
        if len(set(names)) < len(names):
            raise EnvironmentProblem(f"--backend: {', '.join(names)}; each must be there once")
        if self.voices_model and not (self.voices_model / "config.json").is_file():
            raise EnvironmentProblem(
                f"--voices-model {self.voices_model} has no config.json; name the model directory "
                "of the servers"
            )
        self._check_limits(prefix)

    def _check_limits(self, prefix: str) -> None:
        for option, count in (
            ("max-request-bytes", self.max_request_bytes),
            ("max-streams", self.max_streams),
            ("max-connections", self.max_connections),
            ("encoder-threads", self.encoder_threads),
        ):
            if count < 1:
                raise EnvironmentProblem(f"{prefix}{option} is {count}; it must be at least 1")
        for option, seconds in (
            ("idle-seconds", self.idle_seconds),
            ("stall-seconds", self.stall_seconds),
        ):
            if not (isfinite(seconds) and seconds > 0):
                raise EnvironmentProblem(
                    f"{prefix}{option} is {seconds:g}; it must be above 0 and finite"
                )


def is_loopback(address: str) -> bool:
    """Of an IP address or a host's name."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
