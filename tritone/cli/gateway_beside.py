"""The gateway that `tritone serve` starts beside the server."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tritone.errors import EnvironmentProblem
from tritone.launcher import ServerSettings
from tritone.launcher.gateway_process import MISSING, GatewayProcess, missing
from tritone.launcher.ports import check_free

_PORT_OFFSET = 80  # from the first port of the server: 8080 beside 8000


@dataclass(frozen=True)
class Beside:
    """What is wanted of it. port: None is 80 above that of HTTP. keys: file of API keys."""

    wanted: bool = True
    port: int | None = None
    address: str = "127.0.0.1"
    keys: Path | None = None

    def start(self, server: ServerSettings) -> tuple[str, AbstractContextManager[object]]:
        """What to say of it once the server is ready, and what runs it. Raises EnvironmentProblem.

        Without an installed gateway, or in front of TLS, there is none, and a line says why.
        """
        if not self.wanted:
            return "", nullcontext()
        if missing():
            return MISSING, nullcontext()
        if server.tls is not None:
            return (
                "no gateway, as the server speaks TLS; to have one: tritone gateway --backend "
                f"{server.urls.grpc} --ca FILE",
                nullcontext(),
            )
        from tritone.gateway.settings import Address, GatewaySettings

        port = server.http_port + _PORT_OFFSET if self.port is None else self.port
        if self.keys and not self.keys.is_file():
            raise EnvironmentProblem(f"--gateway-keys {self.keys}: there is no such file")
        backend = Address(server.urls.grpc)
        settings = GatewaySettings((backend,), address=self.address, port=port, keys=self.keys)
        settings.check()
        check_free(self.address, {"gateway": port})
        words = ["--backend", backend.url, "--address", self.address, "--port", str(port)]
        words += ["--keys", str(self.keys)] if self.keys else []
        return f"OpenAI API {settings.url}/v1", GatewayProcess(words, server.restarts_per_hour)
