"""Segments of a text, and their form as subtitles."""

import json

import pytest

from tritone.gateway.framing import Events
from tritone.gateway.segments import Segment, SegmentLog
from tritone.gateway.subtitles import srt, vtt

RATE = 1000  # a sample is a millisecond

SAID = [
    Segment(0, "Tom & Jerry <b>ran</b>\n\nhome. ", (0, 30), (0, 1500), RATE),
    Segment(1, " \n", (30, 32), (1500, 1600), RATE),
    Segment(2, "5 --> 6", (32, 39), (3_599_999, 3_600_000), RATE),
    Segment(3, "Ende — «gut».", (39, 52), (360_061_001, 360_061_001), RATE),
]


def test_srt() -> None:
    assert srt(SAID) == (
        "1\n00:00:00,000 --> 00:00:01,500\nTom & Jerry <b>ran</b> home.\n\n"
        "2\n00:59:59,999 --> 01:00:00,000\n5 -> 6\n\n"
        "3\n100:01:01,001 --> 100:01:01,002\nEnde — «gut».\n"
    )


def test_vtt() -> None:
    assert vtt(SAID) == (
        "WEBVTT\n\n"
        "1\n00:00:00.000 --> 00:00:01.500\nTom &amp; Jerry &lt;b&gt;ran&lt;/b&gt; home.\n\n"
        "2\n00:59:59.999 --> 01:00:00.000\n5 --&gt; 6\n\n"
        "3\n100:01:01.001 --> 100:01:01.002\nEnde — «gut».\n"
    )


def test_nothing_was_said() -> None:
    assert srt([]) == "" and vtt([]) == "WEBVTT\n"


@pytest.mark.parametrize(
    ("sample", "rate", "ms"), [(0, 24000, 0), (12, 24000, 1), (11, 24000, 0), (22050, 22050, 1000)]
)
def test_milliseconds_are_rounded(sample: int, rate: int, ms: int) -> None:
    assert Segment(0, "", (0, 0), (sample, sample), rate).start_ms == ms


def record(*spans: tuple[int, int, int, int]) -> dict[str, object]:
    return {"spans": [{"text": [a, b], "samples": [c, d]} for a, b, c, d in spans]}


def test_a_segment_is_told_once_when_the_next_is_known() -> None:
    log = SegmentLog("One. Two. ", source_rate=1000, rate=2000)
    assert log.update(None) == [] == log.update(record())
    assert log.update(record((0, 4, 0, 100))) == []
    told = log.update(record((0, 5, 0, 100), (5, 9, 110, 200)))
    assert told == [Segment(0, "One. ", (0, 5), (0, 200), 2000)]
    assert log.update(record((0, 5, 0, 100), (5, 10, 110, 200))) == []
    assert log.update(None) == []
    assert log.end() == [Segment(1, "Two. ", (5, 10), (220, 400), 2000)]
    assert [segment.number for segment in log.known] == [0, 1] and log.end() == []


def test_events_of_segments() -> None:
    log = SegmentLog("Hi.", 1000, 1000)
    log.update(record((0, 3, 0, 1234)))
    events = Events(log)
    told = events.segments(log.end())
    segment = {"id": 0, "text": "Hi.", "text_span": [0, 3], "samples": [0, 1234]}
    segment |= {"start": 0.0, "end": 1.234}
    assert json.loads(told.removeprefix(b"data: ")) == {
        "type": "speech.audio.segment",
        "segment": segment,
    }
    done = json.loads(events.end(3, 4).split(b"\n")[0].removeprefix(b"data: "))
    assert done["segments"] == [segment]
    assert b"segments" not in Events().end(3, 4)
