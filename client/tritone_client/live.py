"""The blocking client's way to speak a text while it is being written."""

import threading
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, suppress
from queue import Full, Queue

from tritonclient.grpc import service_pb2, service_pb2_grpc

from tritone_client.response import Cancellation, Packet, from_grpc
from tritone_client.text import Flush, TextRequests
from tritone_client.tls import Tls

_MOST_WAITING = 1000  # pieces that are not sent yet; whoever has more waits
_LOOK_S = 0.1  # for the end, while one waits


class LiveSpeech(AbstractContextManager["LiveSpeech"]):
    """A text that is being spoken. One thread reads `packets`, any may call the other methods.

    Leaving the context ends it at once, without a report; `cancel` says what was heard. Once it has
    ended, what is said to it goes nowhere.
    """

    def __init__(
        self,
        stub: service_pb2_grpc.GRPCInferenceServiceStub,
        requests: TextRequests,
        timeout: float | None,
        tls: Tls | None,
    ) -> None:
        self._requests, self._tls, self._cancelled = requests, tls, False
        self._over = threading.Event()
        self._sending: Queue[service_pb2.ModelInferRequest | None] = Queue(_MOST_WAITING)
        self._sending.put(requests.first)
        self._call = stub.ModelStreamInfer(iter(self._sending.get, None), timeout=timeout)
        self._call.add_callback(self._over.set)

    @property
    def cancellation(self) -> Cancellation | None:
        """After `cancel`, once `packets` has ended; None too where the speech had ended before."""
        return self._requests.cancellation

    @property
    def over(self) -> bool:
        """Whether it takes nothing more."""
        return self._over.is_set()

    def say(self, piece: str | Flush) -> None:
        """More of the text, or FLUSH. Waits while many pieces have not been sent yet."""
        self._send(self._requests.piece(piece))

    def end(self) -> None:
        """There is no more text."""
        self._send(self._requests.end())

    def cancel(self) -> None:
        """Stop speaking: `packets` ends without an error and gives nothing that comes later."""
        self._cancelled = True
        self._send(self._requests.cancel())

    def packets(self) -> Generator[Packet, None, None]:
        """What is spoken, until the text has ended; once. Raises SpeechError."""
        try:
            with from_grpc(self._tls):
                for message in self._call:
                    packet = self._requests.read(message)
                    if packet is not None and not self._cancelled:
                        yield packet
                    if self._requests.done(self._cancelled):
                        self._send(None)  # and the server ends the stream
            self._requests.finish()
        finally:
            self.close()

    def close(self) -> None:
        self._over.set()
        with suppress(Full):  # then nobody waits for what comes
            self._sending.put_nowait(None)
        self._call.cancel()  # nothing to cancel where the stream ran to its end

    def _send(self, request: service_pb2.ModelInferRequest | None) -> None:
        while not self.over:
            with suppress(Full):
                return self._sending.put(request, timeout=_LOOK_S)

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
        raise failed[0]
