"""A text that comes in pieces."""

import threading

import pytest
from waiting import Clock

from tritone.errors import Cancelled, InvalidRequest
from tritone.frontend.text.line import Break
from tritone.synthesis.live_text import LiveText, NoText, TextPart, WholeText


def taken(text: LiveText) -> TextPart | NoText:
    return text.take(wait=False, unwanted=lambda: False)


def test_a_whole_text_is_one_part() -> None:
    text = WholeText("Hello. There.")
    assert taken(text) == TextPart("Hello. There.")
    assert taken(text) is NoText.MORE


def test_parts_are_sentences_and_know_their_places() -> None:
    text = LiveText(100)
    text.put("Hello the")
    assert taken(text) is NoText.YET
    text.put("re. And")
    assert taken(text) == TextPart("Hello there.")
    assert taken(text) is NoText.YET
    text.put(" more.")
    text.end()
    assert taken(text) == TextPart(" And more.", 12, Break.SENTENCE)
    assert taken(text) is NoText.MORE
    assert text.length == text.taken == 22


def test_a_flush_gives_what_there_is_once() -> None:
    text = LiveText(100)
    text.put("Well")
    text.flush()
    assert taken(text) == TextPart("Well")
    text.put(", then")
    assert taken(text) is NoText.YET


def test_quiet_gives_what_there_is_or_ends_it() -> None:
    clock = Clock()
    text = LiveText(100, flush_after_s=1, clock=clock)
    text.put("Well")
    clock.move(0.9)
    assert taken(text) is NoText.YET
    clock.move(0.2)
    assert taken(text) == TextPart("Well")
    assert taken(text) is NoText.YET
    idle = LiveText(100, idle_s=30, clock=clock)
    clock.move(30)
    with pytest.raises(InvalidRequest, match="no piece came for 30 s; the limit is 30 s"):
        taken(idle)


def test_it_is_bounded() -> None:
    text = LiveText(10)
    text.put("123456")
    with pytest.raises(InvalidRequest, match="has 11 characters with this piece; the limit is 10"):
        text.put("78901")
    with pytest.raises(InvalidRequest, match="NUL"):
        text.put("\0")
    assert text.length == 6


def test_whoever_waits_gets_the_next_part_or_the_error() -> None:
    text = LiveText(100)
    threading.Timer(0.01, text.put, ["Hello. Th"]).start()
    assert text.take(wait=True, unwanted=lambda: False) == TextPart("Hello.")
    threading.Timer(0.01, text.end, [KeyError("x")]).start()
    with pytest.raises(KeyError):
        text.take(wait=True, unwanted=lambda: False)


def test_whoever_waits_for_nobody_stops() -> None:
    with pytest.raises(Cancelled):
        LiveText(100).take(wait=True, unwanted=lambda: True)
