"""Running a gateway until it is interrupted."""

import socket
from collections.abc import Callable

import uvicorn

from tritone.gateway.app import create_app
from tritone.gateway.settings import GatewaySettings
from tritone.launcher.ports import check_free

_BACKLOG = 1024
_END_SECONDS = 10  # for streams to end once a stop was asked for


def run(settings: GatewaySettings, listening: Callable[[], object] = lambda: None) -> None:
    """listening: called once callers can connect. Raises EnvironmentProblem where it cannot start,
    and the signal's own exception where one ended it."""
    settings.check()
    app = create_app(settings)
    check_free(settings.address, {"gateway": settings.port})
    family = socket.AF_INET6 if ":" in settings.address else socket.AF_INET
    address = (settings.address, settings.port)
    with socket.create_server(address, family=family, backlog=_BACKLOG) as listener:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_END_SECONDS,
        )
        listening()
        uvicorn.Server(config).run(sockets=[listener])
