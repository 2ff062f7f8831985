"""The blocking client."""

import threading
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, closing
from functools import cached_property
from weakref import WeakSet

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

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
from tritone_client.text import NO_TEXT, Flush, TextRequests
from tritone_client.tls import Tls

DEFAULT_URL = "127.0.0.1:8001"
DEFAULT_TIMEOUT = 300.0  # seconds for one whole utterance
ASK_TIMEOUT = 10.0  # seconds for one question about the server's models

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
]


class SpeechClient(AbstractContextManager["SpeechClient"]):
    """Speaks utterances through one gRPC channel; any number of threads may share it.

    Every utterance has a gRPC stream of its own, closed when it ends: an open idle stream would
    hold back a model's unloading and the server's exit.

    model: the Triton model that speaks. None takes the public model that the server has ready; it
        is asked for once, when it is first needed.
    tls: None speaks plain text. Its files are read at once: OSError, or ValueError.
    """

    def __init__(
        self, url: str = DEFAULT_URL, model: str | None = None, tls: Tls | None = None
    ) -> None:
        self._url, self._named, self._tls = url, model, tls
        if tls is None:
            self._channel = grpc.insecure_channel(url, options=CHANNEL_OPTIONS)
        else:
            self._channel = grpc.secure_channel(url, tls.credentials(), options=CHANNEL_OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._speeches: WeakSet[LiveSpeech] = WeakSet()  # each lives as long as it is spoken
        self._begins = threading.Lock()

    @cached_property
    def model(self) -> str:
        """The Triton model that speaks. Raises SpeechError where no public model is ready."""
        if self._named is not None:
            return self._named
        every = service_pb2.ModelStatisticsRequest()
        with from_grpc(self._tls):
            answer = self._stub.ModelStatistics(every, timeout=ASK_TIMEOUT)
        answers = []
        for name in ready(answer):
            with unless_gone():
                answers.append(self._configuration(name))
        return public_model(self._url, answers)

    @cached_property
    def sample_rate(self) -> int:
        """Samples a second; SpeechError where the model's configuration does not say."""
        return rate_of(self.model, self._configuration(self.model))

    @cached_property
    def emotions(self) -> tuple[str, ...]:
        """Names of the model's emotions, in the order of the shares of `Emotion.vector`; none of a
        model without. Raises SpeechError."""
        return emotions_of(self._configuration(self.model))

    def voices(self) -> list[str]:
        """Ids of the voices that are registered with the server, its model's own first. Raises
        SpeechError."""
        request, reader = voices_request(self.model), VoicesReader()
        call = self._stub.ModelStreamInfer(iter([request]), timeout=ASK_TIMEOUT)
        with from_grpc(self._tls):
            for message in call:
                reader.feed(message)
        return reader.end()

    def is_ready(self) -> bool:
        """Whether the server has all its models ready; False for none that answers."""
        try:
            with from_grpc(self._tls):
                question = service_pb2.ServerReadyRequest()
                return bool(self._stub.ServerReady(question, timeout=ASK_TIMEOUT).ready)
        except SpeechError:
            return False

    def _configuration(self, model: str) -> service_pb2.ModelConfigResponse:
        question = service_pb2.ModelConfigRequest(name=model)
        with from_grpc(self._tls):
            return self._stub.ModelConfig(question, timeout=ASK_TIMEOUT)

    def stream(
        self, utterance: Utterance, *, timeout: float | None = DEFAULT_TIMEOUT, request_id: str = ""
    ) -> Generator[NDArray[np.float32], None, None]:
        """Yield (n,) float32 samples at `sample_rate` as they arrive.

        Closing the generator (or breaking out of the loop that holds its only reference) stops the
        utterance on the server and waits for that. Raises SpeechError; after `timeout` s
        DEADLINE_EXCEEDED.
        """
        with closing(self.packets(utterance, timeout=timeout, request_id=request_id)) as packets:
            for packet in packets:
                yield packet.samples

    def packets(
        self,
        utterance: Utterance,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        request_id: str = "",
        timing: bool = False,
    ) -> Generator[Packet, None, None]:
        """As `stream`, but yield packets; with `timing` they carry the server's timing record."""
        requests = TextRequests(utterance, self.model, request_id, timing=timing, whole=True)
        with closing(self._begun(requests, timeout).packets()) as packets:
            yield from packets

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
        comes first.
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
        """Close the channel; utterances still running end with CANCELLED, at the server first."""
        with self._begins:
            speeches = list(self._speeches)
        for speech in speeches:
            speech.stop()
        for speech in speeches:
            speech.close()
        self._channel.close()

    def _begun(self, requests: TextRequests, timeout: float | None) -> LiveSpeech:
        speech = LiveSpeech(self._stub, requests, timeout, self._tls)
        with self._begins:
            self._speeches.add(speech)
        return speech

    def __exit__(self, *_: object) -> None:
        self.close()
