"""GET /v1/audio/stream: a WebSocket that speaks a text while it is being written."""

import asyncio
import base64
import uuid
from collections.abc import Collection
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, WebSocket
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tritone.gateway.access import caller_of
from tritone.gateway.delivery import Speech
from tritone.gateway.errors import ApiError, invalid
from tritone.gateway.gateway import Gateway
from tritone.gateway.limits import Caller
from tritone.gateway.live import LiveSpeech, Text
from tritone.gateway.sockets import CallerGone, Socket, accepted, content_of, place
from tritone.gateway.speech import FormatName, SpeechOptions
from tritone.gateway.speech import Text as Sayable
from tritone.gateway.spoken import Progress, Segment
from tritone_client import FLUSH

router = APIRouter()


class Start(SpeechOptions):
    """Begins an utterance. input: the whole text, if it is known already."""

    type: Literal["start"]
    response_format: FormatName = "pcm"
    input: Sayable | None = None
    audio: Literal["binary", "base64"] = "binary"
    flush_after: Annotated[float | None, Field(ge=0.001, le=60, strict=True)] = None


class Piece(BaseModel):
    """More of its text."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]
    text: Sayable


class Order(BaseModel):
    """What needs nothing else."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["flush", "end", "cancel"]


_MESSAGES: dict[str, type[Start | Piece | Order]] = {
    "start": Start,
    "text": Piece,
    **dict.fromkeys(("flush", "end", "cancel"), Order),
}


def message_of(content: dict[str, Any]) -> Start | Piece | Order:
    """Raises ApiError."""
    kind = content["type"]
    if kind not in _MESSAGES:
        known = ", ".join(_MESSAGES)
        problem = f"type: is {kind[:60]!r}; it must be one of {known}"
        raise ApiError(400, "invalid_value", problem, param="type")
    try:
        return _MESSAGES[kind].model_validate(content)
    except ValidationError as error:
        raise invalid(error.errors(), "a message") from None


class _Told:
    """Tells the caller of one utterance."""

    def __init__(self, socket: Socket, name: str, *, as_text: bool) -> None:
        self._socket, self._name, self._as_text = socket, name, as_text

    async def started(self, speech: Speech) -> None:
        form = {"response_format": speech.form.name, "sample_rate": speech.rate, "channels": 1}
        await self._tell("started", request_id=speech.id, **form)

    async def sound(self, data: bytes) -> None:
        if self._as_text:
            await self._tell("audio", audio=base64.b64encode(data).decode())
        else:
            await self._socket.sound(data)

    async def segment(self, segment: Segment) -> None:
        await self._tell("segment", text=segment.text, samples=segment.samples)

    async def done(self, progress: Progress) -> None:
        await self._tell("done", samples=progress.samples, usage=progress.usage)

    async def cancelled(self, progress: Progress) -> None:
        more = progress.under_way
        under_way = more and {"text": more[0], "sample": more[1]}
        text = [0, progress.text_end]
        await self._tell("cancelled", samples=progress.samples, text=text, under_way=under_way)

    async def failed(self, error: ApiError, progress: Progress) -> None:
        await self._tell("error", samples=progress.samples, **error.body)

    async def _tell(self, kind: str, **content: Any) -> None:
        await self._socket.tell(type=kind, id=self._name, **content)


class _Conversation:
    """One connection: one utterance after the other."""

    def __init__(self, gateway: Gateway, caller: Caller, socket: Socket) -> None:
        self._gateway, self._caller, self._socket = gateway, caller, socket
        self._speech: LiveSpeech | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._counted = True  # the first utterance is, with the connection

    @property
    def busy(self) -> bool:
        return self._speech is not None and not self._speech.over

    async def go_on(self) -> None:
        """Until the caller goes. Raises CallerGone, and ApiError for one who is silent too long."""
        try:
            async for message in self._socket.messages(lambda: self.busy):
                try:
                    self._take(message_of(content_of(message)))
                except ApiError as error:
                    await self._socket.tell(type="error", id=None, **error.body)
        finally:
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    def _take(self, message: Start | Piece | Order) -> None:
        """Raises ApiError."""
        if isinstance(message, Start):
            self._start(message)
            return
        if not self.busy or self._speech is None:
            if message.type == "cancel":  # it may have ended meanwhile
                problem = "type: is 'cancel'; nothing is being spoken"
            else:
                problem = f"type: is {message.type!r}; there is no utterance, send start first"
            raise ApiError(400, "invalid_value", problem, param="type")
        if isinstance(message, Piece):
            self._speech.say(message.text)
        elif message.type == "flush":
            self._speech.say(FLUSH)
        elif message.type == "end":
            self._speech.end()
        else:
            self._speech.cancel()

    def _start(self, start: Start) -> None:
        if self.busy:
            problem = "type: is 'start'; an utterance is being spoken, wait for its done or cancel"
            raise ApiError(400, "invalid_value", problem, param="type")
        if not self._counted:
            self._caller.rate.take()
        self._counted = False
        text = Text(start.input or "", start.input is not None, start.flush_after)
        name = f"utt_{uuid.uuid4().hex}"
        told = _Told(self._socket, name, as_text=start.audio == "base64")
        self._speech = LiveSpeech(self._gateway, self._caller, start, text, told)
        task = asyncio.create_task(_run(self._speech, frozenset(self._tasks)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _run(speech: LiveSpeech, before: Collection[asyncio.Task[None]]) -> None:
    """Speak, once the one before has told how it ended."""
    if before:
        await asyncio.wait(before)
    with suppress(CallerGone):  # whoever reads the messages learns of it from the socket
        await speech.run()


@router.websocket("/v1/audio/stream")
async def stream(websocket: WebSocket) -> None:
    """Speak texts while they are being written."""
    with place(websocket) as gateway:
        socket = await accepted(websocket, gateway)
        conversation = _Conversation(gateway, caller_of(websocket), socket)
        try:
            await conversation.go_on()
        except CallerGone:
            return
        except ApiError as error:
            await _farewell(socket, error)


async def _farewell(socket: Socket, error: ApiError) -> None:
    try:
        await socket.tell(type="error", id=None, **error.body)
        await socket.close(error)
    except CallerGone:
        return
