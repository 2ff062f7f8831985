"""What all requests to a gateway share, made when it starts and closed when it ends."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from starlette.requests import HTTPConnection

from tritone.gateway.backends import Backends
from tritone.gateway.limits import Places
from tritone.gateway.metrics import Metrics
from tritone.gateway.settings import GatewaySettings
from tritone.gateway.voice_work import VoiceWork

Result = TypeVar("Result")


class Gateway:
    """To be made where a loop runs."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.started = int(time.time())  # Unix time
        self.backends = Backends(settings.backends, settings.tls)
        self.places = Places(settings.max_streams, "this gateway")
        self.sockets = Places(settings.max_connections, "this gateway", "connections")
        self.metrics = Metrics()
        self.encoding = ThreadPoolExecutor(settings.encoder_threads, "encoder")
        self.voices: VoiceWork | None = None
        if settings.voices and settings.voices_model:
            self.voices = VoiceWork(settings.voices, settings.voices_model, settings.voices_waiting)

    async def in_encoder(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Do it in one of the threads that encode."""
        return await asyncio.get_running_loop().run_in_executor(self.encoding, work, *arguments)

    async def close(self) -> None:
        await self.backends.close()
        if self.voices:
            await self.voices.close()
        self.encoding.shutdown()


def gateway_of(request: HTTPConnection) -> Gateway:
    """The one that a request came to."""
    return cast(Gateway, request.app.state.gateway)
