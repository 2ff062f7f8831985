"""How a server is to run: one value for the launcher, its checks and its command line."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tritone import resources
from tritone.errors import ModelDirectoryError
from tritone.launcher.health import HealthLimits
from tritone.launcher.tls import ServerTls
from tritone.triton_models import INNER, unary_of
from tritone.variables import MODEL_VARIABLE

LOOPBACK = "127.0.0.1"
_EVERY_INTERFACE = {"0.0.0.0": LOOPBACK, "::": "::1"}

NO_UNARY = "none"

Profile = Literal["cpu", "gpu", "gpu-torch", "gpu-llmapi", "gpu-backend"]
"""What serves the language model: ONNX Runtime, our model on TensorRT-LLM's Executor, torch, the
LLM API of TensorRT-LLM 1.x, or NVIDIA's C++ backend. All but cpu run everything on a GPU."""


@dataclass(frozen=True)
class ServerUrls:
    """Where a server listens; grpc is host:port, as gRPC clients want it."""

    http: str
    grpc: str
    metrics: str


@dataclass(frozen=True)
class ServerSettings:
    """One Triton server.

    wheel_dir: where `pip install --target` put the server's wheel; unused when `tritonserver` is on
        PATH.
    model_dir: the checkpoint that the models read (TRITONE_MODEL). None leaves the variable as it
        is, and without it the models use their own default.
    voices_dir: the registry of added voices. None is that of TRITONE_VOICES, or the user's.
    address: what the gRPC port binds to. http_address: what those of HTTP and metrics bind to,
        which Triton cannot encrypt. None is `address`, and with `tls` loopback.
    tls: of the gRPC port; None leaves it open.
    admin_key_file: has the key of the administrative protocols; None makes one that only the
        launcher knows.
    open_inner_models: clients may call the models behind the public one.
    inner_key_file: has the key of those models, for other servers that call them; None makes one
        that only this server's models know.
    log_text: the log may quote what clients send.
    threads: threads of each model's numeric libraries. None keeps what the environment says and
        makes it one where it says nothing: every model is a process of its own, and many threads in
        many processes slow each other down.
    start_timeout_s: time to load all models.
    exit_timeout_s: time for running utterances to end once a stop was asked for.
    health: when the process of a model is ended and replaced.
    restarts_per_hour: of what failed, models and servers, before giving up; 0: unlimited.
    public_model: the model that clients call; a stop waits for its requests. Empty: it has the name
        of the family that the model directory is of.
    unary: what the model is called that gives whole utterances to clients that cannot stream.
        Empty: its folder's name; NO_UNARY: there is none.
    log_file: the server's own output; None is a file in cache_dir named after the HTTP port.
    echo_log: also copy that output to stderr.
    parameters: of models, in place of what their config.pbtxt says: model -> name -> value.
    arguments: further ones for `tritonserver`, last, so that they win.
    """

    model_repository: Path = field(default_factory=resources.model_repository)
    wheel_dir: Path = field(default_factory=resources.triton_folder)
    profile: Profile = "cpu"
    model_dir: Path | None = None
    voices_dir: Path | None = None
    address: str = LOOPBACK
    http_address: str | None = None
    tls: ServerTls | None = None
    admin_key_file: Path | None = None
    open_inner_models: bool = False
    inner_key_file: Path | None = None
    log_text: bool = False
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    threads: int | None = None
    start_timeout_s: float = 300.0
    exit_timeout_s: int = 30
    health: HealthLimits = field(default_factory=HealthLimits)
    restarts_per_hour: int = 20
    public_model: str = ""
    unary: str = ""
    verbosity: int = 0
    cache_dir: Path = field(default_factory=resources.default_cache_dir)
    log_file: Path | None = None
    echo_log: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()

    @property
    def served_model(self) -> Path:
        """The model directory that the models will read; it need not exist."""
        named = os.environ.get(MODEL_VARIABLE)
        return self.model_dir or (Path(named) if named else resources.embedded_voice())

    @property
    def public(self) -> str:
        """The name of the public model; empty where the model directory does not say."""
        from tritone.config import Envelope  # needs pydantic, which the doctor's checks must not

        try:
            return self.public_model or Envelope.read(self.served_model).family
        except ModelDirectoryError:
            return ""  # the models will say what is wrong with it

    @property
    def models(self) -> list[str]:
        """The models that are loaded: the public one, those that it calls, and the one that calls
        it for clients that cannot stream; none for all."""
        names = (*INNER, self.public) if self.public else ()
        found = [name for name in names if (self.model_repository / name).is_dir()]
        return [*found, self.unary_model] if self.unary_model else found

    @property
    def unary_folder(self) -> Path:
        """Where the model for clients that cannot stream lies; it need not exist."""
        return self.model_repository / unary_of(self.public)

    @property
    def unary_model(self) -> str:
        """What it is called; empty where it is not loaded."""
        if self.unary == NO_UNARY or not (self.public and self.unary_folder.is_dir()):
            return ""
        return self.unary or self.unary_folder.name

    @property
    def ports(self) -> dict[str, int]:
        """Service name -> TCP port."""
        return {"http": self.http_port, "grpc": self.grpc_port, "metrics": self.metrics_port}

    @property
    def addresses(self) -> dict[str, str]:
        """Service name -> address that its port binds to."""
        plain = self.http_address or (LOOPBACK if self.tls else self.address)
        return {"http": plain, "grpc": self.address, "metrics": plain}

    @property
    def urls(self) -> ServerUrls:
        """A server bound to every interface is reached on loopback."""
        at = {}
        for service, address in self.addresses.items():
            host = _EVERY_INTERFACE.get(address, address)
            at[service] = f"{f'[{host}]' if ':' in host else host}:{self.ports[service]}"
        return ServerUrls(f"http://{at['http']}", at["grpc"], f"http://{at['metrics']}/metrics")

    @property
    def log_path(self) -> Path:
        return self.log_file or self.cache_dir / "logs" / f"triton-{self.http_port}.log"
