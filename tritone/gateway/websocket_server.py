"""uvicorn's WebSockets, ended for good.

uvicorn closes a connection when the application has ended, but lets what is still unsent leave
first; of a caller who reads nothing that is for ever.
"""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

LINGER_SECONDS = 15.0  # above the 10 s that uvicorn waits for the other side's close


class EndingWebSocket(WebSocketsSansIOProtocol):
    """Broken off if it has not closed LINGER_SECONDS after the application's end."""

    async def run_asgi(self) -> None:
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(LINGER_SECONDS, self.transport.abort)
