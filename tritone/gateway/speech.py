"""POST /v1/audio/speech."""

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from starlette.responses import Response
from typing_extensions import Self

from tritone.acoustic.tempo import FASTEST, SLOWEST
from tritone.gateway.access import caller_of
from tritone.gateway.delivery import Delivery, Speech
from tritone.gateway.emotions import Audio, Vector, Weight, check_emotion, emotion_of
from tritone.gateway.errors import ErrorBody
from tritone.gateway.formats import FORMATS, HIGHEST_RATE, LOWEST_RATE
from tritone.gateway.gateway import Gateway, gateway_of
from tritone.gateway.voice_names import resolved
from tritone.synthesis.limits import MAX_SEED
from tritone_client import Emotion, Utterance

router = APIRouter()


def _sayable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"has half of a surrogate pair at {error.start}") from error
    return text


Text = Annotated[str, AfterValidator(_sayable)]
FormatName = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]


class VoiceId(BaseModel):
    """A voice as OpenAI's clients may name it, too."""

    model_config = ConfigDict(extra="forbid")

    id: Text


class SpeechOptions(BaseModel):
    """How to speak, however the text comes. `sample_rate`, `seed` and the emotion are not
    OpenAI's."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[Text, Field(description="one of /v1/models, or an alias of OpenAI's")]
    voice: Annotated[
        Text | VoiceId | None,
        Field(description="one of /v1/audio/voices, or OpenAI's; the server's own if none"),
    ] = None
    instructions: Annotated[
        Text | None, Field(description="how to speak, where models take it")
    ] = None
    response_format: FormatName = "mp3"
    speed: Annotated[float, Field(description=f"{SLOWEST} to {FASTEST}", strict=True)] = 1.0
    sample_rate: Annotated[
        int | None,
        Field(ge=LOWEST_RATE, le=HIGHEST_RATE, strict=True, description="Hz; the model's if none"),
    ] = None
    seed: Annotated[
        int | None,
        Field(ge=0, le=MAX_SEED, strict=True, description="the same seed gives the same speech"),
    ] = None
    emotion_vector: Vector = None
    emotion_audio: Audio = None
    emotion_text: Annotated[
        Text | None, Field(description="or words that the model reads it out of, without saying")
    ] = None
    emotion_weight: Weight = None

    @model_validator(mode="after")
    def _has_one_emotion(self) -> Self:
        check_emotion(self)
        return self

    @field_validator("speed")
    @classmethod
    def _can_speak_so(cls, speed: float) -> float:
        if not SLOWEST <= speed <= FASTEST:  # false for NaN too
            raise ValueError(f"the limits are {SLOWEST} and {FASTEST}")
        return speed

    @property
    def voice_name(self) -> str | None:
        return self.voice.id if isinstance(self.voice, VoiceId) else self.voice

    def utterance(self, text: str, voice: str | None, emotion: Emotion | None) -> Utterance:
        """As the client sends it; what has its default is left to the server. voice: an id."""
        return Utterance(
            text,
            voice=voice,
            instruct_text=self.instructions or None,
            speed=None if self.speed == 1 else self.speed,
            seed=self.seed,
            emotion=emotion,
        )

    async def speech(
        self,
        gateway: Gateway,
        text: str,
        *,
        as_events: bool = False,
        with_segments: bool = False,
        with_timing: bool = False,
    ) -> Speech:
        """By the server that is meant. Raises ApiError, and SpeechError where it must be asked and
        does not answer."""
        form = FORMATS[self.response_format]
        emotion = await emotion_of(self, gateway)
        backend = await gateway.backends.choose(self.model)
        source_rate = await backend.client.sample_rate()
        voice = await resolved(backend, self.voice_name, gateway.settings.voice_aliases)
        return Speech(
            backend=backend,
            utterance=self.utterance(text, voice, emotion),
            form=form,
            source_rate=source_rate,
            rate=form.rate(self.sample_rate, source_rate),
            as_events=as_events,
            with_segments=with_segments,
            with_timing=with_timing,
            id=f"req_{uuid.uuid4().hex}",
        )


class SpeechRequest(SpeechOptions):
    """What to say and how. `timing` and `timestamp_granularities` are not OpenAI's
    either."""

    input: Annotated[Text, Field(description="the text; the server says how long it may be")]
    stream_format: Literal["audio", "sse"] = "audio"
    timing: Annotated[
        bool, Field(strict=True, description="sse alone: events carry the server's timing record")
    ] = False
    timestamp_granularities: Annotated[
        list[Literal["segment", "word"]] | None,
        Field(max_length=2, description="segment: when each is heard, with stream_format sse"),
    ] = None

    @field_validator("timing")
    @classmethod
    def _has_a_place(cls, timing: bool, info: ValidationInfo) -> bool:
        if timing and info.data.get("stream_format") != "sse":
            raise ValueError("only events carry it; it needs stream_format 'sse'")
        return timing

    @field_validator("timestamp_granularities")
    @classmethod
    def _can_be_told(cls, asked: list[str] | None) -> list[str] | None:
        if asked and "word" in asked:
            raise ValueError("no model here tells the times of words; the only one is segment")
        return asked

    @model_validator(mode="after")
    def _has_room_for_times(self) -> Self:
        self.check_times()
        return self

    def check_times(self) -> None:
        """Raise ValueError where the answer has no place for them."""
        if self.timestamp_granularities and self.stream_format != "sse":
            raise ValueError(
                "timestamp_granularities: sound has no place for times; ask with stream_format "
                "sse, or POST /v1/audio/speech/times"
            )

    async def spoken(self, gateway: Gateway) -> Speech:
        """As `speech`, of all of the text."""
        return await self.speech(
            gateway,
            self.input,
            as_events=self.stream_format == "sse",
            with_segments=bool(self.timestamp_granularities),
            with_timing=self.timing,
        )


def _content() -> dict[str, Any]:
    """Of an answer, for the schema."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    kinds = {form.media_type.partition(";")[0]: binary for form in FORMATS.values()}
    return {**kinds, "text/event-stream": {"schema": {"type": "string"}}}


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody} for status in (400, 401, 404, 408, 413, 429, 500, 503, 504)
}


@router.post(
    "/v1/audio/speech",
    response_class=Response,
    responses={200: {"description": "Sound, as it is made", "content": _content()}, **REFUSALS},
)
async def speak(order: SpeechRequest, request: Request) -> Response:
    """Speak a text. The answer is sound or, with `stream_format` sse, events with pieces of it."""
    gateway = gateway_of(request)
    return Delivery(gateway, caller_of(request), await order.spoken(gateway))
