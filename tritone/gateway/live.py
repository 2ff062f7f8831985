"""One speech over a WebSocket: its text may come in pieces, and it can be cancelled at any time.

It owns the gRPC call, the encoder and the places it takes, and lets go of them however it ends.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from tritone.arrays import Float32
from tritone.gateway.account import one_stream
from tritone.gateway.delivery import Speech
from tritone.gateway.errors import ApiError, from_server
from tritone.gateway.formats import Encoder
from tritone.gateway.gateway import Gateway
from tritone.gateway.limits import Caller
from tritone.gateway.presence import CallerGone
from tritone.gateway.segments import Segment
from tritone.gateway.speech import SpeechOptions
from tritone.gateway.spoken import Progress
from tritone.synthesis.live_text import TextMode
from tritone_client import SpeechError
from tritone_client.response import Packet
from tritone_client.text import Flush

_LOG = logging.getLogger(__name__)

_MOST_PIECES = 1000  # of a text, that the server has not taken yet


@dataclass(frozen=True)
class Text:
    """What is said. whole: nothing comes after `first`. flush_after: seconds without a piece after
    which what there is is spoken; None waits for the end of the sentence. mode: see
    `tritone.synthesis.live_text.TextMode`."""

    first: str = ""
    whole: bool = False
    flush_after: float | None = None
    mode: str = TextMode.SENTENCES.value


class Listener(Protocol):
    """Whom a speech is told to. started comes first; done, cancelled or failed last, when another
    speech may begin. Raises CallerGone."""

    async def started(self, speech: Speech) -> None: ...
    async def sound(self, data: bytes) -> None: ...
    async def segment(self, segment: Segment) -> None: ...
    async def done(self, progress: Progress) -> None: ...
    async def cancelled(self, progress: Progress) -> None: ...
    async def failed(self, error: ApiError, progress: Progress) -> None: ...


class _NotWanted(CallerGone):
    """The caller is there, and has cancelled."""


class LiveSpeech:
    """`run` it in a task; the other methods are for who reads the caller's messages."""

    def __init__(
        self,
        gateway: Gateway,
        caller: Caller,
        options: SpeechOptions,
        text: Text,
        listener: Listener,
    ) -> None:
        self._gateway, self._caller, self._listener = gateway, caller, listener
        self._options, self._text = options, text
        self._pieces: asyncio.Queue[str | Flush | None] = asyncio.Queue(_MOST_PIECES)
        self._ended, self._sending, self.cancelled = text.whole, False, False
        self._speaking: asyncio.Task[None] | None = None
        self._asked = time.monotonic()
        self.progress = Progress(text.first)
        self.over = False  # but for telling how it ended

    def say(self, piece: str | Flush) -> None:
        """Raises ApiError for a text that has ended, and for more than is taken."""
        if self._ended:
            raise ApiError(400, "invalid_value", "type: the text has ended", param="type")
        if self._pieces.qsize() >= _MOST_PIECES - 1:  # one is for the end
            problem = f"{_MOST_PIECES} pieces of the text wait to be taken; send fewer, larger ones"
            raise ApiError(429, "overloaded", problem)
        self._pieces.put_nowait(piece)
        if isinstance(piece, str):
            self.progress.say(piece)
        self._came()

    def end(self) -> None:
        """There is no more text; a second call does nothing."""
        if not self._ended:
            self._ended = True
            self._pieces.put_nowait(None)
            self._came()

    def cancel(self) -> None:
        """Nothing more is sent; what is just being sent is let through, so that it is known."""
        self.cancelled = self._ended = True
        if self._speaking and not self._sending:
            self._speaking.cancel()

    async def run(self) -> None:
        """All of it. Raises CallerGone; errors are told."""
        error = None
        try:
            with one_stream(self._gateway, self._caller, self._options.response_format):
                await self._spoken()
                if self.cancelled:
                    raise _NotWanted
        except ApiError as refusal:
            error = refusal
        except _NotWanted:
            pass
        finally:
            self.over = True
        await self._tell_end(error)

    async def _tell_end(self, error: ApiError | None) -> None:
        if self.cancelled:
            await self._listener.cancelled(self.progress)
        elif error:
            await self._listener.failed(error, self.progress)
        else:
            await self._listener.done(self.progress)

    async def _spoken(self) -> None:
        """In a task of its own, which `cancel` can end without ending this one. Raises ApiError."""
        self._speaking = asyncio.ensure_future(self._speak())
        if self.cancelled:
            self._speaking.cancel()
        try:
            await asyncio.wait((self._speaking,))
        finally:
            self._speaking.cancel()  # where this one is cancelled
            await asyncio.wait((self._speaking,))
        if self._speaking.cancelled():
            return
        error = self._speaking.exception()
        if isinstance(error, SpeechError):
            raise from_server(error) from error
        if isinstance(error, (ApiError, CallerGone)):
            raise error
        if error:
            _LOG.error("a speech failed", exc_info=error)
            raise ApiError(500, "internal_error", "the gateway failed; its log says why")

    async def _speak(self) -> None:
        speech = await self._options.speech(self._gateway, self._text.first)
        self.progress.rates = speech.source_rate, speech.rate
        await self._listener.started(speech)
        encoder = self._gateway.encoding.submit(
            speech.form.encoder, speech.source_rate, speech.rate
        )
        try:
            async with aclosing(self._packets(speech)) as packets:
                async for packet in packets:
                    await self._send(speech, encoder, packet)
                    if self.cancelled:
                        return
            await self._send(speech, encoder, None)
        finally:
            self._gateway.encoding.submit(lambda: encoder.result().close())

    def _packets(self, speech: Speech) -> AsyncGenerator[Packet, None]:
        client, patience = speech.backend.client, self._gateway.settings.utterance_seconds
        if self._text.whole:
            return client.packets(
                speech.utterance, timeout=patience, request_id=speech.id, timing=True
            )
        return client.text_packets(
            self._taken(),
            speech.utterance,
            timeout=patience,
            request_id=speech.id,
            timing=True,
            flush_after=self._text.flush_after,
            text_mode=self._text.mode,
        )

    async def _taken(self) -> AsyncIterator[str | Flush]:
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def _send(self, speech: Speech, encoder: Future[Encoder], packet: Packet | None) -> None:
        """None for the packet: what the encoder has kept."""
        samples = packet and packet.samples
        data = await self._gateway.in_encoder(_encoded, encoder, samples)
        self._sending = True
        try:
            if data:
                await self._listener.sound(data)
            if packet:
                await self._sent(speech.form.name, packet)
        finally:
            self._sending = False

    async def _sent(self, form: str, packet: Packet) -> None:
        count, metrics = len(packet.samples), self._gateway.metrics
        if count and not self.progress.sent:
            metrics.first_byte.labels(form).observe(time.monotonic() - self._asked)
        metrics.audio.labels(form).inc(count / self.progress.rates[0])
        for segment in self.progress.advance(count, packet.timing):
            await self._listener.segment(segment)

    def _came(self) -> None:
        """The first sound is waited for from the last piece before it on."""
        if not self.progress.sent:
            self._asked = time.monotonic()


def _encoded(encoder: Future[Encoder], samples: Float32 | None) -> bytes:
    made = encoder.result()
    return made.finish() if samples is None else made.encode(samples)
