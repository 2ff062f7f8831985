"""A text in pieces, as the client sends it and reads what comes back, without a server."""

import pytest
from fake_server import answer
from tritonclient.grpc import service_pb2

from tritone_client import FLUSH, Cancellation, SpeechError, Utterance
from tritone_client.text import TextRequests


def said(request: service_pb2.ModelInferRequest) -> tuple[str, dict[str, object]]:
    """The text, and the parameters that belong to it."""
    own = {
        name: getattr(value, value.WhichOneof("parameter_choice"))
        for name, value in request.parameters.items()
        if name.startswith("text_") and name != "text_stream"
    }
    return request.raw_input_contents[0][4:].decode(), own


@pytest.fixture
def requests() -> TextRequests:
    return TextRequests(Utterance("Hel", voice="joe"), "speaker", "mine", flush_after=0.25)


def test_what_is_sent(requests: TextRequests) -> None:
    assert requests.first.id == "mine"
    assert [tensor.name for tensor in requests.first.inputs] == ["target_text", "voice"]
    assert said(requests.first) == ("Hel", {"text_start": True, "text_flush_after_ms": 250})
    more = [requests.piece("lo"), requests.piece(FLUSH), requests.end(), requests.cancel()]
    assert [said(request) for request in more] == [
        ("lo", {}),
        ("", {"text_flush": True}),
        ("", {"text_end": True}),
        ("", {"text_cancel": True}),
    ]
    names = {request.parameters["text_stream"].string_param for request in (requests.first, *more)}
    assert len(names) == 1 and len(names.pop()) == 32


def test_a_whole_text_ends_where_it_starts() -> None:
    requests = TextRequests(Utterance("Hello."), "speaker", whole=True)
    assert said(requests.first) == ("Hello.", {"text_start": True, "text_end": True})
    assert said(requests.cancel()) == ("", {"text_cancel": True})


def test_packets_are_those_of_the_first_request(requests: TextRequests) -> None:
    piece = requests.piece("lo")
    assert requests.read(answer(piece, final=True)) is None
    assert len(requests.read(answer(requests.first, 3)).samples) == 3
    assert not requests.done(False)
    assert requests.read(answer(requests.first, final=True)) is None
    assert requests.done(False)
    assert requests.read(answer(piece, final=True, error="INVALID_ARGUMENT: late")) is None
    requests.finish()


def test_a_cancel_is_answered_after_the_end(requests: TextRequests) -> None:
    sent = {"samples": 7, "text": [0, 5], "under_way": {"text": 5, "sample": 3}}
    requests.read(answer(requests.first, final=True, error="CANCELLED: the caller no longer"))
    assert requests.done(False) and not requests.done(True)
    requests.read(answer(requests.cancel(), timing={"sent": sent}))
    assert requests.done(True)
    requests.finish()
    assert requests.cancellation == Cancellation(7, 5, (5, 3))


def test_an_error_is_raised_at_the_end(requests: TextRequests) -> None:
    requests.read(answer(requests.first, final=True, error="INVALID_ARGUMENT: text_stream: idle"))
    with pytest.raises(SpeechError, match="text_stream: idle"):
        requests.finish()
