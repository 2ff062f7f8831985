"""What the clients keep of one speech, and what becomes of it when it goes wrong."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator

import pytest
from fake_server import MODEL, FakeServer, answer, listening
from tritonclient.grpc import service_pb2
from waiting import HANG_S

from tritone_client import AsyncSpeechClient, SpeechClient, SpeechError, Utterance, live
from tritone_client.exchange import MOST_KEPT, MOST_WAITING, Exchange
from tritone_client.text import TextRequests

SAID = Utterance("one two")


def begun(*, whole: bool = True) -> Exchange:
    return Exchange(TextRequests(SAID, MODEL, whole=whole))


def test_what_nobody_takes_waits_at_the_server() -> None:
    speech = begun()
    for _ in range(MOST_KEPT):
        assert speech.may_read
        speech.read(answer(speech.requests.first, 3))
    assert not speech.may_read
    speech.next_packet()
    assert speech.may_read


def test_pieces_that_are_not_sent_hold_up_who_writes() -> None:
    speech = begun(whole=False)
    for _ in range(MOST_WAITING - 1):  # the first request waits too
        assert speech.has_room
        speech.order(speech.requests.piece("a"))
    assert not speech.has_room
    speech.stop()
    assert speech.has_room


def test_a_cancel_gives_nothing_of_what_is_all_there() -> None:
    speech = begun()
    speech.read(answer(speech.requests.first, 3))
    speech.read(answer(speech.requests.first, final=True))
    speech.stop()
    speech.end()
    assert speech.next_packet() is None
    speech.check()


def test_what_was_spoken_in_time_is_not_lost_to_a_close() -> None:
    speech = begun()
    speech.read(answer(speech.requests.first, 3))
    speech.read(answer(speech.requests.first, final=True))
    speech.stop(SpeechError("CANCELLED", "closed"))
    assert speech.next_packet() is not None


def test_no_id_of_a_request_has_the_secret() -> None:
    requests = TextRequests(SAID, MODEL)
    secret = requests.first.parameters["text_stream"].string_param
    for request in (requests.first, requests.piece("a"), requests.end(), requests.cancel()):
        assert secret not in request.id
        assert request.parameters["text_stream"].string_param == secret


class Garbled(FakeServer):
    """Its record is none."""

    def ModelStreamInfer(
        self, requests: Iterator[service_pb2.ModelInferRequest], context: object
    ) -> Iterator[service_pb2.ModelStreamInferResponse]:
        message = answer(next(requests), timing={})
        message.infer_response.raw_output_contents[0] = b"\x01\0\0\0{"
        yield message
        for _ in requests:
            pass


def test_an_answer_that_cannot_be_read_is_told_as_it_is() -> None:
    with listening(Garbled()) as url:
        with SpeechClient(url, MODEL) as client, pytest.raises(ValueError, match="Expecting"):
            client.speak(SAID)

        async def speak() -> None:
            async with AsyncSpeechClient(url, MODEL) as client:
                await client.speak(SAID)

        with pytest.raises(ValueError, match="Expecting"):
            asyncio.run(speak())


def test_the_garbage_collector_may_close_packets_in_the_thread_that_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are in a cycle then, and it runs wherever memory is wanted."""
    server, read = FakeServer(), Exchange.read
    kept: list[object] = []
    gone: list[bool] = []

    def collecting(self: Exchange, message: service_pb2.ModelStreamInferResponse) -> None:
        read(self, message)
        if kept and threading.current_thread().name == "speech":
            kept.clear()
            gc.collect()
            gone.append(closed() is None)

    monkeypatch.setattr(Exchange, "read", collecting)
    with listening(server) as url, SpeechClient(url, MODEL) as client:
        packets = client.packets(SAID)
        next(packets)
        closed = weakref.ref(packets)
        cycle: list[object] = [packets]
        cycle.append(cycle)
        kept.append(cycle)
        del packets, cycle
        client.close()  # the answer to it is read there
    assert gone == [True]
    assert server.ends.get(timeout=HANG_S) == "closed"


def test_all_speeches_of_a_client_are_told_to_end_before_one_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    for name in ("stop", "close"):
        old = getattr(live.LiveSpeech, name)

        def noted(self: live.LiveSpeech, name: str = name, old: object = old) -> None:
            told.append(name)
            old(self)  # type: ignore[operator]

        monkeypatch.setattr(live.LiveSpeech, name, noted)
    with listening(FakeServer()) as url:
        client = SpeechClient(url, MODEL)
        speeches = [client.begin(SAID) for _ in range(3)]
        client.close()
    assert told[:4] == ["stop", "stop", "stop", "close"] and len(speeches) == 3
