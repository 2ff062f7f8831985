"""Text that comes in pieces, spoken by the real server while it is being written."""

import secrets
import threading
from collections.abc import Iterator
from queue import SimpleQueue

import numpy as np
import pytest
from serving import LONG, RATE, SENTENCE, SHORT, cancelled, gauges, is_speech, wait_until_free
from tritonclient.grpc import service_pb2
from waiting import HANG_S, wait_until

from tritone.launcher import TritonServer
from tritone_client import FLUSH, SpeechClient, SpeechError, Utterance
from tritone_client.request import infer_request

pytestmark = pytest.mark.server
TEXT = "Hello there, Dr. Smith. I paid 3.14 euros!\n\nIs it true?"


def test_a_sentence_is_heard_before_the_next_one_is_written(client: SpeechClient) -> None:
    heard = threading.Event()

    def pieces() -> Iterator[str]:
        yield from SENTENCE
        yield " And"
        assert heard.wait(HANG_S)
        yield " more."

    packets = []
    for samples in client.stream_text(pieces()):
        packets.append(samples)
        heard.set()
    assert len(packets) > 1 and all(map(len, packets)) and is_speech(np.concatenate(packets))


def test_the_record_is_that_of_one_request(client: SpeechClient) -> None:
    with client.begin(Utterance("Hello", seed=3), request_id="pieces", timing=True) as speech:
        for piece in TEXT.removeprefix("Hello"):
            speech.say(piece)
        speech.end()
        packets = list(speech.packets())
    record = packets[-1].timing
    assert (record["id"], record["outcome"]) == ("pieces", "ok")
    assert record["spans"][0]["text"][0] == 0 and record["spans"][-1]["text"][1] == len(TEXT)
    assert record["spans"][-1]["samples"][1] == sum(len(packet.samples) for packet in packets)
    assert not speech.cancellation


def test_flush_speaks_what_there_is(server: TritonServer, client: SpeechClient) -> None:
    before = cancelled(server)
    with client.begin() as speech:
        speech.say("Well")
        speech.say(FLUSH)
        packets = speech.packets()
        assert len(next(packets).samples)
        speech.end()
        assert all(len(packet.samples) for packet in packets)
    with client.begin(flush_after=0.05) as speech:
        speech.say("Well")
        assert len(next(speech.packets()).samples)
    wait_until(lambda: cancelled(server) == before + 1)


def test_a_cancel_says_what_was_sent(server: TritonServer, client: SpeechClient) -> None:
    before = cancelled(server)
    with client.begin(Utterance(f"{SHORT} ")) as speech:
        speech.say(f"{LONG} And so on")
        heard = 0
        for packet in speech.packets():
            heard += len(packet.samples)
            if heard > RATE:
                speech.cancel()
        sent = speech.cancellation
    assert sent.samples >= heard and 0 <= sent.text_end < len(LONG) + len(SHORT)
    assert sent.under_way is None or sent.under_way[0] >= sent.text_end
    wait_until_free(server)
    wait_until(lambda: cancelled(server) == before + 1)


def test_a_client_that_goes_away_while_it_writes(
    server: TritonServer, client: SpeechClient
) -> None:
    before = cancelled(server)
    with client.begin() as speech:
        speech.say("Unfinished")
        wait_until(lambda: gauges(server)["tritone_streams"] == 1)
    wait_until_free(server)
    wait_until(lambda: cancelled(server) == before + 1)


@pytest.mark.parametrize(
    ("pieces", "message", "reason"),
    [
        ([" "], "target_text: is empty: nothing came before its end", "NOTHING_TO_SAY"),
        (["😀"], "target_text: has nothing that this voice can speak", "NOTHING_TO_SAY"),
        (["a", "b" * 20_000], "target_text: has 20001 characters with this piece; the lim", ""),
        (["\0"], "target_text: has a NUL character", ""),
    ],
)
def test_errors(client: SpeechClient, pieces: list[str], message: str, reason: str) -> None:
    with pytest.raises(SpeechError) as raised:
        list(client.stream_text(pieces))
    assert (raised.value.status, raised.value.reason) == ("INVALID_ARGUMENT", reason)
    assert raised.value.message.startswith(message)


def ask(client: SpeechClient, *orders: dict[str, str | bool]) -> list[str]:
    """The errors that requests with these parameters, in one stream, are told, before the text that
    the first may have begun is cancelled."""
    requests: SimpleQueue[service_pb2.ModelInferRequest | None] = SimpleQueue()

    def put(order: dict[str, str | bool]) -> None:
        request = infer_request(Utterance("Hello"), client.model)
        for name, value in order.items():
            kind = "bool_param" if isinstance(value, bool) else "string_param"
            setattr(request.parameters[name], kind, value)
        requests.put(request)

    for order in orders:
        put(order)
    call = client._stubs[0].ModelStreamInfer(iter(requests.get, None), timeout=HANG_S)
    found = []
    for message in call:
        if message.error_message and not found:
            found.append(message.error_message)
            put({"text_stream": orders[0]["text_stream"], "text_cancel": True})
            requests.put(None)
    return found


def test_ids(server: TritonServer, client: SpeechClient) -> None:
    name = secrets.token_hex(16)
    first = {"text_stream": name, "text_start": True}
    assert ask(client, {"text_stream": name}) == [
        "INVALID_ARGUMENT: text_stream: no text is taken under this id, or no longer"
    ]
    assert ask(client, first, first) == [
        "INVALID_ARGUMENT: text_stream: is the id of a text that is being spoken already"
    ]
    assert ask(client, {"text_stream": "short", "text_start": True})[0].startswith(
        "INVALID_ARGUMENT: text_stream: has 5 characters; it takes 16 to 100"
    )
    other = {"text_stream": secrets.token_hex(16), "text_start": True}
    assert ask(client, {**other, "text_flush_after_ms": "x"})[0].startswith(
        "INVALID_ARGUMENT: text_flush_after_ms: is x; the limits are 1 and 60000"
    )
