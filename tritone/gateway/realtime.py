"""GET /v1/realtime: as much of OpenAI's Realtime API as speech needs.

There is no language model behind it: a response speaks the text of the items.
"""

import base64
import uuid
from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, WebSocket

from tritone.gateway.access import caller_of
from tritone.gateway.backends import ALIASES
from tritone.gateway.conversation import Conversation
from tritone.gateway.delivery import Speech
from tritone.gateway.errors import ApiError
from tritone.gateway.gateway import Gateway
from tritone.gateway.limits import Caller
from tritone.gateway.live import Text
from tritone.gateway.realtime_events import Answer, Dialect, Event, failure
from tritone.gateway.realtime_orders import (
    AnyOrder,
    Item,
    ItemCreate,
    Response,
    ResponseCancel,
    ResponseCreate,
    Session,
    SessionUpdate,
    options_of,
    order_of,
)
from tritone.gateway.segments import Segment
from tritone.gateway.sockets import Socket, accepted, place
from tritone.gateway.spoken import Progress

router = APIRouter()

REALTIME_ALIASES = ("gpt-realtime", "gpt-realtime-mini", "gpt-4o-realtime-preview")
"""OpenAI's names of models that speak here; they stand for the first server."""

_BETA = "realtime=v1"
_BETA_PROTOCOL = "openai-beta.realtime-v1"  # how pages say it, which cannot send headers


class _Told:
    """Tells the caller of one response."""

    def __init__(self, socket: Socket, answer: Answer) -> None:
        self._socket, self.answer, self._begun = socket, answer, False

    async def started(self, speech: Speech) -> None:
        await self._begin()

    async def sound(self, data: bytes) -> None:
        await _tell(self._socket, [self.answer.sounds(base64.b64encode(data).decode())])

    async def segment(self, segment: Segment) -> None:
        await _tell(self._socket, [self.answer.says(segment.text)])

    async def done(self, progress: Progress) -> None:
        await _tell(self._socket, self.answer.ends("completed", None, progress))

    async def cancelled(self, progress: Progress) -> None:
        if not self._begun:
            await self._begin()
        reason = {"type": "cancelled", "reason": "client_cancelled"}
        await _tell(self._socket, self.answer.ends("cancelled", reason, progress))

    async def failed(self, error: ApiError, progress: Progress) -> None:
        await _tell(self._socket, [{"type": "error", "error": error.body["error"]}])
        if self._begun:
            await _tell(self._socket, self.answer.ends("failed", failure(error), progress))

    async def _begin(self) -> None:
        self._begun = True
        await _tell(self._socket, self.answer.begins())


async def _tell(socket: Socket, events: Iterable[Event]) -> None:
    for event in events:
        await socket.tell(event_id=_name("event"), **event)


class _Realtime(Conversation):
    """A session. Items wait for the response that speaks them."""

    def __init__(
        self, gateway: Gateway, caller: Caller, socket: Socket, model: str, dialect: Dialect
    ) -> None:
        super().__init__(gateway, caller, socket)
        self._model, self._dialect, self._name = model, dialect, _name("sess")
        self._chosen: dict[str, Any] = {}
        self._waiting: list[str] = []
        self._last_item: str | None = None
        self._told: _Told | None = None

    async def greet(self) -> None:
        if not self._model:
            problem = "model: is missing in the query of the address"
            raise ApiError(400, "invalid_value", problem, param="model")
        await self.gateway.backends.choose(self._backend_model)
        await self._tell_session("session.created")

    async def refuse(self, error: ApiError, content: dict[str, Any]) -> None:
        event = content.get("event_id")
        named = {"event_id": event if isinstance(event, str) else None}
        await _tell(self.socket, [{"type": "error", "error": {**error.body["error"], **named}}])

    async def take(self, content: dict[str, Any]) -> None:
        order: AnyOrder = order_of(content)
        if isinstance(order, SessionUpdate):
            await self._update(order.session)
        elif isinstance(order, ItemCreate):
            await self._add(order.item)
        elif isinstance(order, ResponseCreate):
            self._respond(order.response)
        else:
            self._cancel(order)

    @property
    def _backend_model(self) -> str:
        return ALIASES[0] if self._model in REALTIME_ALIASES else self._model

    async def _update(self, session: Session) -> None:
        if session.model not in (None, self._model):
            problem = f"session.model: is {session.model[:60]!r}; that of a connection stays"
            raise ApiError(400, "invalid_value", problem, param="session.model")
        chosen = session.over(self._chosen)
        options_of(self._backend_model, chosen)
        self._chosen = chosen
        await self._tell_session("session.updated")

    async def _add(self, item: Item) -> None:
        size, most = sum(map(len, self._waiting)), self.gateway.settings.max_request_bytes
        if size + len(item.text) > most:
            problem = f"item: {size + len(item.text)} characters would wait; the limit is {most}"
            raise ApiError(413, "request_too_large", problem, param="item")
        if item.text:
            self._waiting.append(item.text)
        said = item.model_dump(exclude_none=True) | {"id": item.id or _name("item")}
        said |= {"object": "realtime.item", "status": "completed"}
        before, self._last_item = self._last_item, said["id"]
        await _tell(self.socket, self._dialect.item_is_there(said, before))

    def _respond(self, response: Response) -> None:
        if not self.may_begin:
            problem = "type: is 'response.create'; a response is being spoken, wait or cancel it"
            raise ApiError(400, "invalid_value", problem, param="type")
        given = response.input is not None
        parts = [item.text for item in response.input or ()] if given else self._waiting
        text = "\n".join(parts)
        if not text:
            problem = "response: there is no item whose text could be spoken"
            raise ApiError(400, "nothing_to_say", problem, param="response")
        options = options_of(self._backend_model, response.over(self._chosen))
        item = _name("item")
        answer = Answer(self._dialect, _name("resp"), item, self._last_item, response.metadata)
        told = _Told(self.socket, answer)
        self.begin(options, Text(text, whole=True), told)
        self._told, self._last_item = told, item
        if not given:
            self._waiting = []

    def _cancel(self, cancel: ResponseCancel) -> None:
        if self.speech is None or self._told is None:
            problem = "type: is 'response.cancel'; nothing is being spoken"
            raise ApiError(400, "invalid_value", problem, param="type")
        name = self._told.answer.name
        if cancel.response_id not in (None, name):
            problem = f"response_id: is {cancel.response_id[:60]!r}; {name} is being spoken"
            raise ApiError(400, "invalid_value", problem, param="response_id")
        self.speech.cancel()

    async def _tell_session(self, kind: str) -> None:
        session = self._dialect.session(self._name, self._model, self._chosen)
        await _tell(self.socket, [{"type": kind, "session": session}])


def _name(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex}"


@router.websocket("/v1/realtime")
async def realtime(websocket: WebSocket) -> None:
    """Speak items, as clients of OpenAI's Realtime API ask for it."""
    with place(websocket) as gateway:
        socket = await accepted(websocket, gateway)
        offered = websocket.scope.get("subprotocols", [])
        beta = _BETA in websocket.headers.get("openai-beta", "") or _BETA_PROTOCOL in offered
        model = websocket.query_params.get("model", "")
        caller, dialect = caller_of(websocket), Dialect(beta)
        await _Realtime(gateway, caller, socket, model, dialect).hold()
