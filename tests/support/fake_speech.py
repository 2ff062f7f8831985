"""A server for the gateway that speaks without one, and the gateway before it, on a port.

A word is a packet of WORD samples, and a sentence (up to a full stop) a segment, of which the
record of its first word tells, as that of a segment that is made and not yet sent. At `wait` it
waits until a test opens the gate; `fail` fails. It refuses what the server refuses.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn
from waiting import Clock

from tritone.gateway.app import create_app
from tritone.gateway.gateway import Gateway
from tritone.gateway.run import configuration
from tritone.gateway.settings import Address, GatewaySettings
from tritone_client import FLUSH, Emotion, Packet, SpeechError, Utterance

RATE = 24000
WORD = 2400
LONGEST = 1000


@dataclass
class FakeSpeech:
    """Both a backend of the gateway and its client. running: streams that are open. moods: emotions
    that its model has."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    running: int = 0
    asked: list[Utterance] = field(default_factory=list)
    size: int = WORD
    moods: int = 0

    @property
    def client(self) -> "FakeSpeech":
        return self

    async def name(self) -> str:
        return "fake"

    model = known = name

    async def sample_rate(self) -> int:
        return RATE

    async def emotions(self) -> list[str]:
        return [f"mood {n}" for n in range(self.moods)]

    async def close(self) -> None:
        """There is nothing to close."""

    async def packets(self, utterance: Utterance, **more: Any) -> AsyncGenerator[Packet, None]:
        async def whole() -> AsyncIterator[str]:
            return
            yield

        async for packet in self.text_packets(whole(), utterance, **more):
            yield packet

    async def text_packets(
        self, pieces: AsyncIterator[Any], utterance: Utterance, **more: Any
    ) -> AsyncGenerator[Packet, None]:
        self.asked.append(utterance)
        self.running += 1
        try:
            if utterance.voice not in (None, "heart"):
                wrong = f"voice: {utterance.voice!r} is not registered; there are heart"
                raise SpeechError("INVALID_ARGUMENT", wrong)
            self._check(utterance.emotion)
            async for packet in self._said(_sentences(pieces, utterance.text)):
                yield packet
        finally:
            self.running -= 1

    def _check(self, emotion: Emotion | None) -> None:
        if emotion is None:
            return
        kinds = {"vector": emotion.vector, "wav": emotion.wav, "text": emotion.text}
        (kind,) = (kind for kind, value in kinds.items() if value is not None)
        if not self.moods:
            wrong = f"emotion_{kind}: is no input of fake; leave it out, or ask another model"
            raise SpeechError("INVALID_ARGUMENT", wrong)
        if emotion.vector is not None and len(emotion.vector) != self.moods:
            wrong = f"emotion_vector: has {len(emotion.vector)} values; it has {self.moods}"
            raise SpeechError("INVALID_ARGUMENT", wrong)
        if emotion.wav is not None and len(emotion.wav) < 0.3 * emotion.rate:
            wrong = "emotion_wav: lasts 0.00 s; the limits are 0.3 and 30 s"
            raise SpeechError("INVALID_ARGUMENT", wrong)

    async def _said(self, sentences: AsyncIterator[tuple[int, str]]) -> AsyncIterator[Packet]:
        at, spans = 0, []
        async for start, sentence in sentences:
            words = sentence.replace(".", " ").split()
            made = [at, at + len(words) * self.size]
            spans.append({"text": [start, start + len(sentence)], "samples": made})
            for word in words:
                if word == "wait":
                    await self.gate.wait()
                if word == "fail":
                    raise SpeechError("INTERNAL", "vocoder: it broke")
                at += self.size
                record = {"tokens": at // WORD, "spans": list(spans)}
                yield Packet(np.full(self.size, 0.25, np.float32), record)
        if not at:
            wrong = "target_text: is empty: nothing came before its end"
            raise SpeechError("INVALID_ARGUMENT", wrong, "NOTHING_TO_SAY")


async def _sentences(pieces: AsyncIterator[Any], first: str) -> AsyncIterator[tuple[int, str]]:
    """Where each begins, and it, as soon as it is complete."""
    start, text = 0, first
    while True:
        while "." in text:
            end = text.index(".") + 1
            yield start, text[:end]
            start, text = start + end, text[end:]
        try:
            piece = await anext(pieces)
        except StopAsyncIteration:
            break
        if piece is FLUSH and text.strip():
            yield start, text
            start, text = start + len(text), ""
        elif piece is not FLUSH:
            text += piece
            if start + len(text) > LONGEST:
                wrong = f"target_text: has {start + len(text)} characters; the limit is {LONGEST}"
                raise SpeechError("INVALID_ARGUMENT", wrong)
    if text.strip():
        yield start, text


@dataclass
class Served:
    """url: of the API, for WebSockets."""

    url: str
    gateway: Gateway
    speech: FakeSpeech


@asynccontextmanager
async def served(settings: GatewaySettings | None = None, **changes: Any) -> AsyncIterator[Served]:
    """A gateway on this loop, as `tritone gateway` has it, before a fake server. The clock of its
    keys' limits stands."""
    settings = settings or GatewaySettings((Address("127.0.0.1:1"),), **changes)
    app = create_app(settings, Clock())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(configuration(settings, app))
        server.install_signal_handlers = lambda: None
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await until(lambda: server.started)
            speech = FakeSpeech()
            await app.state.gateway.backends.close()
            app.state.gateway.backends.all = [speech]
            port = listener.getsockname()[1]
            yield Served(f"ws://127.0.0.1:{port}/v1", app.state.gateway, speech)
        finally:
            server.should_exit = True
            await serving


async def until(condition: Callable[[], object]) -> None:
    """Wait for it; what hangs is ended by the test's own limit."""
    while not condition():
        await asyncio.sleep(0.002)
