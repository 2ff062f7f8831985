"""One speech on its way: from the server, through an encoder, to the caller.

It owns the gRPC call, the encoder and the places it takes, and lets go of them however it ends:
when all is said, on an error, when the caller goes, when he takes nothing for too long.
"""

import logging
import time
from collections.abc import AsyncGenerator
from concurrent.futures import Future
from contextlib import aclosing, suppress
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from tritone.arrays import Float32
from tritone.frontend.voices import VOICE_ID
from tritone.gateway.account import one_stream
from tritone.gateway.backends import Backend
from tritone.gateway.errors import ApiError, from_server
from tritone.gateway.formats import Encoder, Format
from tritone.gateway.framing import Events, Framing, Record, Sound
from tritone.gateway.gateway import Gateway
from tritone.gateway.limits import Caller
from tritone.gateway.presence import CallerGone, taken_within, unless_gone
from tritone.gateway.spoken import Progress
from tritone_client import SpeechError, Utterance

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Speech:
    """What is asked for. Rates in Hz: of the model, and of the answer. with_segments, with_timing:
    events tell of them too, the latter being the server's record. id: of the request, with which it
    stands in the server's log too."""

    backend: Backend
    utterance: Utterance
    form: Format
    source_rate: int
    rate: int
    as_events: bool
    with_timing: bool
    id: str
    with_segments: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer. Which voice speaks where none is asked for, the server alone knows."""
        voice = self.utterance.voice or ""
        named = {"X-Tritone-Voice": voice} if VOICE_ID.fullmatch(voice) else {}
        return {"X-Request-Id": self.id, "Cache-Control": "no-store", **named}

    def progress(self) -> Progress:
        """Of it, before anything is sent."""
        return Progress(self.utterance.text, (self.source_rate, self.rate))


class Delivery(Response):
    """The answer to a request for speech. Its status is decided when the first sound is there."""

    def __init__(self, gateway: Gateway, caller: Caller, speech: Speech) -> None:
        media_type = speech.form.media_type.format(rate=speech.rate)
        super().__init__(
            media_type="text/event-stream" if speech.as_events else media_type,
            headers={**speech.headers, "X-Accel-Buffering": "no"},  # proxies pass it on as it comes
        )
        del self.headers["content-length"]  # which nobody knows yet
        self._gateway, self._caller, self._speech = gateway, caller, speech
        self._progress = speech.progress()
        self._framing = Events(speech.with_segments) if speech.as_events else Sound()
        self._began, self._started = time.monotonic(), False
        self._timing: Record | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ApiError for what goes wrong before the first sound."""
        try:
            with one_stream(self._gateway, self._caller, self._speech.form.name):
                await unless_gone(self._deliver(send), receive)
        except CallerGone:
            pass
        except ApiError as error:
            if not self._started:
                raise
            await self._break_off(error, send)

    async def _deliver(self, send: Send) -> None:
        """All of it. Raises ApiError."""
        encoder = self._gateway.encoding.submit(self._new_encoder)  # while the server speaks
        try:
            async with aclosing(self._pieces(encoder)) as pieces:
                async for piece in pieces:
                    await self._send(piece, send)
        except SpeechError as error:
            raise from_server(error) from error
        finally:
            self._gateway.encoding.submit(lambda: encoder.result().close())
        await self._send(self._framing.end(self._progress, self._timing), send, last=True)

    def _new_encoder(self) -> Encoder:
        return self._speech.form.encoder(self._speech.source_rate, self._speech.rate)

    async def _pieces(self, encoder: Future[Encoder]) -> AsyncGenerator[bytes, None]:
        """Encoded and framed, as the server speaks. Raises SpeechError."""
        speech, framing = self._speech, self._framing
        audio = self._gateway.metrics.audio.labels(speech.form.name)
        packets = speech.backend.client.packets(
            speech.utterance,
            timeout=self._gateway.settings.utterance_seconds,
            request_id=speech.id,
            timing=speech.as_events,  # has the tokens
        )
        async with aclosing(packets):
            async for packet in packets:
                samples, record = packet.samples, packet.timing
                if speech.with_timing and record:
                    self._timing = {**record, "sample_rate": speech.source_rate}
                yield await self._in_thread(framing, encoder, samples)
                audio.inc(len(samples) / speech.source_rate)
                yield framing.segments(self._progress.advance(len(samples), record))
        yield await self._in_thread(framing, encoder, None)

    async def _in_thread(
        self, framing: Framing, encoder: Future[Encoder], samples: Float32 | None
    ) -> bytes:
        return await self._gateway.in_encoder(_framed, framing, encoder, samples, self._timing)

    async def _send(self, data: bytes, send: Send, last: bool = False) -> None:
        """Raises CallerGone for one who does not take it."""
        if not (data or last):
            return
        if not self._started:
            self._started = True
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            first = self._gateway.metrics.first_byte.labels(self._speech.form.name)
            first.observe(time.monotonic() - self._began)
        message: Message = {"type": "http.response.body", "body": data, "more_body": not last}
        try:
            await taken_within(self._gateway.settings.stall_seconds, send(message))
        except CallerGone:
            _LOG.warning("%s: the caller takes nothing any more", self._speech.id)
            raise

    async def _break_off(self, error: ApiError, send: Send) -> None:
        """Tell of an error in the midst of an answer as far as its form allows."""
        _LOG.error("%s broke off: %s", self._speech.id, error)
        fault = self._framing.fault(error)
        if fault is not None:  # else uvicorn closes the connection, as the answer has no end
            with suppress(CallerGone):
                await self._send(fault, send, last=True)


def _framed(
    framing: Framing, encoder: Future[Encoder], samples: Float32 | None, timing: Record | None
) -> bytes:
    """The next piece of an answer; None for what is left. The encoder was submitted before, to the
    threads of which this is one, so that waiting for it cannot hold it up."""
    made = encoder.result()
    return framing.piece(made.finish() if samples is None else made.encode(samples), timing)
