"""Running a gateway until it is interrupted."""

import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from tritone.gateway.app import create_app
from tritone.gateway.settings import GatewaySettings
from tritone.gateway.websocket_server import EndingWebSocket
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
        config = configuration(settings, app)
        listening()
        uvicorn.Server(config).run(sockets=[listener])


def configuration(settings: GatewaySettings, app: FastAPI) -> uvicorn.Config:
    """How uvicorn serves it."""
    return uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_END_SECONDS,
        ws=EndingWebSocket,
        ws_max_size=settings.max_request_bytes,
        ws_ping_timeout=settings.stall_seconds,  # it is answered only by who reads
        ws_per_message_deflate=False,  # sound does not get smaller
    )
