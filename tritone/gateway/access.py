"""Who is let in: API keys and the size of requests, before anything of a request is read."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tritone.gateway.errors import ApiError
from tritone.gateway.keys import KeyFile, KeyRecord
from tritone.gateway.limits import Caller

PROTECTED = ("/v1/", "/metrics")
_COUNTED = "/v1/"  # against a key's requests a minute

KEY_PROTOCOL = "openai-insecure-api-key."
"""Before a key among the subprotocols of a WebSocket: pages cannot send headers with one."""


class Access:
    """Middleware: a request to PROTECTED needs a key of the file; None asks nobody for one.

    origins: of pages that may open WebSockets, "*" means all; with keys, none means all too.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: KeyFile | None,
        clock: Callable[[], float] = time.monotonic,
        origins: Sequence[str] = (),
    ) -> None:
        self._app, self._keys, self._clock, self._origins = app, keys, clock, origins
        self._anybody = Caller()
        self._callers: dict[KeyRecord, Caller] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] not in ("http", "websocket") or not path.startswith(PROTECTED):
            await self._app(scope, receive, send)
            return
        try:
            if scope["type"] == "websocket":
                self._check_origin(Headers(scope=scope).get("origin"))
            caller = self._caller(_key_in(scope))
            if path.startswith(_COUNTED):
                caller.rate.take()
        except ApiError as refusal:
            await refusal.response()(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)

    def _check_origin(self, origin: str | None) -> None:
        """Browsers let every page open a WebSocket to everywhere, and leave it to the server to say
        no: else any page could speak through a gateway on its reader's machine."""
        if origin is None or origin in self._origins or "*" in self._origins:
            return
        if self._keys is None or self._origins:
            raise ApiError(
                403,
                "origin_not_allowed",
                f"pages of {origin[:100]!r} may not use this gateway; it takes --cors-origin",
            )

    def _caller(self, key: str) -> Caller:
        if self._keys is None:
            return self._anybody
        if not key:
            raise ApiError(
                401, "invalid_api_key", "no API key; send the header Authorization: Bearer KEY"
            )
        record = self._keys.match(key)
        if record is None:
            raise ApiError(401, "invalid_api_key", "this API key is not known here")
        caller = self._callers.get(record)
        if caller is None:
            self._forget_others(record)
            caller = Caller(
                record.name,
                record.requests_per_minute,
                record.streams,
                self._clock,
                record.voices,
            )
            self._callers[record] = caller
        return caller

    def _forget_others(self, record: KeyRecord) -> None:
        """Records of the same key from before the file was changed."""
        for old in [old for old in self._callers if old.id == record.id]:
            del self._callers[old]


def _key_in(scope: Scope) -> str:
    """Empty where there is none."""
    kind, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and key.strip():
        return key.strip()
    protocols: list[str] = scope.get("subprotocols", [])
    named = (name for name in protocols if name.startswith(KEY_PROTOCOL))
    return next(named, "").removeprefix(KEY_PROTOCOL)


def caller_of(request: HTTPConnection) -> Caller:
    """Whom the middleware has let in."""
    return cast(Caller, request.state.caller)


@dataclass(frozen=True)
class BodySize:
    """most_bytes: of a body. seconds: for all of it to arrive."""

    most_bytes: int
    seconds: float


class BodyLimit:
    """Middleware: what a body may be; others: of requests to these paths."""

    def __init__(self, app: ASGIApp, usual: BodySize, others: Mapping[str, BodySize]) -> None:
        self._app, self._usual, self._others = app, usual, others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._others.get(scope["path"], self._usual)
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length) > limit.most_bytes:
            await _too_large(length, limit).response()(scope, receive, send)
            return
        await self._app(scope, _counted(receive, limit), send)


def _counted(receive: Receive, limit: BodySize) -> Receive:
    """No more of a body than it may be: an ApiError in place of what is too much or too late."""
    arrived, complete = 0, False
    loop = asyncio.get_running_loop()
    due = loop.time() + limit.seconds

    async def counted() -> Message:
        nonlocal arrived, complete
        if complete:  # what comes now is that the caller has gone
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), due - loop.time())
        except asyncio.TimeoutError:
            raise ApiError(
                408, "request_timeout", f"the body has not arrived within {limit.seconds:g} s"
            ) from None
        arrived += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if arrived > limit.most_bytes:
            raise _too_large(str(arrived), limit)
        return message

    return counted


def _too_large(size: str, limit: BodySize) -> ApiError:
    return ApiError(
        413, "request_too_large", f"the body has {size} bytes; the limit is {limit.most_bytes}"
    )
