"""What is still to be sent and to be taken of one speech; no I/O, so that both clients share it.

A speech ends by a request, never by cancelling its RPC: Triton 2.51 damages its own memory where an
RPC is cancelled while a response leaves. So whoever has enough asks for the end and reads on to it,
and then closes his side of the stream. Only a server that does not answer is left by a cancel.
"""

from collections import deque

from tritonclient.grpc import service_pb2

from tritone_client.response import Cancellation, Packet, SpeechError
from tritone_client.text import TextRequests

GRACE_S = 5.0
"""Seconds in which a server must have ended a speech that is to end; then the RPC is cancelled."""

MOST_WAITING = 1000  # pieces of text that are not sent yet; whoever has more waits
MOST_KEPT = 16  # packets that are not taken yet; the rest waits at the server


class Exchange:
    """over: whether the gRPC stream has ended. stopped: whether the speech was asked to end."""

    def __init__(self, requests: TextRequests) -> None:
        self.requests, self.over, self.stopped = requests, False, False
        self._orders = deque([requests.first])
        self._packets: deque[Packet] = deque()
        self._error: Exception | None = None
        self._reason: SpeechError | None = None

    @property
    def cancellation(self) -> Cancellation | None:
        return self.requests.cancellation

    @property
    def closing(self) -> bool:
        """Whether nothing more is sent: the server ends the stream then."""
        return self.over or self.requests.done(self.stopped)

    @property
    def takes_more(self) -> bool:
        return not (self.closing or self.stopped)

    @property
    def has_room(self) -> bool:
        """For another order; there is no need of it where none is taken."""
        return len(self._orders) < MOST_WAITING or not self.takes_more

    @property
    def may_read(self) -> bool:
        return len(self._packets) < MOST_KEPT or not self.takes_more

    def order(self, request: service_pb2.ModelInferRequest) -> None:
        """Send it, unless nothing more is taken."""
        if self.takes_more:
            self._orders.append(request)

    def stop(self, reason: SpeechError | None = None) -> bool:
        """Have the speech end, and give away nothing that still comes. reason: what its reader is
        told; None for one who asked for it. Returns whether it went on until now."""
        if reason is None:
            self._packets.clear()  # also where the server had ended before
        if not self.takes_more:
            return False
        first = [order for order in self._orders if order is self.requests.first]
        self._orders = deque([*first, self.requests.cancel()])
        self._packets.clear()
        self.stopped, self._reason = True, reason
        return True

    def next_order(self) -> service_pb2.ModelInferRequest | None:
        """To send now; None for nothing yet, or no more."""
        return self._orders.popleft() if self._orders and not self.closing else None

    def read(self, message: service_pb2.ModelStreamInferResponse) -> None:
        packet = self.requests.read(message)
        if packet is not None and not self.stopped:
            self._packets.append(packet)

    def next_packet(self) -> Packet | None:
        """None for nothing yet, or, where it is over, no more."""
        return self._packets.popleft() if self._packets else None

    def end(self, error: Exception | None = None) -> None:
        """The stream has ended. error: gRPC's, or what is wrong with what came."""
        self.over, self._error = True, error

    def check(self) -> None:
        """Raises SpeechError where it is over and that was not what was asked for."""
        try:
            self._check()
        except SpeechError as error:
            if self._reason or not (self.stopped and error.status == "CANCELLED"):
                raise

    def _check(self) -> None:
        if error := self._reason or self._error:
            raise error
        self.requests.finish()


def late(timeout: float) -> SpeechError:
    return SpeechError("DEADLINE_EXCEEDED", f"not all of the speech came within {timeout:g} s")


def closed() -> SpeechError:
    return SpeechError("CANCELLED", "the speech was closed before its end")
