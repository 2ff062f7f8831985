"""Speeches that are to end before their end, on the real server: by a request, and by RPCs that
are cut off."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from serving import (
    LONGEST,
    RATE,
    SENTENCE,
    SHORT,
    cancelled,
    ended,
    gauges,
    is_speech,
    tensors,
    wait_until_free,
)
from tritonclient.grpc import service_pb2, service_pb2_grpc
from waiting import HANG_S, wait_until

from soak.cancels import WAYS
from tritone.launcher import TritonServer
from tritone.launcher.model_processes import model_processes
from tritone.triton_models import FLOW, VOCODER
from tritone_client import SpeechClient, Utterance
from tritone_client.request import infer_request
from tritone_client.response import ResponseReader
from tritone_client.sync import CHANNEL_OPTIONS

pytestmark = pytest.mark.server
WHOLE = {"text_start": True, "text_end": True}
REFUSED = "CANCELLED: the caller no longer wants the audio"


class Stream:
    """One gRPC stream, and what its requests were answered, by their id."""

    def __init__(self, stub: service_pb2_grpc.GRPCInferenceServiceStub, model: str) -> None:
        self._model = model
        self._requests: SimpleQueue[service_pb2.ModelInferRequest | None] = SimpleQueue()
        self._responses = stub.ModelStreamInfer(iter(self._requests.get, None), timeout=HANG_S)
        self.samples: dict[str, list[np.ndarray]] = {}
        self.errors: dict[str, str] = {}
        self.records: dict[str, dict[str, Any]] = {}
        self.over: set[str] = set()

    def asked(
        self, name: str, text: str = "", **orders: str | bool
    ) -> service_pb2.ModelInferRequest:
        request = infer_request(Utterance(text, seed=1), self._model, name, "text_cancel" in orders)
        for order, value in orders.items():
            kind = "bool_param" if isinstance(value, bool) else "string_param"
            setattr(request.parameters[order], kind, value)
        return request

    def put(self, *requests: service_pb2.ModelInferRequest) -> None:
        for request in requests:
            self._requests.put(request)

    def send(self, name: str, text: str = "", **orders: str | bool) -> None:
        self.put(self.asked(name, text, **orders))

    def speak(self, request: str, text: str, name: str | None = None) -> str:
        """Returns the id of the speech."""
        name = name or secrets.token_hex(16)
        self.send(request, text, text_stream=name, **WHOLE)
        return name

    def cancel(self, request: str, name: str) -> None:
        self.send(request, text_stream=name, text_cancel=True)

    def read_until(self, done: Callable[[], bool]) -> None:
        while not done():
            message = next(self._responses)
            response = message.infer_response
            if message.error_message:
                self.errors[response.id] = message.error_message
            elif packet := ResponseReader().feed(message):
                if len(packet.samples):
                    self.samples.setdefault(response.id, []).append(packet.samples)
                if packet.timing:
                    self.records[response.id] = packet.timing
            if response.parameters["triton_final_response"].bool_param:
                assert response.id not in self.over, "one FINAL"
                self.over.add(response.id)

    def read_to_end(self, *requests: str) -> None:
        self.read_until(lambda: set(requests) <= self.over)

    def close(self) -> None:
        self._requests.put(None)
        assert not list(self._responses), "nothing is spoken any more"


@pytest.fixture
def stream(server: TritonServer, client: SpeechClient) -> Iterator[Stream]:
    wait_until_free(server)
    with grpc.insecure_channel(server.urls.grpc, options=CHANNEL_OPTIONS) as channel:
        stream = Stream(service_pb2_grpc.GRPCInferenceServiceStub(channel), client.model)
        yield stream
        stream.close()


def test_one_of_two_speeches_ends_and_the_stream_speaks_again(
    server: TritonServer, stream: Stream
) -> None:
    counts = cancelled(server), ended(server, "ok")
    name = stream.speak("one", LONGEST)
    stream.speak("two", SENTENCE)
    stream.read_until(lambda: {"one", "two"} <= stream.samples.keys())
    stream.cancel("stop", name)
    stream.read_to_end("one", "two", "stop")
    assert stream.errors == {"one": REFUSED}
    assert is_speech(np.concatenate(stream.samples["two"]))
    record = stream.records["stop"]
    heard = sum(map(len, stream.samples["one"]))
    assert (record["id"], record["outcome"]) == ("one", "cancelled")
    assert record["sent"]["samples"] == heard < 60 * RATE
    stream.speak("three", SHORT, name)  # an id is free once its speech has ended
    stream.read_to_end("three")
    assert is_speech(np.concatenate(stream.samples["three"]))
    wait_until(lambda: (cancelled(server), ended(server, "ok")) == (counts[0] + 1, counts[1] + 2))


def test_nothing_is_held_once_a_cancel_is_answered(server: TritonServer, stream: Stream) -> None:
    name = stream.speak("one", LONGEST)
    stream.read_until(lambda: "one" in stream.samples)
    wait_until(lambda: gauges(server)["tritone_streams"] == 1)
    stream.cancel("stop", name)
    stream.read_to_end("one", "stop")
    wait_until_free(server)


def test_a_speech_that_has_not_begun_ends_too(server: TritonServer, stream: Stream) -> None:
    before, name = cancelled(server), secrets.token_hex(16)
    speech = stream.asked("one", LONGEST, text_stream=name, **WHOLE)
    stream.put(speech, stream.asked("stop", text_stream=name, text_cancel=True))
    stream.read_to_end("one", "stop")
    assert stream.errors == {"one": REFUSED}
    heard = sum(map(len, stream.samples.get("one", ())))  # it may begin in between all the same
    assert stream.records["stop"]["sent"]["samples"] == heard < 60 * RATE
    wait_until(lambda: cancelled(server) == before + 1)


def test_a_cancel_of_nothing_is_answered_with_nothing(server: TritonServer, stream: Stream) -> None:
    before = cancelled(server)
    name = stream.speak("one", SHORT)
    stream.read_to_end("one")
    stream.cancel("stop", name)
    stream.cancel("unknown", secrets.token_hex(16))
    stream.cancel("short", "x")
    stream.read_to_end("stop", "unknown", "short")
    assert not stream.errors and not stream.records
    assert cancelled(server) == before


def test_a_whole_text_takes_no_more_of_it_and_shares_its_id_with_none(stream: Stream) -> None:
    name = stream.speak("one", SENTENCE)
    stream.speak("again", SHORT, name)
    stream.send("piece", "More.", text_stream=name)
    stream.read_to_end("one", "again", "piece")
    assert stream.errors == {
        "again": "INVALID_ARGUMENT: text_stream: is the id of a text that is being spoken already",
        "piece": "INVALID_ARGUMENT: text_stream: no text is taken under this id, or no longer",
    }
    assert is_speech(np.concatenate(stream.samples["one"]))


def test_a_whole_text_is_one_with_an_id_and_without(stream: Stream) -> None:
    """That it may be cancelled is no reason to cut it into other segments."""
    text = f"{SENTENCE} {SHORT}"
    stream.send("plain", text)
    stream.speak("named", text)
    stream.read_to_end("plain", "named")
    plain, named = (np.concatenate(stream.samples[name]) for name in ("plain", "named"))
    assert len(plain) == len(named)


def test_models_see_which_streams_are_given_up(server: TritonServer) -> None:
    """On a page that they share with the public model."""
    pages = {}
    for model, pids in model_processes(server.pid).items():
        maps = Path(f"/proc/{pids[0]}/maps").read_text().splitlines()
        pages[model] = {line.split()[4] for line in maps if "memfd:unwanted" in line}
    (page,) = pages["cosyvoice2"]
    assert pages[FLOW] == pages[VOCODER] == {page}, "the same inode"


def test_a_client_that_knows_tritonclient_alone(server: TritonServer, client: SpeechClient) -> None:
    before, answers = cancelled(server), SimpleQueue()
    name = secrets.token_hex(16)
    with triton.InferenceServerClient(server.urls.grpc) as raw:
        raw.start_stream(lambda result, error: answers.put((result, error)))

        def send(text: str, **orders: str | bool) -> None:
            said = tensors({"target_text": np.array([[text.encode()]], np.object_)})
            raw.async_stream_infer(client.model, said, parameters={"text_stream": name, **orders})

        send(LONGEST, text_start=True, text_end=True)
        assert is_speech(answers.get(timeout=HANG_S)[0].as_numpy("waveform"))
        send("", text_cancel=True)
        while not (error := answers.get(timeout=HANG_S)[1]):
            pass
        assert error.message() == REFUSED
        assert answers.get(timeout=HANG_S)[0].as_numpy("timing") is not None
        raw.stop_stream()
    wait_until(lambda: cancelled(server) == before + 1)


@pytest.mark.parametrize("leave", WAYS.values(), ids=WAYS)
def test_however_it_is_left_everything_is_freed(
    server: TritonServer, leave: Callable[[str], float]
) -> None:
    before = cancelled(server)
    leave(server.urls.grpc)
    wait_until_free(server)
    wait_until(lambda: cancelled(server) == before + 1)
