"""The application: routes, what stands before them, and what lives as long as it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from tritone.gateway import (
    catalogue,
    errors,
    health,
    page_files,
    realtime,
    schema,
    speech,
    stream,
    times,
    voices,
)
from tritone.gateway.access import Access, BodyLimit, BodySize
from tritone.gateway.gateway import Gateway
from tritone.gateway.keys import KeyFile
from tritone.gateway.settings import GatewaySettings

ROUTERS = (
    speech.router,
    times.router,
    stream.router,
    realtime.router,
    catalogue.router,
    voices.router,
    health.router,
    page_files.router,
)


def create_app(settings: GatewaySettings, clock: Callable[[], float] = time.monotonic) -> FastAPI:
    """An ASGI application. Raises EnvironmentProblem for a key file that cannot be read."""
    keys = KeyFile(settings.keys) if settings.keys else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        gateway = app.state.gateway = Gateway(settings)
        warming = asyncio.create_task(gateway.backends.warm())
        try:
            yield
        finally:
            warming.cancel()
            await asyncio.wait([warming])
            await gateway.close()

    app = FastAPI(
        title="Tritone",
        summary="Streaming text-to-speech, as OpenAI's clients ask for it",
        version="1",
        docs_url=None,  # both pages would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        middleware=_before_routes(settings, keys, clock),
    )
    errors.install(app)
    schema.install(app)
    for router in ROUTERS:
        app.include_router(router)
    return app


def _before_routes(
    settings: GatewaySettings, keys: KeyFile | None, clock: Callable[[], float]
) -> list[Middleware]:
    """What every request passes, in this order."""
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["X-Request-Id", "X-Tritone-Voice", "Retry-After"],
        ),
        Middleware(Access, keys, clock, settings.cors_origins),
        Middleware(
            BodyLimit,
            BodySize(settings.max_request_bytes, settings.body_seconds),
            {voices.PATH: voices.body_size(settings)},
        ),
    ]
