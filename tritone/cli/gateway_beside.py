"""The gateway that `tritone serve` starts beside the server."""

from dataclasses import dataclass
from pathlib import Path

from tritone.launcher import ServerSettings
from tritone.launcher.gateway_process import MISSING, GatewayProcess, missing
from tritone.launcher.ports import check_free
from tritone.resources import voice_registry_dir

_PORT_OFFSET = 80  # from the first port of the server: 8080 beside 8000


@dataclass(frozen=True)
class Beside:
    """What is wanted of it. port: None is 80 above that of HTTP. keys: file of API keys."""

    wanted: bool = True
    port: int | None = None
    address: str = "127.0.0.1"
    keys: Path | None = None

    def of(self, server: ServerSettings) -> "Gateway":
        """Raises EnvironmentProblem for what cannot be run.

        Without an installed gateway, or in front of TLS, there is none, and a line says why.
        """
        if not self.wanted:
            return Gateway("")
        if missing():
            return Gateway(MISSING)
        if server.tls is not None:
            grpc = server.urls.grpc
            advice = f"to have one: tritone gateway --backend {grpc} --ca FILE"
            return Gateway(f"no gateway, as the server speaks TLS; {advice}")
        from tritone.gateway.keys import read_keys
        from tritone.gateway.settings import Address, GatewaySettings

        port = server.http_port + _PORT_OFFSET if self.port is None else self.port
        backend = Address(server.urls.grpc)
        settings = GatewaySettings((backend,), address=self.address, port=port, keys=self.keys)
        settings.check()
        if self.keys:
            read_keys(self.keys)
        check_free(self.address, {"gateway": port})
        words = ["--backend", backend.url, "--address", self.address, "--port", str(port)]
        words += ["--keys", str(self.keys)] if self.keys else []
        words += _voices(server)
        process = GatewayProcess(words, server.restarts_per_hour)
        return Gateway(f"OpenAI API {settings.url}/v1\npage to try it {settings.url}/", process)


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
