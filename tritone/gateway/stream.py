"""GET /v1/audio/stream: a WebSocket that speaks a text while it is being written."""

import base64
import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, WebSocket
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tritone.gateway.access import caller_of
from tritone.gateway.conversation import Conversation
from tritone.gateway.delivery import Speech
from tritone.gateway.errors import ApiError, invalid
from tritone.gateway.live import Text
from tritone.gateway.segments import Segment
from tritone.gateway.sockets import Socket, accepted, place
from tritone.gateway.speech import FormatName, SpeechOptions
from tritone.gateway.speech import Text as Sayable
from tritone.gateway.spoken import Progress
from tritone_client import FLUSH

router = APIRouter()


class Start(SpeechOptions):
    """Begins an utterance. input: the whole text, if it is known already."""

    type: Literal["start"]
    response_format: FormatName = "pcm"
    input: Sayable | None = None
    audio: Literal["binary", "base64"] = "binary"
    flush_after: Annotated[float | None, Field(ge=0.001, le=60, strict=True)] = None
    text_mode: Literal["sentences", "interleaved", "auto"] = "sentences"


class Piece(BaseModel):
    """More of its text."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]
    text: Sayable


class Order(BaseModel):
    """What needs nothing else."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["flush", "end", "cancel"]


MESSAGES: dict[str, type[Start | Piece | Order]] = {
    "start": Start,
    "text": Piece,
    **dict.fromkeys(("flush", "end", "cancel"), Order),
}


def message_of(content: dict[str, Any]) -> Start | Piece | Order:
    """Raises ApiError."""
    kind = content["type"]
    if kind not in MESSAGES:
        known = ", ".join(MESSAGES)
        problem = f"type: is {kind[:60]!r}; it must be one of {known}"
        raise ApiError(400, "invalid_value", problem, param="type")
    try:
        return MESSAGES[kind].model_validate(content)
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
        await self._tell("segment", text=segment.text_span, samples=segment.samples)

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


class _Stream(Conversation):
    """Utterances, each from its start to its done."""

    async def greet(self) -> None:
        """The caller begins."""

    async def refuse(self, error: ApiError, content: dict[str, Any]) -> None:
        await self.socket.tell(type="error", id=None, **error.body)

    async def take(self, content: dict[str, Any]) -> None:
        message, speech = message_of(content), self.speech
        if isinstance(message, Start):
            self._start(message)
        elif speech is None:
            problem = f"type: is {message.type!r}; there is no utterance, send start first"
            raise ApiError(400, "invalid_value", problem, param="type")
        elif isinstance(message, Piece):
            speech.say(message.text)
        elif message.type == "flush":
            speech.say(FLUSH)
        elif message.type == "end":
            speech.end()
        else:
            speech.cancel()

    def _start(self, start: Start) -> None:
        if not self.may_begin:
            problem = "type: is 'start'; an utterance is being spoken, wait for its done or cancel"
            raise ApiError(400, "invalid_value", problem, param="type")
        text = Text(start.input or "", start.input is not None, start.flush_after, start.text_mode)
        name = f"utt_{uuid.uuid4().hex}"
        self.begin(start, text, _Told(self.socket, name, as_text=start.audio == "base64"))


@router.websocket("/v1/audio/stream")
async def stream(websocket: WebSocket) -> None:
    """Speak texts while they are being written."""
    with place(websocket) as gateway:
        socket = await accepted(websocket, gateway)
        await _Stream(gateway, caller_of(websocket), socket).hold()
