"""When each segment of a text is heard, as the real server tells it."""

import base64
import json
from itertools import pairwise
from typing import Any

import httpx
import pytest
from decoding import decoded
from gateways import RunningGateway
from serving import RATE
from waiting import HANG_S

pytestmark = pytest.mark.server

TEXT = "The birch canoe slid on the planks.\n\nIt is 5 < 6 & so on. A third sentence is here."
LONG = f"{TEXT}\n\n{TEXT}\n\n{TEXT}"
BODY: dict[str, Any] = {"model": "tts-1", "voice": "joe", "input": TEXT, "seed": 7}


def times(gateway: RunningGateway, **changed: Any) -> httpx.Response:
    return httpx.post(f"{gateway.speech}/times", json={**BODY, **changed}, timeout=HANG_S)


def check(segments: list[dict[str, Any]], samples: int, rate: int = RATE, text: str = TEXT) -> None:
    """They cover the text, one after the other, and their sound to its end."""
    assert len(segments) > 1
    assert "".join(segment["text"] for segment in segments) == text
    assert [s["id"] for s in segments] == list(range(len(segments)))
    assert segments[0]["text_span"][0] == 0 and segments[-1]["text_span"][1] == len(text)
    edges = [edge for segment in segments for edge in segment["samples"]]
    assert edges == sorted(edges) and edges[-1] == samples
    for segment in segments:
        first, last = segment["samples"]
        assert first < last and segment["end"] == pytest.approx(last / rate, abs=0.0006)
    assert all(a["text_span"][1] == b["text_span"][0] for a, b in pairwise(segments))


@pytest.mark.parametrize("speed", [1.0, 1.25])
def test_events_tell_segments_as_they_are_known(gateway: RunningGateway, speed: float) -> None:
    body = {**BODY, "input": LONG, "response_format": "pcm", "stream_format": "sse", "speed": speed}
    body["timestamp_granularities"] = ["segment"]
    lines = httpx.post(gateway.speech, json=body, timeout=HANG_S).text.split("\n\n")
    events = [
        json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")
    ]
    told = [event["segment"] for event in events if event["type"] == "speech.audio.segment"]
    assert events[-1]["segments"] == told
    deltas = [e["audio"] for e in events if e["type"] == "speech.audio.delta"]
    check(told, sum(len(base64.b64decode(audio)) for audio in deltas) // 2, text=LONG)
    kinds = [event["type"] for event in events]
    last_sound = len(kinds) - 1 - kinds[::-1].index("speech.audio.delta")
    assert kinds.index("speech.audio.segment") < last_sound, "not all at the end"


def test_without_being_asked_events_tell_none(gateway: RunningGateway) -> None:
    body = {**BODY, "stream_format": "sse"}
    assert "segment" not in httpx.post(gateway.speech, json=body, timeout=HANG_S).text


@pytest.mark.parametrize("rate", [RATE, 16000])
def test_json_with_sound(gateway: RunningGateway, rate: int) -> None:
    answer = times(gateway, include_audio=True, response_format="flac", sample_rate=rate)
    told = answer.json()
    assert answer.headers["X-Tritone-Voice"] == "joe"
    assert (told["sample_rate"], told["format"]) == (rate, "flac")
    check(told["segments"], told["samples"], rate)
    sound = decoded(base64.b64decode(told["audio"]), rate)
    assert abs(len(sound) - told["samples"]) <= (0 if rate == RATE else 64)
    assert told["duration"] == pytest.approx(len(sound) / rate, abs=0.01)
    assert told["usage"]["input_tokens"] == len(TEXT) and told["usage"]["output_tokens"] > 10


def test_subtitles_are_those_segments(gateway: RunningGateway) -> None:
    told = times(gateway).json()
    assert "audio" not in told
    subtitles = times(gateway, format="vtt")
    assert subtitles.headers["content-type"] == "text/vtt; charset=utf-8"
    head, *cues = subtitles.text.rstrip("\n").split("\n\n")
    assert head == "WEBVTT" and len(cues) == len(told["segments"])
    assert any("5 &lt; 6 &amp; so on." in cue for cue in cues)
    plain = times(gateway, format="srt")
    assert plain.headers["content-type"] == "application/x-subrip; charset=utf-8"
    assert "5 < 6 & so on." in plain.text
    number, span, words = plain.text.split("\n")[:3]
    assert (number, words) == ("1", " ".join(told["segments"][0]["text"].split()))
    end = told["segments"][0]["end"]
    assert span == f"00:00:00,000 --> 00:00:{end:06.3f}".replace(".", ",")


@pytest.mark.parametrize(
    ("path", "changed", "said"),
    [
        ("", {"timestamp_granularities": ["segment"]}, "ask with stream_format sse, or POST"),
        ("", {"timestamp_granularities": ["word"], "stream_format": "sse"}, "times of words"),
        ("/times", {"timestamp_granularities": ["word"]}, "no model here tells the times of words"),
        ("/times", {"stream_format": "sse"}, "stream_format: is sse"),
        ("/times", {"format": "srt", "include_audio": True}, "srt has no place for sound"),
        ("/times", {"format": "ass"}, "'json', 'srt' or 'vtt'"),
        ("/times", {"input": "🙂"}, "input: "),
        ("/times", {"voice": "nobody"}, "is not registered"),
    ],
)
def test_what_is_refused(
    gateway: RunningGateway, path: str, changed: dict[str, Any], said: str
) -> None:
    answer = httpx.post(f"{gateway.speech}{path}", json={**BODY, **changed}, timeout=HANG_S)
    assert answer.status_code in (400, 404) and said in answer.json()["error"]["message"]
