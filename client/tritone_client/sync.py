"""The blocking client."""

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, closing, suppress
from functools import cached_property, partial
from typing import TypeVar
from weakref import WeakSet

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tritone_client.attempts import Attempts, Patience, question
from tritone_client.exchange import closed
from tritone_client.live import LiveSpeech, spoken
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
from tritone_client.text import NO_TEXT, Flush, TextRequests
from tritone_client.tls import Tls

Answer = TypeVar("Answer")
Retried = Callable[[SpeechError], object]
DEFAULT_TIMEOUT = 300.0  # seconds for one whole utterance

CHANNEL_OPTIONS = [
    # gRPC's own limit of 4 MiB is 43 s of audio in one packet.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A connection of its own: gRPC shares one among all channels of a process to one address, and
    # while a stream goes on in it, nobody gets to the server that has taken the place of its own.
    ("grpc.use_local_subchannel_pool", 1),
    # A server that was started again is found soon; gRPC's own pauses grow to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A machine that does not answer at all is given up after this, in the place of 20 s.
    ("grpc.min_reconnect_backoff_ms", 5000),
]


class SpeechClient(AbstractContextManager["SpeechClient"]):
    """Speaks utterances, through one gRPC channel to each server; any threads may share it.

    Every utterance has a gRPC stream of its own, closed when it ends: an open idle stream would
    hold back a model's unloading and the server's exit.

    url: host:port of one server, or of several of one model: with commas between, or a sequence.
        Each utterance begins at the next that is not left out for having failed.
    model: the Triton model that speaks. None takes the public model that the server has ready; it
        is asked for once, when it is first needed.
    tls: None speaks plain text. Its files are read at once: OSError, or ValueError.
    retries: how often a request is asked again, with pauses, where no server is there, or it
        refuses for now; None asks each further server once. resume: also in the middle of a speech,
        which goes on where it was lost; one server is then asked again once at least.
    """

    def __init__(
        self,
        url: str | Sequence[str] = DEFAULT_URL,
        model: str | None = None,
        tls: Tls | None = None,
        *,
        retries: int | None = None,
        resume: bool = False,
    ) -> None:
        urls, self._named, self._tls = addresses(url), model, tls
        self._patience, self._servers = Patience(retries, resume), Servers(urls)
        self._url = ",".join(urls)
        if tls is None:
            self._channels = [grpc.insecure_channel(u, options=CHANNEL_OPTIONS) for u in urls]
        else:
            own = tls.credentials()
            self._channels = [grpc.secure_channel(u, own, options=CHANNEL_OPTIONS) for u in urls]
        self._stubs = [service_pb2_grpc.GRPCInferenceServiceStub(c) for c in self._channels]
        self._speeches: WeakSet[LiveSpeech] = WeakSet()  # each lives as long as it is spoken
        self._begins, self._closed = threading.Lock(), threading.Event()

    @property
    def model(self) -> str:
        """The Triton model that speaks. Raises SpeechError where no public model is ready."""
        return self._model_within(None)

    def _model_within(self, timeout: float | None) -> str:
        if self._named is None:
            self._named = self._asked(self._public_model, timeout)
        return self._named

    @cached_property
    def sample_rate(self) -> int:
        """Samples a second; SpeechError where the model's configuration does not say."""
        return rate_of(self.model, self._configuration())

    @cached_property
    def emotions(self) -> tuple[str, ...]:
        """Names of the model's emotions, in the order of the shares of `Emotion.vector`; none of a
        model without. Raises SpeechError."""
        return emotions_of(self._configuration())

    def voices(self) -> list[str]:
        """Ids of the voices that are registered with the server, its model's own first. Raises
        SpeechError."""
        request = voices_request(self.model)

        def ask(stub: service_pb2_grpc.GRPCInferenceServiceStub, limit: float) -> list[str]:
            reader = VoicesReader()
            for message in stub.ModelStreamInfer(iter([request]), timeout=limit):
                reader.feed(message)
            return reader.end()

        return self._asked(ask)

    def is_ready(self) -> bool:
        """Whether a server has all its models ready; False where none answers."""
        asked = service_pb2.ServerReadyRequest()
        for stub in self._stubs:
            with suppress(SpeechError), question() as limit, from_grpc(self._tls):
                if stub.ServerReady(asked, timeout=limit).ready:
                    return True
        return False

    def _configuration(self) -> service_pb2.ModelConfigResponse:
        asked = service_pb2.ModelConfigRequest(name=self.model)
        return self._asked(lambda stub, limit: stub.ModelConfig(asked, timeout=limit))

    def _public_model(self, stub: service_pb2_grpc.GRPCInferenceServiceStub, limit: float) -> str:
        every = stub.ModelStatistics(service_pb2.ModelStatisticsRequest(), timeout=limit)
        answers = []
        for name in ready(every):
            asked = service_pb2.ModelConfigRequest(name=name)
            with unless_gone(), from_grpc(self._tls):
                answers.append(stub.ModelConfig(asked, timeout=limit))
        return public_model(self._url, answers)

    def _asked(
        self,
        ask: Callable[[service_pb2_grpc.GRPCInferenceServiceStub, float], Answer],
        timeout: float | None = None,
    ) -> Answer:
        """What a server answers, the next one where one does not."""
        attempts = Attempts(self._servers, self._patience, timeout)
        while True:
            for seconds in attempts.pauses():
                self._wait(seconds)
            with (
                attempts.next() as server,
                self._servers.asked(server, lambda: False),
                question(attempts.left) as limit,
                from_grpc(self._tls),
            ):
                return ask(self._stubs[server], limit)

    def _wait(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise closed()

    def stream(
        self,
        utterance: Utterance,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        request_id: str = "",
        on_retry: Retried = lambda _: None,
    ) -> Generator[NDArray[np.float32], None, None]:
        """Yield (n,) float32 samples at `sample_rate` as they arrive.

        Closing the generator (or breaking out of the loop that holds its only reference) stops the
        utterance on the server and waits for that. Raises SpeechError; after `timeout` s, retries
        included, DEADLINE_EXCEEDED. on_retry: called with the error that is not raised because the
        utterance is asked for again.
        """
        packets = self.packets(utterance, timeout=timeout, request_id=request_id, on_retry=on_retry)
        with closing(packets):
            for packet in packets:
                yield packet.samples

    def packets(
        self,
        utterance: Utterance,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        request_id: str = "",
        timing: bool = False,
        on_retry: Retried = lambda _: None,
    ) -> Generator[Packet, None, None]:
        """As `stream`, but yield packets; with `timing` they carry the server's timing record."""
        attempts = Attempts(self._servers, self._patience, timeout, on_retry)
        said, model = self._patience.seeded(utterance), self._model_within(timeout)
        while not attempts.over:
            for seconds in attempts.pauses():
                self._wait(seconds)
            with attempts.next() as server:
                requests = TextRequests(said, model, request_id, timing=timing, whole=True)
                speech = self._begun(requests, timeout, server, attempts.began)
                with closing(speech.packets()) as packets:
                    for came in packets:
                        if packet := attempts.joint.take(came):
                            yield packet
        if rest := attempts.joint.rest():
            yield rest

    def begin(
        self,
        utterance: Utterance = NO_TEXT,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        request_id: str = "",
        timing: bool = False,
        flush_after: float | None = None,
        text_mode: str | None = None,
    ) -> LiveSpeech:
        """Speak a text while it is being written: say its pieces to what this returns.

        Every sentence is spoken as soon as it is complete, after FLUSH what there is, and likewise
        after `flush_after` seconds without a piece. text_mode: "interleaved" speaks while a
        sentence is being written, "auto" where the model can. utterance: how to speak; its text
        comes first. It is begun at the next good server, and is not asked for again.
        """
        requests = TextRequests(
            utterance,
            self.model,
            request_id,
            timing=timing,
            flush_after=flush_after,
            text_mode=text_mode,
        )
        return self._begun(requests, timeout)

    def stream_text(
        self,
        pieces: Iterable[str | Flush],
        utterance: Utterance = NO_TEXT,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        request_id: str = "",
        flush_after: float | None = None,
        text_mode: str | None = None,
    ) -> Generator[NDArray[np.float32], None, None]:
        """As `stream`, of a text in pieces, which are read in a thread; see `begin`."""
        speech = self.begin(
            utterance,
            timeout=timeout,
            request_id=request_id,
            flush_after=flush_after,
            text_mode=text_mode,
        )
        with closing(spoken(speech, pieces)) as packets:
            for packet in packets:
                yield packet.samples

    def speak(
        self, utterance: Utterance, *, timeout: float | None = DEFAULT_TIMEOUT
    ) -> NDArray[np.float32]:
        """The whole utterance, (n,) float32 at `sample_rate`."""
        parts = list(self.stream(utterance, timeout=timeout))
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def close(self) -> None:
        """Close the channels; utterances still running end with CANCELLED, at the server first."""
        with self._begins:
            self._closed.set()
            speeches = list(self._speeches)
        for speech in speeches:
            speech.stop()
        for speech in speeches:
            speech.close()
        for channel in self._channels:
            channel.close()

    def _begun(
        self,
        requests: TextRequests,
        timeout: float | None,
        server: int | None = None,
        since: float | None = None,
    ) -> LiveSpeech:
        server = self._servers.choose() if server is None else server
        asked = partial(self._servers.asked, server)
        with self._begins:
            if self._closed.is_set():  # and maybe the channels are
                raise closed()
            speech = LiveSpeech(self._stubs[server], requests, timeout, self._tls, asked, since)
            self._speeches.add(speech)
        return speech

    def __exit__(self, *_: object) -> None:
        self.close()
