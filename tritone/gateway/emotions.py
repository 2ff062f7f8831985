"""Emotions in a request, as fields that are not OpenAI's.

Which emotions there are, and whether there are any, each model says itself.
"""

import base64
import binascii
from typing import Annotated, Protocol

from pydantic import AfterValidator, Field

from tritone.errors import InvalidRequest
from tritone.frontend.audio.decode import FIELD, Sound, decode
from tritone.gateway.errors import ApiError
from tritone.gateway.gateway import Gateway
from tritone.synthesis.limits import DEFAULT_LIMITS
from tritone_client import Emotion

KINDS = ("emotion_vector", "emotion_audio", "emotion_text")
"""Fields of which one says what it is."""

WEIGHT = "emotion_weight"
_MOST_SHARES = 64  # of any model
_LARGEST = DEFAULT_LIMITS.max_emotion


def _is_encoded(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:  # the latter of what is not ASCII
        raise ValueError(f"no base64 of a sound file ({error})") from error
    return text


_Share = Annotated[float, Field(ge=0, le=_LARGEST, strict=True)]
_Shares = Annotated[list[_Share], Field(min_length=1, max_length=_MOST_SHARES)]
_Base64 = Annotated[str, AfterValidator(_is_encoded)]

Vector = Annotated[
    _Shares | None,
    Field(description=f"a share of each of the model's emotions, 0 to {_LARGEST}, if it has any"),
]
Audio = Annotated[
    _Base64 | None, Field(description="or a recording that sounds so: a sound file in base64")
]
Weight = Annotated[
    float | None, Field(ge=0, le=1, strict=True, description="how much of it; 1 if none")
]


class _Fields(Protocol):
    """Of a request, each checked by itself."""

    emotion_vector: Vector
    emotion_audio: Audio
    emotion_text: str | None
    emotion_weight: Weight


def check_emotion(fields: _Fields) -> None:
    """Raise ValueError where several say what it is, or where none does and there is a weight."""
    first, *others = [name for name in KINDS if getattr(fields, name) is not None] or [""]
    if others:
        raise ValueError(f"{first}: cannot be combined with {others[0]}; send only one of them")
    if not first and fields.emotion_weight is not None:
        raise ValueError(f"{WEIGHT}: needs {', '.join(KINDS[:-1])} or {KINDS[-1]}")


async def emotion_of(fields: _Fields, gateway: Gateway) -> Emotion | None:
    """None where a request has none. Raises ApiError for a recording that cannot be read."""
    weight = fields.emotion_weight
    if fields.emotion_audio is not None:
        sound = await gateway.in_encoder(_decoded, fields.emotion_audio)
        return Emotion(wav=sound.wav, rate=sound.rate, weight=weight)
    if fields.emotion_vector is not None:
        return Emotion(vector=fields.emotion_vector, weight=weight)
    if fields.emotion_text is not None:
        return Emotion(text=fields.emotion_text, weight=weight)
    return None


def _decoded(audio: str) -> Sound:
    try:
        return decode(base64.b64decode(audio))
    except InvalidRequest as error:
        problem = f"emotion_audio:{str(error).removeprefix(f'{FIELD}:')}"
        raise ApiError(400, "invalid_value", problem, param="emotion_audio") from error
