"""Options of `tritone gateway`, and of the gateway beside `tritone serve`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tritone.cli import options
from tritone.gateway.settings import SERVER, Address, GatewaySettings
from tritone.resources import embedded_voice

if TYPE_CHECKING:
    from tritone_client import Tls

USUAL = GatewaySettings()

Connections = Annotated[int, typer.Option(help="WebSockets that are open, for all callers")]
Idle = Annotated[
    float,
    typer.Option(metavar="SECONDS", help="for which a WebSocket may be silent, nothing being said"),
]
Stall = Annotated[
    float, typer.Option(metavar="SECONDS", help="for which a caller may take nothing of its sound")
]
VoiceAlias = Annotated[
    list[str] | None,
    typer.Option(
        envvar="TRITONE_VOICE_ALIASES",
        metavar="NAME=VOICE",
        help="what requests may call a voice, as alloy=heart; often",
    ),
]


@dataclass(frozen=True)
class Servers:
    """Those that it stands before."""

    backend: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]HOST:PORT[,...]",
            help=f"gRPC of a server ({SERVER}), or of several of one model; often, the first first",
        ),
    ] = None
    tls: Annotated[
        bool, typer.Option("--tls", help="to the servers, with gRPC's own authorities")
    ] = False
    ca: options.Ca = None
    cert: options.Cert = None
    key: options.Key = None

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Raises EnvironmentProblem."""
        return tuple(map(Address.of, self.backend)) if self.backend else USUAL.backends

    @property
    def with_tls(self) -> "Tls | None":
        """Raises OSError, or ValueError, for files that cannot be used."""
        from tritone_client import Tls

        if not (self.tls or self.ca or self.cert or self.key):
            return None
        tls = Tls(self.ca, self.cert, self.key)
        tls.credentials()
        return tls


@dataclass(frozen=True)
class Callers:
    """Who may call, and where."""

    address: Annotated[
        str, typer.Option(help="0.0.0.0 serves other machines too, who need keys")
    ] = USUAL.address
    port: Annotated[int, typer.Option(help="of HTTP")] = USUAL.port
    keys: options.Keys = None
    open_to_all: Annotated[
        bool, typer.Option("--open", help="without keys, serve other machines too")
    ] = False
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="web pages of this origin may call it; often; * for all"),
    ] = None


@dataclass(frozen=True)
class Limits:
    """What callers may have."""

    max_request_bytes: Annotated[int, typer.Option(help="of a request's body")] = (
        USUAL.max_request_bytes
    )
    max_streams: Annotated[int, typer.Option(help="spoken at a time, for all callers")] = (
        USUAL.max_streams
    )
    max_connections: Connections = USUAL.max_connections
    idle_seconds: Idle = USUAL.idle_seconds
    stall_seconds: Stall = USUAL.stall_seconds
    encoder_threads: Annotated[int, typer.Option(help="for all streams together")] = (
        USUAL.encoder_threads
    )


@dataclass(frozen=True)
class Speakers:
    """The voices of the servers."""

    voices: Annotated[
        Path | None,
        typer.Option(
            envvar="TRITONE_VOICES",
            metavar="DIR",
            help="voices can be added: the registry that the servers read",
        ),
    ] = None
    voices_model: Annotated[
        Path | None,
        typer.Option(
            envvar="TRITONE_MODEL",
            metavar="DIR",
            help="model directory of the servers, with --voices; without it the embedded voice",
        ),
    ] = None
    voice_alias: VoiceAlias = None

    @property
    def made_by(self) -> Path | None:
        """The model directory whose encoders make voices, where any can be added."""
        return (self.voices_model or embedded_voice()) if self.voices else None
