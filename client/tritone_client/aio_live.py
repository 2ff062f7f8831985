"""The asyncio client's way to speak a text while it is being written."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import grpc
from tritonclient.grpc import service_pb2

from tritone_client.response import Cancellation, Packet, SpeechError, from_grpc
from tritone_client.text import Flush, TextRequests
from tritone_client.tls import Tls


class AsyncLiveSpeech(AbstractAsyncContextManager["AsyncLiveSpeech"]):
    """As LiveSpeech: one task reads `packets`, any of the loop may call the other methods."""

    def __init__(self, call: Any, requests: TextRequests, tls: Tls | None) -> None:
        self._call, self._requests, self._tls, self._cancelled = call, requests, tls, False
        self._writing = asyncio.Lock()  # a stream takes one message after the other

    @classmethod
    async def begun(cls, call: Any, requests: TextRequests, tls: Tls | None) -> "AsyncLiveSpeech":
        """call: a stream of gRPC in which nothing was sent yet."""
        speech = cls(call, requests, tls)
        try:
            await speech._send(requests.first)
        except asyncio.CancelledError:
            speech.close()
            raise
        return speech

    @property
    def cancellation(self) -> Cancellation | None:
        """As `LiveSpeech.cancellation`."""
        return self._requests.cancellation

    @property
    def over(self) -> bool:
        """Whether it takes nothing more."""
        return bool(self._call.done())

    async def say(self, piece: str | Flush) -> None:
        """More of the text, or FLUSH. Waits as long as the connection takes no more."""
        await self._send(self._requests.piece(piece))

    async def end(self) -> None:
        """There is no more text."""
        await self._send(self._requests.end())

    async def cancel(self) -> None:
        """Stop speaking: `packets` ends without an error and gives nothing that comes later."""
        self._cancelled = True
        await self._send(self._requests.cancel())

    async def packets(self) -> AsyncGenerator[Packet, None]:
        """What is spoken, until the text has ended; once. Raises SpeechError."""
        try:
            with from_grpc(self._tls):
                async for message in self._call:
                    packet = self._requests.read(message)
                    if packet is not None and not self._cancelled:
                        yield packet
                    if self._requests.done(self._cancelled):
                        break  # the server waits for the end of a text that it takes no more of
            self._requests.finish()
        finally:
            self.close()

    def close(self) -> None:
        """End it at once."""
        self._call.cancel()  # nothing to cancel where the stream ran to its end

    async def _send(self, request: service_pb2.ModelInferRequest) -> None:
        async with self._writing:
            if not self.over:
                await _sent(self._call.write(request))

    async def __aexit__(self, *_: object) -> None:
        self.close()


async def spoken(
    speech: AsyncLiveSpeech, pieces: AsyncIterable[str | Flush]
) -> AsyncGenerator[Packet, None]:
    """The packets, while a task of its own reads the pieces; what their iterator raises ends the
    speech and is raised here."""
    async with speech:
        feeding = asyncio.ensure_future(_feed(speech, pieces))

        def end_with(fed: "asyncio.Future[None]") -> None:
            if _failure(fed):
                speech.close()

        feeding.add_done_callback(end_with)
        try:
            async with aclosing(speech.packets()) as packets:
                async for packet in packets:
                    yield packet
        except (SpeechError, asyncio.CancelledError):
            if error := _failure(feeding):
                raise error from None
            raise
        finally:
            feeding.cancel()


async def _feed(speech: AsyncLiveSpeech, pieces: AsyncIterable[str | Flush]) -> None:
    """Say all pieces, as long as they are taken."""
    async for piece in pieces:
        if speech.over:
            return
        await speech.say(piece)
    await speech.end()


async def _sent(writing: Awaitable[None]) -> None:
    """Unless the call has ended meanwhile, which says itself why."""
    try:
        await writing
    except (grpc.RpcError, asyncio.InvalidStateError):
        return


def _failure(task: "asyncio.Future[None]") -> BaseException | None:
    """What it raised, if it has."""
    return task.exception() if task.done() and not task.cancelled() else None
