"""The launcher's own settings and checks, for the doctor."""

from typing import get_args

from tritone.diagnostics.doctor.target import Target
from tritone.launcher.settings import Profile, ServerSettings


def settings_of(target: Target) -> ServerSettings:
    """The server that `tritone serve` would start for this target."""
    profiles: dict[str, Profile] = {name: name for name in get_args(Profile)}
    return ServerSettings(
        target.model_repository,
        target.wheel_dir,
        profile=profiles[target.profile],
        model_dir=target.model_dir,
        address=target.address,
        http_port=target.http_port,
        grpc_port=target.grpc_port,
        metrics_port=target.metrics_port,
        cache_dir=target.cache_dir,
    )


def serve_command(target: Target, port_base: int | None = None) -> str:
    """The command that starts the server of this target."""
    port = "" if port_base in (None, 8000) else f" --port-base {port_base}"
    profile = "" if target.profile == "cpu" else f" --profile {target.profile}"
    return f"python tritone serve --model {target.model_dir}{profile}{port}"
