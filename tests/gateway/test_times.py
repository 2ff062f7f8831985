"""Segments of a text, and their form as subtitles."""

import json

import pytest

from tritone.gateway.framing import Events
from tritone.gateway.segments import Segment
from tritone.gateway.spoken import Progress
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


def test_events_of_segments() -> None:
    progress, events = Progress("Hi.", (1000, 1000)), Events(with_segments=True)
    record = {"spans": [{"text": [0, 3], "samples": [0, 1234]}], "tokens": 4}
    told = events.segments(progress.advance(1234, record))
    segment = {"id": 0, "text": "Hi.", "text_span": [0, 3], "samples": [0, 1234]}
    segment |= {"start": 0.0, "end": 1.234}
    assert json.loads(told.removeprefix(b"data: ")) == {
        "type": "speech.audio.segment",
        "segment": segment,
    }
    done = json.loads(events.end(progress).split(b"\n")[0].removeprefix(b"data: "))
    assert done["segments"] == [segment]
    assert done["usage"] == {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    plain = Events()
    assert b"segments" not in plain.end(progress) and plain.segments(progress.whole) == b""
