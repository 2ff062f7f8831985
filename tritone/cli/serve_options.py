"""Options of `tritone serve`, but for those of the gateway beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tritone.cli import options
from tritone.launcher.tls import ServerTls
from tritone.triton_models import FLOW

Port = Annotated[int | None, typer.Option(help="in place of --port-base")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="MODEL.NAME=VALUE", help="in place of a config.pbtxt's; often"),
]


@dataclass(frozen=True)
class Served:
    """What is served, and by what."""

    model: options.Model = None
    voices: options.Voices = None
    profile: options.Runtime = "cpu"
    preset: options.Preset = "exact"
    model_repository: Annotated[Path, typer.Option(help="Triton's models")] = options.MODELS
    threads: Annotated[int | None, typer.Option(help="threads of each model process (1)")] = None


@dataclass(frozen=True)
class Life:
    """When a server is ready, and what is done when it no longer is."""

    warm_up: Annotated[
        bool, typer.Option(help="speak a word in registered voices before saying ready")
    ] = True
    golden: Annotated[
        bool, typer.Option(help="refuse to be ready unless the golden sample sounds as it should")
    ] = True
    start_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="for loading the models")
    ] = 300.0
    exit_timeout_secs: Annotated[
        int, typer.Option(metavar="SECONDS", help="for running utterances to end")
    ] = 30
    restarts_per_hour: Annotated[
        int, typer.Option(metavar="COUNT", help="of what failed; 0: unlimited")
    ] = 20
    memory_limit_mb: Annotated[
        int, typer.Option(metavar="MB", help="of a model's process; 0: unlimited")
    ] = 0
    stall_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="without progress; 0: unlimited")
    ] = 120.0
    standby: Annotated[bool, typer.Option("--standby", help="a second, warm server takes over")] = (
        False
    )


@dataclass(frozen=True)
class Listening:
    """Where, and how."""

    address: options.Address = "127.0.0.1"
    port_base: options.PortBase = 8000
    http_address: options.HttpAddress = None
    http_port: Port = None
    grpc_port: Port = None
    metrics_port: Port = None
    tls_cert: Annotated[
        Path | None, typer.Option(help="PEM: gRPC speaks TLS with this certificate")
    ] = None
    tls_key: Annotated[Path | None, typer.Option(help="PEM: its key, without a passphrase")] = None
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="PEM: clients need a certificate of this authority")
    ] = None

    @property
    def ports(self) -> tuple[int, int, int]:
        """Of HTTP, gRPC and metrics."""
        http, grpc, metrics = (
            self.port_base + offset if port is None else port
            for offset, port in enumerate((self.http_port, self.grpc_port, self.metrics_port))
        )
        return http, grpc, metrics

    @property
    def tls(self) -> ServerTls | None:
        """Raises ValueError."""
        if self.tls_cert and self.tls_key:
            return ServerTls(self.tls_cert, self.tls_key, self.tls_client_ca)
        if self.tls_cert or self.tls_key:
            raise ValueError("--tls-cert and --tls-key belong together; give both or neither")
        if self.tls_client_ca:
            raise ValueError("--tls-client-ca needs --tls-cert and --tls-key")
        return None


@dataclass(frozen=True)
class Rights:
    """What clients may do."""

    admin_key_file: Annotated[
        Path | None, typer.Option(help="key of the administrative protocols")
    ] = None
    open_inner_models: Annotated[
        bool,
        typer.Option("--open-inner-models", help="clients may call the models behind it too"),
    ] = False
    inner_key_file: Annotated[
        Path | None, typer.Option(help="key with which other servers may call those models")
    ] = None
    unary: Annotated[
        str, typer.Option(metavar="NAME", help="of the model that does not stream")
    ] = ""


@dataclass(frozen=True)
class Files:
    """What a server reads and writes on this machine."""

    wheel_dir: options.WheelDir = options.TRITON
    cache_dir: options.CacheDir = options.CACHE
    log_file: Annotated[
        Path | None, typer.Option(help="the server's own log (below --cache-dir)")
    ] = None
    echo_log: Annotated[bool, typer.Option("--echo-log", help="the server's log on stderr too")] = (
        False
    )
    log_text: Annotated[
        bool, typer.Option("--log-text", help="the log may quote what clients send")
    ] = False
    log_verbose: Annotated[int, typer.Option(metavar="LEVEL")] = 0


def parameters(changed: Sequence[str], preset: str = "exact") -> dict[str, dict[str, str]]:
    """Of --set and --preset, before which --set goes: model -> name -> value. Raises ValueError."""
    found: dict[str, dict[str, str]] = {}
    for text in changed:
        name, equals, value = text.partition("=")
        model, dot, parameter = name.partition(".")
        if not (equals and dot and model and parameter):
            raise ValueError(f"--set {text}: expected MODEL.NAME=VALUE")
        found.setdefault(model, {})[parameter] = value
    if preset != "exact":
        found.setdefault(FLOW, {}).setdefault("preset", preset)
    return found
