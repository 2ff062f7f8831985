"""GET /v1/models and /v1/audio/voices: what the servers have."""

import asyncio

from fastapi import APIRouter, Request
from pydantic import BaseModel

from tritone.gateway.backends import ALIASES, Backend
from tritone.gateway.errors import ErrorBody
from tritone.gateway.gateway import gateway_of

router = APIRouter(
    responses={status: {"model": ErrorBody} for status in (400, 401, 404, 429, 500, 503)}
)


class ModelCard(BaseModel):
    """created: when this gateway was started, in Unix time. emotions: names of those that the model
    can be asked for, in the order of emotion_vector; not OpenAI's."""

    id: str
    object: str = "model"
    created: int
    owned_by: str = "tritone"
    emotions: list[str] = []


class ModelList(BaseModel):
    object: str = "list"
    data: list[ModelCard]


class VoiceCard(BaseModel):
    """model: that has this voice."""

    id: str
    name: str
    model: str


class VoiceList(BaseModel):
    voices: list[VoiceCard]


@router.get("/v1/models")
async def models(request: Request) -> ModelList:
    """The models of the servers that answer, and OpenAI's names, which stand for the first one."""
    gateway = gateway_of(request)
    backends = gateway.backends.all
    asked = asyncio.gather(*(backend.emotions() for backend in backends))
    names, emotions = await asyncio.gather(gateway.backends.names(), asked)
    found = [(name, own) for name, own in zip(names, emotions, strict=True) if name]
    found += [(alias, emotions[0]) for alias in ALIASES]
    cards = [ModelCard(id=name, created=gateway.started, emotions=own) for name, own in found]
    return ModelList(data=cards)


@router.get("/v1/models/{model}")
async def model(model: str, request: Request) -> ModelCard:
    """One of them."""
    gateway = gateway_of(request)
    backend = await gateway.backends.choose(model)
    emotions = await backend.emotions()
    return ModelCard(id=model, created=gateway.started, emotions=emotions)


@router.get("/v1/audio/voices")
async def voices(request: Request, model: str | None = None) -> VoiceList:
    """The registered voices of one model, or of all."""
    backends = gateway_of(request).backends
    asked = backends.all if model is None else [await backends.choose(model)]
    found = await asyncio.gather(*(_voices(backend) for backend in asked))
    return VoiceList(voices=[card for cards in found for card in cards])


async def _voices(backend: Backend) -> list[VoiceCard]:
    """Raises SpeechError for a server that does not answer."""
    name = await backend.name()
    return [VoiceCard(id=voice, name=voice, model=name) for voice in await backend.voices()]
