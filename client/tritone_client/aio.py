"""The asyncio client; requests, responses and errors are those of the blocking one."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import AbstractAsyncContextManager, aclosing
from weakref import WeakSet

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tritone_client.aio_live import AsyncLiveSpeech, spoken
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
from tritone_client.sync import ASK_TIMEOUT, CHANNEL_OPTIONS, DEFAULT_TIMEOUT, DEFAULT_URL
from tritone_client.text import NO_TEXT, Flush, TextRequests
from tritone_client.tls import Tls


class AsyncSpeechClient(AbstractAsyncContextManager["AsyncSpeechClient"]):
    """As SpeechClient, for any number of tasks of one loop."""

    def __init__(
        self, url: str = DEFAULT_URL, model: str | None = None, tls: Tls | None = None
    ) -> None:
        self._url, self._model, self._rate, self._tls = url, model, 0, tls
        self._emotions: tuple[str, ...] | None = None
        if tls is None:
            self._channel = grpc.aio.insecure_channel(url, options=CHANNEL_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(url, tls.credentials(), options=CHANNEL_OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._speeches: WeakSet[AsyncLiveSpeech] = WeakSet()  # each lives as long as it is spoken

    async def model(self) -> str:
        """As `SpeechClient.model`."""
        if self._model is None:
            every = service_pb2.ModelStatisticsRequest()
            with from_grpc(self._tls):
                answer = await self._stub.ModelStatistics(every, timeout=ASK_TIMEOUT)
            answers = []
            for name in ready(answer):
                with unless_gone():
                    answers.append(await self._configuration(name))
            self._model = public_model(self._url, answers)
        return self._model

    async def sample_rate(self) -> int:
        """As `SpeechClient.sample_rate`."""
        if not self._rate:
            model = await self.model()
            self._rate = rate_of(model, await self._configuration(model))
        return self._rate

    async def emotions(self) -> tuple[str, ...]:
        """As `SpeechClient.emotions`."""
        if self._emotions is None:
            self._emotions = emotions_of(await self._configuration(await self.model()))
        return self._emotions

    async def voices(self) -> list[str]:
        """As `SpeechClient.voices`."""
        request, reader = voices_request(await self.model()), VoicesReader()
        call = self._stub.ModelStreamInfer(iter([request]), timeout=ASK_TIMEOUT)
        with from_grpc(self._tls):
            async for message in call:
                reader.feed(message)
        return reader.end()

    async def is_ready(self) -> bool:
        """As `SpeechClient.is_ready`."""
        try:
            with from_grpc(self._tls):
                answer = await self._stub.ServerReady(
                    service_pb2.ServerReadyRequest(), timeout=ASK_TIMEOUT
                )
        except SpeechError:
            return False
        return bool(answer.ready)

    async def _configuration(self, model: str) -> service_pb2.ModelConfigResponse:
        question = service_pb2.ModelConfigRequest(name=model)
        with from_grpc(self._tls):
            return await self._stub.ModelConfig(question, timeout=ASK_TIMEOUT)

    async def stream(
        self, utterance: Utterance, *, timeout: float | None = DEFAULT_TIMEOUT, request_id: str = ""
    ) -> AsyncGenerator[NDArray[np.float32], None]:
        """As `SpeechClient.stream`. Leave early through `contextlib.aclosing` (or cancel the task):
        that stops the utterance on the server at once."""
        packets = self.packets(utterance, timeout=timeout, request_id=request_id)
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
    ) -> AsyncGenerator[Packet, None]:
        """As `SpeechClient.packets`."""
        model = await self.model()
        requests = TextRequests(utterance, model, request_id, timing=timing, whole=True)
        async with aclosing(self._begun(requests, timeout).packets()) as packets:
            async for packet in packets:
                yield packet

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
        """Close the channel; utterances still running end with CANCELLED, at the server first."""
        await asyncio.gather(*(speech.aclose() for speech in self._speeches))
        await self._channel.close()

    def _begun(self, requests: TextRequests, timeout: float | None) -> AsyncLiveSpeech:
        speech = AsyncLiveSpeech(self._stub, requests, timeout, self._tls)
        self._speeches.add(speech)
        return speech

    async def __aexit__(self, *_: object) -> None:
        await self.close()
