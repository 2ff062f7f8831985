"""POST /v1/audio/speech/times: when each part of a text is heard, as JSON or as subtitles."""

import base64
from collections.abc import Callable
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from tritone.arrays import Float32
from tritone.gateway.access import caller_of
from tritone.gateway.account import one_stream
from tritone.gateway.delivery import Speech
from tritone.gateway.errors import ApiError, from_server
from tritone.gateway.gateway import Gateway, gateway_of
from tritone.gateway.presence import NOBODY_STATUS, CallerGone, unless_gone
from tritone.gateway.speech import REFUSALS, SpeechRequest
from tritone.gateway.subtitles import SRT_TYPE, VTT_TYPE, srt, vtt
from tritone_client import SpeechError

router = APIRouter()

MOST_AUDIO_BYTES = 32 << 20
"""Of encoded sound in an answer that is made whole before it is sent."""

_CONTENT = {
    "application/json": {"schema": {"type": "object"}},
    SRT_TYPE.partition(";")[0]: {"schema": {"type": "string"}},
    VTT_TYPE.partition(";")[0]: {"schema": {"type": "string"}},
}


class TimesRequest(SpeechRequest):
    """A speech, of which the times are wanted; `stream_format` can be audio only."""

    format: Annotated[
        Literal["json", "srt", "vtt"], Field(description="srt and vtt are subtitles, without sound")
    ] = "json"
    include_audio: Annotated[
        bool, Field(description="the sound too, as base64 in the JSON", strict=True)
    ] = False

    def check_times(self) -> None:
        if self.stream_format != "audio":
            raise ValueError("stream_format: is sse; times come whole, so it must be audio")
        if self.include_audio and self.format != "json":
            raise ValueError(f"include_audio: {self.format} has no place for sound; take json")


class _Told:
    """What became of a speech: its sound, if that is wanted, and its segments."""

    def __init__(self, gateway: Gateway, speech: Speech, with_audio: bool) -> None:
        self._gateway, self._speech, self._with_audio = gateway, speech, with_audio
        self.audio, self.progress = bytearray(), speech.progress()

    async def hear(self) -> None:
        """All of it. Raises ApiError."""
        speech, gateway, encoder = self._speech, self._gateway, None
        seconds = gateway.metrics.audio.labels(speech.form.name)
        packets = speech.backend.client.packets(
            speech.utterance,
            timeout=gateway.settings.utterance_seconds,
            request_id=speech.id,
            timing=True,
        )
        try:
            if self._with_audio:
                encoder = speech.form.encoder(speech.source_rate, speech.rate)
            async with aclosing(packets):
                async for packet in packets:
                    seconds.inc(len(packet.samples) / speech.source_rate)
                    self.progress.advance(len(packet.samples), packet.timing)
                    if encoder:
                        await self._keep(encoder.encode, packet.samples)
            if encoder:
                await self._keep(encoder.finish)
        except SpeechError as error:
            raise from_server(error) from error
        finally:
            if encoder:
                encoder.close()

    async def _keep(self, encode: Callable[..., bytes], *samples: Float32) -> None:
        self.audio += await self._gateway.in_encoder(encode, *samples)
        if len(self.audio) > MOST_AUDIO_BYTES:
            raise ApiError(
                400,
                "invalid_value",
                f"include_audio: the sound has more than {MOST_AUDIO_BYTES} bytes; take mp3 or "
                "opus, or a shorter text",
                param="include_audio",
            )

    def content(self) -> dict[str, Any]:
        """For JSON."""
        speech, progress = self._speech, self.progress
        told: dict[str, Any] = {
            "sample_rate": speech.rate,
            "samples": progress.samples,
            "duration": round(progress.seconds, 3),
            "segments": [segment.content() for segment in progress.whole],
            "usage": progress.usage,
        }
        if self._with_audio:
            told |= {"audio": base64.b64encode(self.audio).decode(), "format": speech.form.name}
        return told


@router.post(
    "/v1/audio/speech/times",
    response_class=Response,
    responses={200: {"description": "Segments of the text", "content": _CONTENT}, **REFUSALS},
)
async def times(order: TimesRequest, request: Request) -> Response:
    """Speak a text and tell when each segment of it is heard. The same request with the same `seed`
    to /v1/audio/speech is the sound to it."""
    gateway = gateway_of(request)
    speech = await order.spoken(gateway)
    try:
        with one_stream(gateway, caller_of(request), order.format):
            told = _Told(gateway, speech, order.include_audio)
            await unless_gone(told.hear(), request.receive)
    except CallerGone:
        return Response(status_code=NOBODY_STATUS)
    if order.format == "json":
        return JSONResponse(told.content(), headers=speech.headers)
    text, kind = (srt, SRT_TYPE) if order.format == "srt" else (vtt, VTT_TYPE)
    return Response(text(told.progress.whole), media_type=kind, headers=speech.headers)
