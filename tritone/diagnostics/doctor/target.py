"""What is examined."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from tritone.launcher.settings import default_cache_dir

PROJECT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Target:
    """The folders, ports and server that the checks look at.

    model_dir: a converted checkpoint. wheel_dir, cache_dir, model_repository, address and ports:
        as in ServerSettings. profile: what is to be served, as for scripts/serve.py.
    server: whether a running server is to be examined: True demands one, False leaves it alone,
        None examines it if one answers.
    shm_dir: where shared memory lives. indextts2_dir: a folder of IndexTTS2's released files, to be
        examined as upstream would load it; None leaves that out.
    """

    model_dir: Path = PROJECT / "checkpoints" / "embedded"
    model_repository: Path = PROJECT / "model_repo"
    wheel_dir: Path = PROJECT / ".triton"
    cache_dir: Path = field(default_factory=default_cache_dir)
    profile: str = "cpu"
    address: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    server: bool | None = None
    shm_dir: Path = Path("/dev/shm")
    indextts2_dir: Path | None = None

    @property
    def on_gpu(self) -> bool:
        return self.profile != "cpu"

    @property
    def ports(self) -> dict[str, int]:
        """Service name -> TCP port."""
        return {"http": self.http_port, "grpc": self.grpc_port, "metrics": self.metrics_port}

    @property
    def reachable_host(self) -> str:
        """Where to connect to: what is bound to every interface is on loopback too."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.address, self.address)

    def plain(self) -> dict[str, Any]:
        """For JSON; `from_plain` reads it."""
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> "Target":
        kinds = get_type_hints(cls)
        paths = {f.name for f in fields(cls) if kinds[f.name] in (Path, Path | None)}
        typed: dict[str, Any] = {
            name: Path(value) if name in paths and value is not None else value
            for name, value in values.items()
        }
        return cls(**typed)
