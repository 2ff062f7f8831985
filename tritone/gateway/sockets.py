"""A WebSocket: messages in, messages out, and its end.

It ends when the caller goes, when he takes nothing for too long, and when he says nothing for too
long while nothing is spoken.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from tritone.gateway.access import KEY_PROTOCOL, caller_of
from tritone.gateway.errors import ApiError
from tritone.gateway.gateway import Gateway, gateway_of
from tritone.gateway.presence import CallerGone, taken_within

_LOG = logging.getLogger(__name__)

_POLICY = 1008  # of the codes of RFC 6455: the caller does not keep to the rules
_NORMAL = 1000


class Socket:
    """One that was accepted. busy: whether something is spoken, so that silence is no idleness."""

    def __init__(self, websocket: WebSocket, stall_seconds: float, idle_seconds: float) -> None:
        self._websocket, self._stall, self._idle = websocket, stall_seconds, idle_seconds
        self._gone = asyncio.Event()

    async def messages(self, busy: Callable[[], bool]) -> AsyncGenerator[dict[str, Any], None]:
        """What comes, until the caller goes. Raises ApiError for one who is silent too long."""
        gone = asyncio.ensure_future(self._gone.wait())
        receiving = asyncio.ensure_future(self._websocket.receive())
        try:
            while True:
                await asyncio.wait(
                    (receiving, gone), timeout=self._idle, return_when=asyncio.FIRST_COMPLETED
                )
                if receiving.done():
                    message = receiving.result()
                    if message["type"] == "websocket.disconnect":
                        return
                    yield dict(message)
                    receiving = asyncio.ensure_future(self._websocket.receive())
                elif gone.done():
                    return
                elif not busy():
                    problem = f"nothing was said or asked for {self._idle:g} s"
                    raise ApiError(408, "request_timeout", problem)
        finally:
            for each in (gone, receiving):
                each.cancel()
            await asyncio.wait((gone, receiving))

    async def tell(self, **content: Any) -> None:
        """Raises CallerGone, as `sound` does."""
        await self._send(self._websocket.send_text(json.dumps(content)))

    async def sound(self, data: bytes) -> None:
        await self._send(self._websocket.send_bytes(data))

    async def close(self, error: ApiError | None = None) -> None:
        """error: for which, if the caller is to blame."""
        if not self._gone.is_set():
            code = _POLICY if error else _NORMAL
            await self._send(self._websocket.close(code, error.code if error else None))

    async def _send(self, sending: Coroutine[Any, Any, None]) -> None:
        try:
            await taken_within(self._stall, sending)
        except CallerGone:
            _LOG.warning("a caller takes nothing any more")
            self._gone.set()
            raise
        except (WebSocketDisconnect, RuntimeError):  # the latter of one that was closed before
            self._gone.set()
            raise CallerGone from None


@contextmanager
def place(websocket: WebSocket) -> Iterator[Gateway]:
    """One of those that its caller and the gateway have for WebSockets. Raises ApiError."""
    gateway = gateway_of(websocket)
    with (
        caller_of(websocket).sockets.one(),
        gateway.sockets.one(),
        gateway.metrics.sockets.track_inprogress(),
    ):
        yield gateway


async def accepted(websocket: WebSocket, gateway: Gateway) -> Socket:
    """The handshake; of the subprotocols that are offered it takes the first that is no key, as
    browsers want one of theirs to be taken."""
    offered = websocket.scope.get("subprotocols", [])
    named = [name for name in offered if not name.startswith(KEY_PROTOCOL)]
    await websocket.accept(subprotocol=next(iter([*named, *offered]), None))
    settings = gateway.settings
    return Socket(websocket, settings.stall_seconds, settings.idle_seconds)


def content_of(message: dict[str, Any]) -> dict[str, Any]:
    """The JSON object that a message has. Raises ApiError."""
    text = message.get("text")
    if text is None:
        raise ApiError(400, "invalid_value", "a message is binary; it must be text with JSON")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise ApiError(400, "invalid_value", "a message is no JSON") from None
    if not isinstance(content, dict) or not isinstance(content.get("type"), str):
        problem = "type: is missing; a message must be a JSON object with a type"
        raise ApiError(400, "invalid_value", problem, param="type")
    return content
