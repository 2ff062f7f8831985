"""The asyncio client's way to speak a text, whole or while it is being written."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing

from tritonclient.grpc import service_pb2, service_pb2_grpc

from tritone_client.exchange import GRACE_S, Exchange, closed, late
from tritone_client.response import Cancellation, Packet, SpeechError, connection_lost, from_grpc
from tritone_client.text import Flush, TextRequests
from tritone_client.tls import Tls


class AsyncLiveSpeech(AbstractAsyncContextManager["AsyncLiveSpeech"]):
    """As LiveSpeech: one task reads `packets`, any of the loop may call the other methods.

    Its gRPC call is read and written by tasks of its own: gRPC cancels a call in which a task is
    cancelled that reads or writes.
    """

    def __init__(
        self,
        stub: service_pb2_grpc.GRPCInferenceServiceStub,
        requests: TextRequests,
        timeout: float | None,
        tls: Tls | None,
        asked: Callable[[Callable[[], bool]], AbstractContextManager[None]],
        since: float | None = None,
    ) -> None:
        """In a running loop. timeout, asked and since: as of `LiveSpeech`."""
        self._exchange, self._tls, self._asked = Exchange(requests), tls, asked
        self._pulse = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
        now = time.monotonic()
        left = None if timeout is None else max(0.0, (since or now) + timeout - now)
        limit = None if left is None else left + GRACE_S
        self._call = stub.ModelStreamInfer(self._orders(), timeout=limit)
        self._reading = asyncio.create_task(self._read())
        if timeout is not None and left is not None:
            self._after(left, lambda: self._stop(late(timeout)))

    @property
    def cancellation(self) -> Cancellation | None:
        """As `LiveSpeech.cancellation`."""
        return self._exchange.cancellation

    @property
    def over(self) -> bool:
        """Whether it takes nothing more."""
        return not self._exchange.takes_more

    async def say(self, piece: str | Flush) -> None:
        """More of the text, or FLUSH. Waits while many pieces have not been sent yet."""
        await self._order(self._exchange.requests.piece(piece))

    async def end(self) -> None:
        """There is no more text."""
        await self._order(self._exchange.requests.end())

    async def cancel(self) -> None:
        """Stop speaking: `packets` ends without an error and gives nothing that comes later."""
        self._stop(None)

    async def packets(self) -> AsyncGenerator[Packet, None]:
        """What is spoken, until the text has ended; once. Raises SpeechError."""
        try:
            with self._asked(lambda: not self._exchange.stopped):
                while (packet := await self._next_packet()) is not None:
                    yield packet
                self._exchange.check()
        finally:
            await self.aclose()

    def close(self) -> None:
        """As `LiveSpeech.stop`."""
        self._stop(closed())

    async def aclose(self) -> None:
        """As `LiveSpeech.close`. It goes on where who waits for it is cancelled."""
        if not self._exchange.over:
            self.close()
            self._after(GRACE_S, self._call.cancel)
            await self._wait_until(lambda: self._exchange.over)

    def _after(self, seconds: float, do: Callable[[], object]) -> None:
        """Unless it is over by then."""
        self._timers.append(asyncio.get_running_loop().call_later(seconds, do))

    def _stop(self, reason: SpeechError | None) -> None:
        if self._exchange.stop(reason):
            self._after(GRACE_S, self._call.cancel)
            self._notify()

    async def _order(self, request: service_pb2.ModelInferRequest) -> None:
        await self._wait_until(lambda: self._exchange.has_room)
        self._exchange.order(request)
        self._notify()

    async def _next_packet(self) -> Packet | None:
        while (packet := self._exchange.next_packet()) is None and not self._exchange.over:
            await self._pulse.wait()
        self._notify()
        return packet

    async def _orders(self) -> AsyncIterator[service_pb2.ModelInferRequest]:
        """For gRPC, in a task of its own; ends where the stream is to end."""
        while not self._exchange.closing:
            if (order := self._exchange.next_order()) is None:
                await self._pulse.wait()
            else:
                self._notify()
                yield order

    async def _read(self) -> None:
        error: Exception | None = None
        try:
            with from_grpc(self._tls):
                async for message in self._call:
                    self._exchange.read(message)
                    self._notify()
                    await self._wait_until(lambda: self._exchange.may_read)
        except asyncio.CancelledError:  # so says gRPC of a call that was cancelled, here or there
            details = await self._call.details() if self._call.done() else ""
            error = connection_lost(details or "") or closed()
        except Exception as failure:  # raised where the packets are read
            error = failure
            self._call.cancel()
        finally:
            for timer in self._timers:
                timer.cancel()
            self._exchange.end(error)
            self._notify()

    async def _wait_until(self, done: Callable[[], bool]) -> None:
        while not done():
            await self._pulse.wait()

    def _notify(self) -> None:
        """Whoever waits looks again."""
        self._pulse.set()
        self._pulse = asyncio.Event()

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


async def spoken(
    speech: AsyncLiveSpeech, pieces: AsyncIterable[str | Flush]
) -> AsyncGenerator[Packet, None]:
    """The packets, while a task of its own reads the pieces; what their iterator raises ends the
    speech and is raised here."""
    async with speech:
        feeding = asyncio.ensure_future(_feed(speech, pieces))
        try:
            async with aclosing(speech.packets()) as packets:
                async for packet in packets:
                    yield packet
        finally:
            error = _failure(feeding)
            feeding.cancel()
        if error:
            raise error


async def _feed(speech: AsyncLiveSpeech, pieces: AsyncIterable[str | Flush]) -> None:
    """Say all pieces, as long as they are taken."""
    try:
        async for piece in pieces:
            if speech.over:
                return
            await speech.say(piece)
    except Exception:
        await speech.cancel()
        raise
    await speech.end()


def _failure(task: "asyncio.Future[None]") -> BaseException | None:
    """What it raised, if it has."""
    return task.exception() if task.done() and not task.cancelled() else None
