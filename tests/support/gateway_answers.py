"""What a gateway's application answers, without a socket."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from tritone.gateway.app import create_app
from tritone.gateway.settings import GatewaySettings


def answers(
    settings: GatewaySettings, *requests: dict[str, Any], clock: Callable[[], float] | None = None
) -> list[httpx.Response]:
    """To these requests, one after the other."""
    app = create_app(settings, clock) if clock else create_app(settings)

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
        ):
            return [await client.request(**request) for request in requests]

    return asyncio.run(ask())
