"""Triton's own HTTP endpoints for clients without gRPC: what they get, and how errors look."""

import json

import numpy as np
import pytest
from http_speech import events, post
from serving import RATE, SHORT, is_speech

from tritone.launcher import TritonServer

pytestmark = pytest.mark.server


def test_generate_gives_the_whole_utterance(server: TritonServer) -> None:
    status, _, text = post(server, "generate", target_text=SHORT, streaming=False)
    assert status == 200
    assert is_speech(np.array(json.loads(text)["waveform"], np.float32))


def test_generate_cannot_stream_and_says_so_with_status_200(server: TritonServer) -> None:
    """The answer is Triton's own, so that a client must look at the body."""
    status, _, text = post(server, "generate", target_text=SHORT)
    answer = json.loads(text)
    assert status == 200 and "waveform" not in answer
    assert answer["error"].startswith("generate expects model to produce exactly 1 response")


def test_generate_stream_gives_packets(server: TritonServer) -> None:
    status, kind, text = post(server, "generate_stream", target_text=SHORT)
    assert (status, kind.partition(";")[0]) == (200, "text/event-stream")
    packets = events(text)
    assert len(packets) > 1
    wave = np.concatenate([np.array(packet["waveform"], np.float32) for packet in packets])
    assert is_speech(wave) and len(wave) > RATE // 2


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"target_text": SHORT, "speed": 9}, "speed: is 9.0; the limits are 0.5 and 2.0"),
        ({"target_text": ""}, "target_text: is empty; give at least one word to speak"),
        ({"target_text": SHORT, "voice": "nobody"}, "voice: 'nobody' is not registered; "),
    ],
)
@pytest.mark.parametrize("streaming", [True, False])
def test_a_bad_request_has_status_400_and_its_error_alone(
    server: TritonServer, body: dict, error: str, streaming: bool
) -> None:
    status, _, text = post(server, "generate", **body, streaming=streaming)
    assert (status, list(json.loads(text))) == (400, ["error"])
    assert json.loads(text)["error"].startswith(f"INVALID_ARGUMENT: {error}")
    status, _, text = post(server, "generate_stream", **body, streaming=streaming)
    (event,) = events(text)
    assert (status, list(event)) == (400, ["error"])
    assert event["error"].startswith(f"INVALID_ARGUMENT: {error}")
