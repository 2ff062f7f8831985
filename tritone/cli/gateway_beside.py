"""The gateway that `tritone serve` starts beside the server."""

from dataclasses import dataclass
from typing import Annotated

import typer

from tritone.cli import options
from tritone.cli.gateway_options import USUAL, Connections, Idle, Stall, VoiceAlias
from tritone.gateway.settings import Address, GatewaySettings
from tritone.launcher import ServerSettings
from tritone.launcher.gateway_process import MISSING, GatewayProcess, missing
from tritone.launcher.ports import check_free
from tritone.resources import voice_registry_dir

_PORT_OFFSET = 80  # from the first port of the server: 8080 beside 8000


@dataclass(frozen=True)
class Beside:
    """Options of `tritone serve`: what is wanted of it."""

    gateway: Annotated[bool, typer.Option(help="OpenAI's API beside the server")] = True
    gateway_port: Annotated[
        int | None, typer.Option(help="80 above --port-base or --http-port")
    ] = None
    gateway_address: Annotated[
        str, typer.Option(help="0.0.0.0 serves other machines, who need keys")
    ] = USUAL.address
    gateway_keys: options.Keys = None
    voice_alias: VoiceAlias = None
    gateway_max_connections: Connections = USUAL.max_connections
    gateway_idle_seconds: Idle = USUAL.idle_seconds
    gateway_stall_seconds: Stall = USUAL.stall_seconds

    def of(self, server: ServerSettings) -> "Gateway":
        """Raises EnvironmentProblem for what cannot be run.

        Without an installed gateway, or in front of TLS, there is none, and a line says why.
        """
        if not self.gateway:
            return Gateway("")
        if missing():
            return Gateway(MISSING)
        if server.tls is not None:
            grpc = server.urls.grpc
            advice = f"to have one: tritone gateway --backend {grpc} --ca FILE"
            return Gateway(f"no gateway, as the server speaks TLS; {advice}")
        settings = self._settings(server)
        self._check(settings)
        words = [*self._words(settings), *_voices(server)]
        process = GatewayProcess(words, server.restarts_per_hour)
        return Gateway(f"OpenAI API {settings.url}/v1\npage to try it {settings.url}/", process)

    def _settings(self, server: ServerSettings) -> GatewaySettings:
        from tritone.gateway.voice_names import aliases

        port = self.gateway_port
        return GatewaySettings(
            (Address(server.urls.grpc),),
            address=self.gateway_address,
            port=server.http_port + _PORT_OFFSET if port is None else port,
            keys=self.gateway_keys,
            max_connections=self.gateway_max_connections,
            idle_seconds=self.gateway_idle_seconds,
            stall_seconds=self.gateway_stall_seconds,
            voice_aliases=aliases(self.voice_alias or ()),
        )

    def _check(self, settings: GatewaySettings) -> None:
        from tritone.gateway.keys import read_keys

        settings.check(prefix="--gateway-")
        if settings.keys:
            read_keys(settings.keys)
        check_free(settings.address, {"gateway": settings.port})

    def _words(self, settings: GatewaySettings) -> list[str]:
        """The same for `tritone gateway`."""
        given = {
            "backend": settings.backends[0].url,
            "address": settings.address,
            "port": settings.port,
            "max-connections": settings.max_connections,
            "idle-seconds": settings.idle_seconds,
            "stall-seconds": settings.stall_seconds,
        }
        words = [f"--{option}={value}" for option, value in given.items()]
        words += [f"--keys={settings.keys}"] if settings.keys else []
        return words + [f"--voice-alias={text}" for text in self.voice_alias or ()]


def _voices(server: ServerSettings) -> list[str]:
    """Options for adding voices to what this server speaks; none before a model directory that
    makes none."""
    model = server.served_model.absolute()
    if not (model / "config.json").is_file():
        return []
    registry = (server.voices_dir or voice_registry_dir()).absolute()
    return ["--voices", str(registry), "--voices-model", str(model)]


@dataclass(frozen=True)
class Gateway:
    """line: what to say of it, in one line or two. process: None for none."""

    line: str
    process: GatewayProcess | None = None

    def begin(self) -> None:
        """Start it, unless that was done."""
        if self.process:
            self.process.begin()

    def told(self) -> str:
        """The line, once it is true."""
        there = self.process is None or self.process.is_listening()
        return self.line if there else "the gateway does not listen; what it said is above"

    def end(self) -> None:
        if self.process:
            self.process.end()
