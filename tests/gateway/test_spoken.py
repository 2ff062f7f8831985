"""What of a text was sent, after records that tell of it before it is."""

from tritone.gateway.segments import Segment
from tritone.gateway.spoken import Progress


def record(*spans: tuple[int, int, int, int], tokens: int = 0) -> dict[str, object]:
    """Text from, to; samples from, to."""
    told = [{"text": [a, b], "samples": [c, d]} for a, b, c, d in spans]
    return {"spans": told, "tokens": tokens}


def test_a_segment_is_told_once_and_not_before_its_sound_was_sent() -> None:
    progress = Progress("One. Two. ", rates=(1000, 2000))
    assert progress.advance(50, None) == [] == progress.advance(49, record())
    both = record((0, 5, 0, 100), (5, 10, 110, 200), tokens=7)
    assert progress.advance(0, both) == [], "made, but its last sample has not left"
    assert progress.under_way == (0, 0) and progress.text_end == 0
    first, second = (
        Segment(0, "One. ", (0, 5), (0, 200), 2000),
        Segment(1, "Two. ", (5, 10), (220, 400), 2000),
    )
    assert progress.advance(1, None) == [first]
    assert progress.text_end == 5 and progress.under_way is None
    assert progress.advance(99, both) == [] and progress.under_way == (5, 200)
    assert progress.advance(1, both) == [second] and progress.advance(0, both) == []
    assert progress.whole == [first, second] and progress.under_way is None
    assert (progress.samples, progress.seconds) == (400, 0.2)
    assert progress.usage == {"input_tokens": 10, "output_tokens": 7, "total_tokens": 17}


def test_segments_of_one_packet_are_told_together() -> None:
    progress = Progress("One. Two.", rates=(1000, 1000))
    told = progress.advance(200, record((0, 5, 0, 100), (5, 9, 110, 200)))
    assert [segment.text for segment in told] == ["One. ", "Two."]


def test_what_is_not_spoken_counts_to_the_segment_after_it() -> None:
    """Where the last one ends is told before more of the text is there, and may be later then."""
    progress = Progress("Well", rates=(1000, 1000))
    (told,) = progress.advance(100, record((0, 4, 0, 100)))
    for piece in (" (", ") Yes."):
        progress.say(piece)
    assert progress.characters == 12
    (more,) = progress.advance(100, record((0, 7, 0, 100), (7, 12, 100, 200)))
    assert (told.text, more.text, more.text_span) == ("Well", " () Yes.", (4, 12))


def test_nothing_was_sent() -> None:
    progress = Progress("Hello.")
    assert (progress.samples, progress.text_end, progress.under_way) == (0, 0, None)
