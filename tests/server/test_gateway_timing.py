"""Events that carry the server's timing record, from the real server."""

import base64
import json
from typing import Any

import httpx
import pytest
from gateways import RunningGateway
from serving import RATE, SENTENCE, SHORT
from waiting import HANG_S

from tritone.synthesis.timing import PARTS

pytestmark = pytest.mark.server

TEXT = f"{SENTENCE} {SHORT} {SENTENCE}"


def events(gateway: RunningGateway, **more: Any) -> list[dict[str, Any]]:
    body = {"model": "tts-1", "input": TEXT, "response_format": "pcm", "stream_format": "sse"}
    answer = httpx.post(gateway.speech, json={**body, **more}, timeout=HANG_S)
    assert answer.status_code == 200, answer.text
    *lines, _ = [line for line in answer.text.splitlines() if line]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_each_delta_has_the_record_so_far_and_the_end_all_of_it(gateway: RunningGateway) -> None:
    *deltas, done = events(gateway, timing=True, sample_rate=16000)
    record = done["timing"]
    packets = [event["timing"]["packets"] for event in deltas]
    assert len(packets) > 1 and packets == sorted(packets)
    assert (packets[0], packets[-1]) == (1, record["packets"])
    assert record["outcome"] == "ok" and set(record["parts_s"]) == set(PARTS)
    assert record["sample_rate"] == RATE, "of the spans, whatever was asked for"
    assert [record["spans"][0]["text"][0], record["spans"][-1]["text"][1]] == [0, len(TEXT)]
    sound = sum(len(base64.b64decode(event["audio"])) for event in deltas) / 2 / 16000
    last = record["spans"][-1]["samples"][1] / RATE
    assert last == pytest.approx(sound, abs=0.2) and sound == pytest.approx(
        record["audio_s"], abs=0.01
    )


def test_nobody_gets_it_who_did_not_ask(gateway: RunningGateway) -> None:
    assert not any("timing" in event for event in events(gateway))
