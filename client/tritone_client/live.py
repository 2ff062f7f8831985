"""The blocking client's way to speak a text, whole or while it is being written."""

import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager

from tritonclient.grpc import service_pb2, service_pb2_grpc

from tritone_client.exchange import GRACE_S, Exchange, closed, late
from tritone_client.response import Cancellation, Packet, SpeechError, from_grpc
from tritone_client.text import Flush, TextRequests
from tritone_client.tls import Tls


class LiveSpeech(AbstractContextManager["LiveSpeech"]):
    """A text that is being spoken. One thread reads `packets`, any may call the other methods.

    Leaving the context ends it, without a report; `cancel` says what was heard. Once it has ended,
    what is said to it goes nowhere. A thread of its own reads what comes, so that a reader who is
    interrupted can still wait for the end.
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
        """timeout: seconds for all of it, from `since` on, a time of the monotonic clock, or from
        now on. asked: makes the context in which `packets` run, which is told how they
        end."""
        self._exchange, self._tls, self._asked = Exchange(requests), tls, asked
        self._changed = threading.Condition()
        now = time.monotonic()
        self._timeout, self._began = timeout, now if since is None else since
        self._last: float | None = None  # when what is to end must have ended
        limit = None if timeout is None else max(0.0, self._began + timeout - now) + GRACE_S
        self._call = stub.ModelStreamInfer(self._orders(), timeout=limit)
        self._reader = threading.Thread(target=self._read, name="speech", daemon=True)
        self._reader.start()

    @property
    def cancellation(self) -> Cancellation | None:
        """After `cancel`, once `packets` has ended; None too where the speech had ended before."""
        return self._exchange.cancellation

    @property
    def over(self) -> bool:
        """Whether it takes nothing more."""
        return not self._exchange.takes_more

    def say(self, piece: str | Flush) -> None:
        """More of the text, or FLUSH. Waits while many pieces have not been sent yet."""
        self._order(self._exchange.requests.piece(piece))

    def end(self) -> None:
        """There is no more text."""
        self._order(self._exchange.requests.end())

    def cancel(self) -> None:
        """Stop speaking: `packets` ends without an error and gives nothing that comes later."""
        self._stop(None)

    def packets(self) -> Generator[Packet, None, None]:
        """What is spoken, until the text has ended; once. Raises SpeechError."""
        try:
            with self._asked(lambda: not self._exchange.stopped):
                while (packet := self._next_packet()) is not None:
                    yield packet
                self._exchange.check()
        finally:
            self.close()

    def close(self) -> None:
        """Stop speaking, and wait until the server has, at most GRACE_S."""
        if sys.is_finalizing():  # no other thread runs any more, and the process ends the call
            return
        self.stop()
        if threading.current_thread() is self._reader:  # the garbage collector may close packets
            return  # in any thread; this one reads on to the end
        with self._changed:
            if not self._changed.wait_for(lambda: self._exchange.over, GRACE_S):
                self._call.cancel()

    def stop(self) -> None:
        """As `close`, without waiting."""
        self._stop(closed())

    def _stop(self, reason: SpeechError | None) -> None:
        with self._changed:
            if self._exchange.stop(reason):
                self._last = time.monotonic() + GRACE_S
                self._changed.notify_all()

    def _order(self, request: service_pb2.ModelInferRequest) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._exchange.has_room)
            self._exchange.order(request)
            self._changed.notify_all()

    def _next_packet(self) -> Packet | None:
        found: list[Packet] = []

        def take() -> bool:
            if (packet := self._exchange.next_packet()) is not None:
                found.append(packet)
            return bool(found) or self._exchange.over

        self._wait_until(take)
        return found[0] if found else None

    def _wait_until(self, done: Callable[[], bool]) -> None:
        """What is to end is ended by a cancel of the RPC where the server does not end it."""
        with self._changed:
            while not done():
                left = None if self._last is None else self._last - time.monotonic()
                if not self._changed.wait(left):
                    self._call.cancel()
                    self._last = None
            self._changed.notify_all()

    def _orders(self) -> Iterator[service_pb2.ModelInferRequest]:
        """For gRPC, in a thread of its own; ends where the stream is to end."""
        while (order := self._next_order()) is not None:
            yield order

    def _next_order(self) -> service_pb2.ModelInferRequest | None:
        with self._changed:
            while (order := self._exchange.next_order()) is None and not self._exchange.closing:
                if self._timeout is None or self._exchange.stopped:
                    self._changed.wait()
                elif not self._changed.wait(self._began + self._timeout - time.monotonic()):
                    self._stop(late(self._timeout))
            self._changed.notify_all()
            return order

    def _read(self) -> None:
        error: Exception | None = None
        try:
            with from_grpc(self._tls):
                for message in self._call:
                    with self._changed:
                        self._exchange.read(message)
                        self._changed.notify_all()
                        self._changed.wait_for(lambda: self._exchange.may_read)
        except Exception as failure:  # raised where the packets are read
            error = failure
            self._call.cancel()
        finally:
            with self._changed:
                self._exchange.end(error)
                self._changed.notify_all()

    def __exit__(self, *_: object) -> None:
        self.close()


def feed(speech: LiveSpeech, pieces: Iterable[str | Flush], failed: list[Exception]) -> None:
    """Say all pieces; what their iterator raises goes to `failed` and ends the speech."""
    try:
        for piece in pieces:
            if speech.over:
                return
            speech.say(piece)
    except Exception as error:
        failed.append(error)
        speech.cancel()
    else:
        speech.end()


def spoken(speech: LiveSpeech, pieces: Iterable[str | Flush]) -> Generator[Packet, None, None]:
    """The packets, while a thread of its own reads the pieces."""
    failed: list[Exception] = []
    feeding = threading.Thread(target=feed, args=(speech, pieces, failed), daemon=True)
    with speech:
        feeding.start()
        yield from speech.packets()
    if failed:
        raise failed.pop()  # it knows this frame
