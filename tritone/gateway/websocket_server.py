"""uvicorn's WebSockets, with little on its way to a slow reader, and ended for good.

What the kernel would take for one of them is a minute of sound, behind which the answer to a cancel
would wait. uvicorn closes a connection when the application has ended, but lets what is still
unsent leave first; of a caller who reads nothing that is for ever.
"""

import socket
from asyncio import BaseTransport

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

SEND_BUFFER = 1 << 16  # bytes; enough for 16-bit sound at 48 kHz over 0.6 s there and back
LINGER_SECONDS = 15.0  # above the 10 s that uvicorn waits for the other side's close


class EndingWebSocket(WebSocketsSansIOProtocol):
    """Broken off if it has not closed LINGER_SECONDS after the application's end."""

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)

    async def run_asgi(self) -> None:
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(LINGER_SECONDS, self.transport.abort)
