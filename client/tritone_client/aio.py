"""The asyncio client; requests, responses and errors are those of the blocking one."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from functools import partial
from weakref import WeakSet

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tritone_client.aio_live import AsyncLiveSpeech, spoken
from tritone_client.attempts import Attempts, Patience, question
from tritone_client.exchange import closed
from tritone_client.request import Utterance, voices_request
from tritone_client.response import (
    Packet,
    SpeechError,
    VoicesReader,
    emotions_of,
    from_grpc,
    public_model,
    rate_of,
    ready,
    unless_gone,
)
from tritone_client.servers import DEFAULT_URL, Servers, addresses
from tritone_client.sync import (
    CHANNEL_OPTIONS,
    DEFAULT_TIMEOUT,
    Answer,
    Retried,
)
from tritone_client.text import NO_TEXT, Flush, TextRequests
from tritone_client.tls import Tls


class AsyncSpeechClient(AbstractAsyncContextManager["AsyncSpeechClient"]):
    """As SpeechClient, for any number of tasks of one loop."""

    def __init__(
        self,
        url: str | Sequence[str] = DEFAULT_URL,
        model: str | None = None,
        tls: Tls | None = None,
        *,
        retries: int | None = None,
        resume: bool = False,
    ) -> None:
        urls, self._model, self._rate, self._tls = addresses(url), model, 0, tls
        self._patience, self._servers = Patience(retries, resume), Servers(urls)
        self._url, self._closed = ",".join(urls), asyncio.Event()
        self._emotions: tuple[str, ...] | None = None
        make, options = grpc.aio.insecure_channel, CHANNEL_OPTIONS
        if tls is None:
            self._channels = [make(u, options=options) for u in urls]
        else:
            own, make = tls.credentials(), grpc.aio.secure_channel
            self._channels = [make(u, own, options=options) for u in urls]
        self._stubs = [service_pb2_grpc.GRPCInferenceServiceStub(c) for c in self._channels]
        self._speeches: WeakSet[AsyncLiveSpeech] = WeakSet()  # each lives as long as it is spoken

    async def model(self) -> str:
        """As `SpeechClient.model`."""
        return await self._model_within(None)

    async def _model_within(self, timeout: float | None) -> str:
        if self._model is None:
            self._model = await self._asked(self._public_model, timeout)
        return self._model

    async def sample_rate(self) -> int:
        """As `SpeechClient.sample_rate`."""
        if not self._rate:
            self._rate = rate_of(await self.model(), await self._configuration())
        return self._rate

    async def emotions(self) -> tuple[str, ...]:
        """As `SpeechClient.emotions`."""
        if self._emotions is None:
            self._emotions = emotions_of(await self._configuration())
        return self._emotions

    async def voices(self) -> list[str]:
        """As `SpeechClient.voices`."""
        request = voices_request(await self.model())

        async def ask(stub: service_pb2_grpc.GRPCInferenceServiceStub, limit: float) -> list[str]:
            reader = VoicesReader()
            async for message in stub.ModelStreamInfer(iter([request]), timeout=limit):
                reader.feed(message)
            return reader.end()

        return await self._asked(ask)

    async def is_ready(self) -> bool:
        """As `SpeechClient.is_ready`."""
        asked = service_pb2.ServerReadyRequest()
        for stub in self._stubs:
            with suppress(SpeechError), question() as limit, from_grpc(self._tls):
                if (await stub.ServerReady(asked, timeout=limit)).ready:
                    return True
        return False

    async def _configuration(self) -> service_pb2.ModelConfigResponse:
        asked = service_pb2.ModelConfigRequest(name=await self.model())
        return await self._asked(lambda stub, limit: stub.ModelConfig(asked, timeout=limit))

    async def _public_model(
        self, stub: service_pb2_grpc.GRPCInferenceServiceStub, limit: float
    ) -> str:
        every = service_pb2.ModelStatisticsRequest()
        answer = await stub.ModelStatistics(every, timeout=limit)
        answers = []
        for name in ready(answer):
            asked = service_pb2.ModelConfigRequest(name=name)
            with unless_gone(), from_grpc(self._tls):
                answers.append(await stub.ModelConfig(asked, timeout=limit))
        return public_model(self._url, answers)

    async def _asked(
        self,
        ask: Callable[[service_pb2_grpc.GRPCInferenceServiceStub, float], Awaitable[Answer]],
        timeout: float | None = None,
    ) -> Answer:
        """As `SpeechClient._asked`."""
        attempts = Attempts(self._servers, self._patience, timeout)
        while True:
            for seconds in attempts.pauses():
                await self._wait(seconds)
            with (
                attempts.next() as server,
                self._servers.asked(server, lambda: False),
                question(attempts.left) as limit,
                from_grpc(self._tls),
            ):
                return await ask(self._stubs[server], limit)

    async def _wait(self, seconds: float) -> None:
        if seconds:
            with suppress(TimeoutError, asyncio.TimeoutError):  # another one before Python 3.11
                await asyncio.wait_for(self._closed.wait(), seconds)
        if self._closed.is_set():
            raise closed()

    async def stream(
        self,
        utterance: Utterance,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        request_id: str = "",
        on_retry: Retried = lambda _: None,
    ) -> AsyncGenerator[NDArray[np.float32], None]:
        """As `SpeechClient.stream`. Leave early through `contextlib.aclosing` (or cancel the task):
        that stops the utterance on the server at once."""
        packets = self.packets(utterance, timeout=timeout, request_id=request_id, on_retry=on_retry)
        async with aclosing(packets):
            async for packet in packets:
                yield packet.samples

    async def packets(
        self,
        utterance: Utterance,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        request_id: str = "",
        timing: bool = False,
        on_retry: Retried = lambda _: None,
    ) -> AsyncGenerator[Packet, None]:
        """As `SpeechClient.packets`."""
        attempts = Attempts(self._servers, self._patience, timeout, on_retry)
        said, model = self._patience.seeded(utterance), await self._model_within(timeout)
        while not attempts.over:
            for seconds in attempts.pauses():
                await self._wait(seconds)
            with attempts.next() as server:
                requests = TextRequests(said, model, request_id, timing=timing, whole=True)
                speech = self._begun(requests, timeout, server, attempts.began)
                async with aclosing(speech.packets()) as packets:
                    async for came in packets:
                        if packet := attempts.joint.take(came):
                            yield packet
        if rest := attempts.joint.rest():
            yield rest

    async def begin(
        self,
        utterance: Utterance = NO_TEXT,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        request_id: str = "",
        timing: bool = False,
        flush_after: float | None = None,
        text_mode: str | None = None,
    ) -> AsyncLiveSpeech:
        """As `SpeechClient.begin`. Hold what this returns in `async with`, which ends it."""
        requests = TextRequests(
            utterance,
            await self.model(),
            request_id,
            timing=timing,
            flush_after=flush_after,
            text_mode=text_mode,
        )
        return self._begun(requests, timeout)

    async def stream_text(
        self,
        pieces: AsyncIterable[str | Flush],
        utterance: Utterance = NO_TEXT,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        request_id: str = "",
        flush_after: float | None = None,
        text_mode: str | None = None,
    ) -> AsyncGenerator[NDArray[np.float32], None]:
        """As `SpeechClient.stream_text`; leave early as `stream`. What the iterator of the pieces
        raises is raised here."""
        packets = self.text_packets(
            pieces,
            utterance,
            timeout=timeout,
            request_id=request_id,
            flush_after=flush_after,
            text_mode=text_mode,
        )
        async with aclosing(packets):
            async for packet in packets:
                yield packet.samples

    async def text_packets(
        self,
        pieces: AsyncIterable[str | Flush],
        utterance: Utterance = NO_TEXT,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        request_id: str = "",
        timing: bool = False,
        flush_after: float | None = None,
        text_mode: str | None = None,
    ) -> AsyncGenerator[Packet, None]:
        """As `stream_text`, but yield packets; with `timing` they carry the server's record."""
        speech = await self.begin(
            utterance,
            timeout=timeout,
            request_id=request_id,
            timing=timing,
            flush_after=flush_after,
            text_mode=text_mode,
        )
        async with aclosing(spoken(speech, pieces)) as packets:
            async for packet in packets:
                yield packet

    async def speak(
        self, utterance: Utterance, *, timeout: float | None = DEFAULT_TIMEOUT
    ) -> NDArray[np.float32]:
        """As `SpeechClient.speak`."""
        parts = [samples async for samples in self.stream(utterance, timeout=timeout)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    async def close(self) -> None:
        """Close the channels; utterances still running end with CANCELLED, at the server first."""
        self._closed.set()
        await asyncio.gather(*(speech.aclose() for speech in self._speeches))
        for channel in self._channels:
            await channel.close()

    def _begun(
        self,
        requests: TextRequests,
        timeout: float | None,
        server: int | None = None,
        since: float | None = None,
    ) -> AsyncLiveSpeech:
        server = self._servers.choose() if server is None else server
        asked = partial(self._servers.asked, server)
        speech = AsyncLiveSpeech(self._stubs[server], requests, timeout, self._tls, asked, since)
        self._speeches.add(speech)
        return speech

    async def __aexit__(self, *_: object) -> None:
        await self.close()
