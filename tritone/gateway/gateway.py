"""What all requests to a gateway share, made when it starts and closed when it ends."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from starlette.requests import HTTPConnection

from tritone.gateway.backends import Backends
from tritone.gateway.limits import Places
from tritone.gateway.metrics import Metrics
from tritone.gateway.settings import GatewaySettings


class Gateway:
    """To be made where a loop runs."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.started = int(time.time())  # Unix time
        self.backends = Backends(settings.backends, settings.tls)
        self.places = Places(settings.max_streams, "this gateway")
        self.sockets = Places(settings.max_sockets, "this gateway", "connections")
        self.metrics = Metrics()
        self.encoding = ThreadPoolExecutor(settings.encoder_threads, "encoder")

    async def close(self) -> None:
        await self.backends.close()
        self.encoding.shutdown()


def gateway_of(request: HTTPConnection) -> Gateway:
    """The one that a request came to."""
    return cast(Gateway, request.app.state.gateway)
