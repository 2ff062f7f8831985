"""A segment whose text is still being written, without models."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
from fake_stages import RULES
from frontend_fixtures import OFFSET, TASK_ID, voice
from waiting import HANG_S, wait_until

from tritone.errors import Cancelled, InvalidRequest
from tritone.frontend.text.line import Break
from tritone.llm.contract import Increment, MoreText, Prompt
from tritone.synthesis.growing import GrowingSegment
from tritone.synthesis.live_text import LiveText, TextMode, TextPart
from tritone.synthesis.text_guard import TextGuard
from tritone.synthesis.values import Segment


class Speech:
    """A generation that notes what it is given."""

    def __init__(self, ids: list[int]) -> None:
        self.ids, self.last, self.cancelled = ids, None, False

    def extend(self, more: MoreText) -> None:
        self.ids += more.ids.tolist()
        self.last = more

    def cancel(self) -> None:
        self.cancelled = True


def segment_of(part: TextPart) -> Segment:
    """An id for each settled character."""
    text = part.text[: part.settled]
    ids = [0, *map(ord, text), TASK_ID, *range(OFFSET, OFFSET + 3)]
    return Segment(Prompt(np.array(ids, np.int32)), len(text), text, voice(), opening=1)


def growing(
    text: LiveText,
    prepare: Callable[[TextPart], Segment] = segment_of,
    unwanted: Callable[[], bool] = lambda: False,
) -> tuple[GrowingSegment, TextPart]:
    text.may_grow = True
    part = text.take(wait=False, unwanted=lambda: False)
    assert isinstance(part, TextPart) and part.open
    found = GrowingSegment(text, part, segment_of(part), prepare, RULES, unwanted)
    return found, part


def begin(segment: GrowingSegment) -> Speech:
    """A generation of what there is so far; its bounds are 1 and 2 tokens for each of text."""
    return segment.begin(
        lambda so_far, more: Speech(RULES.text_ids(so_far).tolist()),
        lambda so_far: (so_far.target_tokens, 2 * so_far.target_tokens),
    )


def written(ids: list[int]) -> str:
    return "".join(map(chr, ids))


@pytest.fixture
def text() -> LiveText:
    live = LiveText(1000, mode=TextMode.INTERLEAVED)
    live.put("The birch canoe slid ")
    return live


def test_what_comes_is_passed_on_to_its_end(text: LiveText) -> None:
    segment, part = growing(text)
    speech = begin(segment)
    assert written(speech.ids) == "The birch canoe" and part.continues is Break.NONE
    text.put("on the smooth ")
    wait_until(lambda: written(speech.ids) == "The birch canoe slid on the")
    assert not speech.last.ended and segment.open
    text.put("planks.")
    text.end()
    wait_until(lambda: not segment.open)
    whole = "The birch canoe slid on the smooth planks."
    assert written(speech.ids) == segment.segment.text == whole
    bounds = len(whole), 2 * len(whole)
    assert (speech.last.ended, speech.last.min_tokens, speech.last.max_tokens) == (True, *bounds)
    segment.finish()
    assert text.taken == text.length == len(whole)


def test_another_generation_gets_all_of_the_text(text: LiveText) -> None:
    segment, _ = growing(text)
    first = begin(segment)
    text.put("on the smooth ")
    wait_until(lambda: len(first.ids) > 20)
    segment.detach()
    second = begin(segment)
    text.put("planks of wood ")
    wait_until(lambda: written(second.ids).endswith(" planks of"))
    assert written(first.ids) == "The birch canoe slid on the"
    segment.finish()


def test_what_a_generation_left_begins_the_next_part(text: LiveText) -> None:
    """Where speech ends before its text, what is not settled of it is not lost."""
    segment, _ = growing(text)
    segment.finish()
    assert text.taken == len("The birch canoe") and not segment.open
    text.put("on it.")
    text.end()
    rest = text.take(wait=False, unwanted=lambda: False)
    assert rest == TextPart(" slid on it.", len("The birch canoe"))


def test_what_breaks_the_text_is_raised_where_speech_is_read(text: LiveText) -> None:
    segment, _ = growing(text)
    speech = begin(segment)

    def tokens():
        yield Increment(np.zeros(1, np.int32))
        wait_until(lambda: speech.cancelled)
        raise Cancelled("the generation was cancelled")

    reading = segment.spoken(tokens())
    assert len(next(reading)) == 1
    text.end(InvalidRequest("target_text", "is over"))
    with pytest.raises(InvalidRequest, match="is over"):
        next(reading)
    segment.finish()


def test_so_is_what_the_front_end_refuses(text: LiveText) -> None:
    def refused(part: TextPart) -> Segment:
        raise InvalidRequest("target_text", "is refused")

    segment, _ = growing(text, refused)
    speech = begin(segment)
    text.put("on the smooth ")
    wait_until(lambda: speech.cancelled)
    with pytest.raises(InvalidRequest, match="is refused"):
        list(segment.spoken([]))
    segment.finish()
    segment._thread.join(HANG_S)
    assert not segment._thread.is_alive()


def test_a_long_text_is_divided_while_it_grows(text: LiveText) -> None:
    sentence = "This is a sentence of about fifty characters here. "
    segment, _ = growing(text)
    speech = begin(segment)
    text.put(f"on it. {sentence * 6}")
    wait_until(lambda: not segment.open)
    assert 240 <= len(speech.ids) < 320 and written(speech.ids).endswith("here.")
    assert text.taken == len(speech.ids) < text.length
    segment.finish()


def said(places: list[int]) -> Increment:
    """Tokens that were said for these text tokens."""
    return Increment(np.arange(len(places), dtype=np.int32), said=np.array(places, np.int32))


def test_a_text_that_is_being_written_has_no_end() -> None:
    """Speech may stand at its last token so far, as long as on any other; then it goes on."""
    guard = TextGuard(0, 4, open=True)
    verdict = guard.admit(said([*[0] * 3, *[1] * 3, *[2] * 3, *[3] * 18]))
    assert len(verdict.tokens) == 27 and not verdict.flaw
    guard.grow(8, (), more=True)
    assert guard.admit(said([2, 3, 4, 5, 6, 7])).flaw is None
    guard.grow(9, (), more=False)
    assert guard.admit(said([8, 8, 8, 8])).flaw is None and guard.ended().flaw is None


def test_a_text_that_nobody_wants_ends_its_generation_though_nobody_reads_it() -> None:
    text, gone = LiveText(100, mode=TextMode.INTERLEAVED), threading.Event()
    text.put("The birch canoe slid")
    segment, _ = growing(text, unwanted=gone.is_set)
    speech = begin(segment)
    gone.set()
    wait_until(lambda: speech.cancelled)
    segment.finish()


def test_a_text_that_broke_before_its_generation_began_ends_it() -> None:
    """And each one after it, where it is begun again."""
    text = LiveText(100, mode=TextMode.INTERLEAVED)
    text.put("The birch canoe slid")
    segment, _ = growing(text)
    text.end(InvalidRequest("target_text", "is no text"))
    segment._thread.join()
    for _ in range(2):
        assert begin(segment).cancelled
        with pytest.raises(InvalidRequest, match="is no text"):
            list(segment.spoken([]))
        segment.detach()
    segment.finish()
