"""What clients of OpenAI's Realtime API may send here, in both of its dialects.

What is null or an empty list says nothing, in whatever field; any other value of a field that is
not here is refused.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tritone.gateway.emotions import KINDS, WEIGHT, Audio, Vector, Weight
from tritone.gateway.errors import ApiError, invalid
from tritone.gateway.formats import OPENAI_PCM_RATE
from tritone.gateway.speech import SpeechOptions, Text, VoiceId
from tritone.synthesis.limits import MAX_SEED

_Modalities = list[Literal["audio", "text"]] | None


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_nothing(cls, content: Any) -> Any:
        return _said(content)


class _Format(_Order):
    type: Literal["audio/pcm"]
    rate: Annotated[int, Field(ge=OPENAI_PCM_RATE, le=OPENAI_PCM_RATE)] = OPENAI_PCM_RATE


class _Output(_Order):
    format: _Format | None = None
    voice: Text | VoiceId | None = None
    speed: float | None = None


class _Audio(_Order):
    output: _Output | None = None


class Speaking(_Order):
    """How to speak: of a session, or of one response. The fields of the beta, and `audio` of what
    came after it; seed and the emotion are not OpenAI's."""

    instructions: Text | None = None
    modalities: _Modalities = None
    output_modalities: _Modalities = None
    voice: Text | VoiceId | None = None
    output_audio_format: Literal["pcm16"] | None = None
    speed: float | None = None
    audio: _Audio | None = None
    seed: Annotated[int | None, Field(ge=0, le=MAX_SEED, strict=True)] = None
    emotion_vector: Vector = None
    emotion_audio: Audio = None
    emotion_text: Text | None = None
    emotion_weight: Weight = None

    @field_validator("modalities", "output_modalities")
    @classmethod
    def _with_audio(cls, modalities: _Modalities) -> _Modalities:
        if modalities and "audio" not in modalities:
            raise ValueError("audio must be among them; this server speaks")
        return modalities

    def options(self) -> dict[str, Any]:
        """Those of SpeechOptions that it says something about."""
        output = (self.audio and self.audio.output) or _Output()
        found = {
            "instructions": self.instructions,
            "voice": output.voice if self.voice is None else self.voice,
            "speed": output.speed if self.speed is None else self.speed,
            "seed": self.seed,
            **{name: getattr(self, name) for name in (*KINDS, WEIGHT)},
        }
        return {name: value for name, value in found.items() if value is not None}

    def over(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """Its options, and those chosen before that it says nothing about. An emotion takes the
        place of all that was said of one."""
        own = self.options()
        left_out = {*KINDS, WEIGHT} if any(kind in own for kind in KINDS) else set()
        return {**{name: chosen[name] for name in chosen.keys() - left_out}, **own}


class Session(Speaking):
    """model: only that of the connection."""

    type: Literal["realtime"] = "realtime"
    model: Text | None = None


class _Content(_Order):
    type: Literal["input_text", "output_text", "text"]
    text: Text = ""


class Item(_Order):
    """A message: its text is what will be spoken."""

    id: Annotated[Text | None, Field(max_length=100)] = None
    object: Literal["realtime.item"] | None = None
    type: Literal["message"]
    status: Literal["completed", "incomplete", "in_progress"] | None = None
    role: Literal["user", "assistant"]
    content: list[_Content] = Field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.content)


class Response(Speaking):
    """input: what is spoken, in place of the items of the conversation."""

    conversation: Literal["auto", "none"] = "auto"
    metadata: dict[Text, Text] | None = None
    input: list[Item] | None = None


class _Event(_Order):
    event_id: Text | None = None
    type: Text


class SessionUpdate(_Event):
    session: Session


class ItemCreate(_Event):
    item: Item


class ResponseCreate(_Event):
    response: Response = Field(default_factory=Response)


class ResponseCancel(_Event):
    response_id: Text | None = None


AnyOrder = SessionUpdate | ItemCreate | ResponseCreate | ResponseCancel

EVENTS: dict[str, type[AnyOrder]] = {
    "session.update": SessionUpdate,
    "conversation.item.create": ItemCreate,
    "response.create": ResponseCreate,
    "response.cancel": ResponseCancel,
}
_INNER = ("session", "item", "response")


def order_of(content: dict[str, Any]) -> AnyOrder:
    """Raises ApiError."""
    kind = content["type"]
    if kind not in EVENTS:
        known = ", ".join(EVENTS)
        problem = f"type: is {kind[:60]!r}, which is not supported here; supported are {known}"
        raise ApiError(400, "invalid_value", problem, param="type")
    try:
        return EVENTS[kind].model_validate(content)
    except RecursionError:
        raise ApiError(400, "invalid_value", "an event is nested too deeply") from None
    except ValidationError as error:
        found: list[Any] = list(error.errors())
        inner = found[0]["loc"][0] if len(found[0]["loc"]) > 1 else None
        if inner not in _INNER:
            raise invalid(found, "an event") from None
        shown = [{**found[0], "loc": found[0]["loc"][1:]}]
        raise invalid(shown, "an event", f"{inner}.") from None


def options_of(model: str, chosen: dict[str, Any]) -> SpeechOptions:
    """Raises ApiError for a speed that no speech has."""
    pcm = {"response_format": "pcm", "sample_rate": OPENAI_PCM_RATE}
    try:
        return SpeechOptions.model_validate({"model": model, **pcm, **chosen})
    except ValidationError as error:
        raise invalid(error.errors(), "an event") from None


def _said(content: Any) -> Any:
    """Without what says nothing."""
    if not isinstance(content, dict):
        return content
    inner = {name: _said(value) for name, value in content.items()}
    return {name: value for name, value in inner.items() if value not in (None, [], {})}
