"""POST /v1/audio/speech."""

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from starlette.responses import Response

from tritone.acoustic.tempo import FASTEST, SLOWEST
from tritone.gateway.access import caller_of
from tritone.gateway.delivery import Delivery, Speech
from tritone.gateway.errors import ErrorBody
from tritone.gateway.formats import FORMATS, HIGHEST_RATE, LOWEST_RATE
from tritone.gateway.gateway import gateway_of
from tritone.synthesis.limits import MAX_SEED
from tritone_client import Utterance

router = APIRouter()


def _sayable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"has half of a surrogate pair at {error.start}") from error
    return text


Text = Annotated[str, AfterValidator(_sayable)]


class VoiceId(BaseModel):
    """A voice as OpenAI's clients may name it, too."""

    model_config = ConfigDict(extra="forbid")

    id: Text


class SpeechRequest(BaseModel):
    """What to say and how. All but `sample_rate`, `seed` and `timing` is OpenAI's."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[Text, Field(description="one of /v1/models, or an alias of OpenAI's")]
    input: Annotated[Text, Field(description="the text; the server says how long it may be")]
    voice: Annotated[
        Text | VoiceId | None,
        Field(description="one of /v1/audio/voices; the server's own if none"),
    ] = None
    instructions: Annotated[
        Text | None, Field(description="how to speak, where models take it")
    ] = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: Annotated[float, Field(description=f"{SLOWEST} to {FASTEST}", strict=True)] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"
    sample_rate: Annotated[
        int | None,
        Field(ge=LOWEST_RATE, le=HIGHEST_RATE, strict=True, description="Hz; the model's if none"),
    ] = None
    seed: Annotated[
        int | None,
        Field(ge=0, le=MAX_SEED, strict=True, description="the same seed gives the same speech"),
    ] = None

    timing: Annotated[
        bool, Field(strict=True, description="sse alone: events carry the server's timing record")
    ] = False

    @field_validator("speed")
    @classmethod
    def _can_speak_so(cls, speed: float) -> float:
        if not SLOWEST <= speed <= FASTEST:  # false for NaN too
            raise ValueError(f"the limits are {SLOWEST} and {FASTEST}")
        return speed

    @field_validator("timing")
    @classmethod
    def _has_a_place(cls, timing: bool, info: ValidationInfo) -> bool:
        if timing and info.data.get("stream_format") != "sse":
            raise ValueError("only events carry it; it needs stream_format 'sse'")
        return timing

    def utterance(self) -> Utterance:
        """As the client sends it; what has its default is left to the server."""
        return Utterance(
            self.input,
            voice=self.voice.id if isinstance(self.voice, VoiceId) else self.voice,
            instruct_text=self.instructions or None,
            speed=None if self.speed == 1 else self.speed,
            seed=self.seed,
        )


def _content() -> dict[str, Any]:
    """Of an answer, for the schema."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    kinds = {form.media_type.partition(";")[0]: binary for form in FORMATS.values()}
    return {**kinds, "text/event-stream": {"schema": {"type": "string"}}}


_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody} for status in (400, 401, 404, 408, 413, 429, 500, 503, 504)
}


@router.post(
    "/v1/audio/speech",
    response_class=Response,
    responses={200: {"description": "Sound, as it is made", "content": _content()}, **_REFUSALS},
)
async def speak(order: SpeechRequest, request: Request) -> Response:
    """Speak a text. The answer is sound or, with `stream_format` sse, events with pieces of it."""
    gateway = gateway_of(request)
    form = FORMATS[order.response_format]
    backend = await gateway.backends.choose(order.model)
    source_rate = await backend.client.sample_rate()
    speech = Speech(
        backend=backend,
        utterance=order.utterance(),
        form=form,
        source_rate=source_rate,
        rate=form.rate(order.sample_rate, source_rate),
        as_events=order.stream_format == "sse",
        with_timing=order.timing,
        id=f"req_{uuid.uuid4().hex}",
    )
    return Delivery(gateway, caller_of(request), speech)
