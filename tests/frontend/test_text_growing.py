"""How far a text that is still being written is read."""

import pytest

from tritone.frontend.text.growing import part_end, settled
from tritone.frontend.text.segment import SegmentRule
from tritone.frontend.text.settings import DEFAULT_TEXT
from tritone.frontend.text.stage import TextStage

TEXTS = [
    'The birch canoe slid on the smooth planks. Dr. Smith said "hello" to 25 people!',
    "It costs $3.50 or 5 million euros, said the 2nd man from St. Louis on May 5, 2024, at 10:30.",
    "**Bold words** and `code` go on, see [the page](https://example.org/a?b=1) for more of it.",
    "NASA's F-16 flew 300 km/h over No. 5 Main St. while I read it twice; it was well-known.",
    "今天天气很好，我有25个苹果和3.5元。你呢？他说2024年5月3日再来。",
    "Prof. Dr. Jones, e.g. in chapter IV, wrote that 3 x 4 = 12 and 50% of 1/2 is 1/4 here.",
]


@pytest.fixture(scope="module")
def stage() -> TextStage:
    return TextStage(None, (), len, DEFAULT_TEXT)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_what_is_settled_is_never_read_otherwise(stage: TextStage, text: str) -> None:
    whole = stage.growing(text, len(text)).text
    seen = set()
    for length in range(1, len(text)):
        read = settled(text[:length])
        piece = stage.growing(text[:length], read)
        assert whole.startswith(piece.settled), (text[:length], piece.settled)
        assert len(piece.settled) <= len(piece.text)
        seen.add(read)
    assert len(seen) > 2, "it grows"


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_grown_text_is_read_as_the_whole_one(stage: TextStage, text: str) -> None:
    longest = SegmentRule().hard_limit
    pieces = [piece.text for piece in stage.block(text, 0).pieces]
    assert all(len(piece) <= longest for piece in pieces)
    assert stage.growing(text, len(text)).text == "".join(pieces)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("The birch ", "The"),
        ("The birch c", "The birch"),
        ("The birch canoe slid ", "The birch canoe"),
        ("It costs $5 million ", "It"),
        ("It costs $5 million t", "It costs $5 million"),
        ("Hello Dr. Smith ", ""),
        ("**bold text that goes on", ""),
        ("NASA sent a m", "NASA sent a"),
        ("今天3.5元", "今"),
        ("<speak>Hello there my dear friend", ""),
        ("On smooth planks. ", "On"),
        ("On smooth planks. G", "On smooth planks."),
        ("He lives in St. L", "He lives"),
        ("", ""),
    ],
)
def test_words_wait_for_what_may_change_them(text: str, read: str) -> None:
    assert text[: settled(text)] == read


def test_a_part_ends_with_its_line() -> None:
    assert part_end("A title\n\nThe first words") == len("A title\n")
    assert part_end("One sentence. Another one. And") == 0


def test_a_long_part_ends_with_a_sentence() -> None:
    sentence = "This is a sentence of about fifty characters here. "
    text = sentence * 8
    end = part_end(text)
    assert text[:end].endswith("here.") and 240 <= end < 240 + len(sentence)
    assert part_end("很长的句子没有停顿。" * 9) == 70


def test_a_part_without_any_end_is_cut_all_the_same() -> None:
    text = "words and words, " * 50
    end = part_end(text)
    assert 320 < end < len(text) and text[:end].endswith(", ")
    assert part_end("字" * 200) > 0
