"""What is examined."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tritone import resources
from tritone.launcher.settings import LOOPBACK, Profile, ServerSettings


@dataclass(frozen=True)
class Target:
    """The folders, ports and server that the checks look at.

    model_dir: a converted checkpoint. wheel_dir, cache_dir, model_repository, addresses and ports:
        as in ServerSettings. profile: what is to be served, as for tritone serve.
    server: whether a running server is to be examined: True demands one, False leaves it alone,
        None examines it if one answers.
    tls: the files with which a client speaks to that server, by the client's names; empty: plain.
    voices_dir: the registry of added voices.
    shm_dir: where shared memory lives. releases: family -> a folder of its released files, to be
        examined as upstream would load it.
    """

    model_dir: Path = field(default_factory=resources.embedded_voice)
    model_repository: Path = field(default_factory=resources.model_repository)
    wheel_dir: Path = field(default_factory=resources.triton_folder)
    cache_dir: Path = field(default_factory=resources.default_cache_dir)
    profile: Profile = "cpu"
    address: str = LOOPBACK
    http_address: str | None = None
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    server: bool | None = None
    shm_dir: Path = Path("/dev/shm")
    voices_dir: Path = field(default_factory=resources.voice_registry_dir)
    tls: Mapping[str, str] = field(default_factory=dict)
    releases: Mapping[str, Path] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        return self.profile != "cpu"

    @property
    def ports(self) -> dict[str, int]:
        """Service name -> TCP port."""
        return {"http": self.http_port, "grpc": self.grpc_port, "metrics": self.metrics_port}

    @property
    def addresses(self) -> dict[str, str]:
        """Service name -> address that its port binds to."""
        return self.settings().addresses

    def host(self, service: str) -> str:
        """Where to connect to, as in a URL: what is bound to every interface is on loopback too."""
        address = self.addresses[service]
        host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(address, address)
        return f"[{host}]" if ":" in host else host

    @property
    def config(self) -> dict[str, Any]:
        """config.json of the model directory, unchecked; empty where there is none to be read."""
        try:
            values = json.loads((self.model_dir / "config.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    @property
    def section(self) -> dict[str, Any]:
        """What config.json says of the checkpoint, under the family's name."""
        section = self.config.get(self.family)
        return section if isinstance(section, dict) else {}

    @property
    def family(self) -> str:
        """Of the model, and so the name of the model that clients call; empty if not known."""
        return str(self.config.get("family") or "")

    def settings(self) -> ServerSettings:
        """The server that `tritone serve` would start for this target."""
        return ServerSettings(
            self.model_repository,
            self.wheel_dir,
            profile=self.profile,
            model_dir=self.model_dir,
            address=self.address,
            http_address=self.http_address or (LOOPBACK if self.tls else None),
            http_port=self.http_port,
            grpc_port=self.grpc_port,
            metrics_port=self.metrics_port,
            cache_dir=self.cache_dir,
        )

    def serve_command(self, port_base: int | None) -> str:
        """The command that starts the server of this target."""
        port = "" if port_base in (None, 8000) else f" --port-base {port_base}"
        profile = "" if self.profile == "cpu" else f" --profile {self.profile}"
        return f"tritone serve --model {self.model_dir}{profile}{port}"

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> "Target":
        values, usual = json.loads(text), asdict(cls())
        paths = {name: Path(values[name]) for name in usual if isinstance(usual[name], Path)}
        releases = {family: Path(folder) for family, folder in values["releases"].items()}
        return cls(**{**values, **paths, "releases": releases})
