"""Whether the gateway lives, whether somebody would speak, and what it counts."""

import asyncio

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from tritone.gateway.gateway import gateway_of

router = APIRouter()


class BackendState(BaseModel):
    """model: null while the server has not answered yet."""

    model: str | None
    ready: bool


class Readiness(BaseModel):
    ready: bool
    backends: list[BackendState]


@router.get("/health/live")
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@router.get("/health/ready", response_model=Readiness, responses={503: {"model": Readiness}})
async def ready(request: Request) -> Response:
    """Each server is asked now; 200 while at least one would speak."""
    backends = gateway_of(request).backends.all
    states = await asyncio.gather(*(backend.speaks() for backend in backends))
    names = await asyncio.gather(*(backend.known() for backend in backends))
    told = [BackendState(model=n, ready=s) for n, s in zip(names, states, strict=True)]
    answer = Readiness(ready=any(states), backends=told)
    return JSONResponse(answer.model_dump(), 200 if answer.ready else 503)


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """In Prometheus' text format."""
    counted = gateway_of(request).metrics
    return Response(counted.page(), media_type=counted.content_type)
