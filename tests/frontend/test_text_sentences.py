"""Sentences of a text that is still being written."""

import pytest

from tritone.frontend.text.line import Break
from tritone.frontend.text.normalize import TextNormalizer
from tritone.frontend.text.sentences import break_between, complete

WRITTEN = (
    "Dr. Smith paid $3.14 to J. K. Rowling, e.g. for No. 5 on 5/4. It is him! Is it? Yes.\n"
    "\n"
    "1. Open the box. Then **wait. Or** not.\n"
    "2. A line that is wrapped as it is long goes on\nin the next one. Done at 5 p.m. on Monday.\n"
    "\n"
    "```\nlet x = 1. Then\n```\n"
    'He said "Go away." Then he left... And it cost 2.5 km.\n\n我付了3.5元。再见！'
)


@pytest.mark.parametrize(
    ("text", "done"),
    [
        ("Hello there.", ""),
        ("Hello there. ", ""),
        ("Hello there. H", "Hello there."),
        ("It is him. Then", "It is him."),
        ("I paid 3.", ""),
        ("I paid 3.14 euros. T", "I paid 3.14 euros."),
        ("Dr. Smith", ""),
        ("It is No. 5", ""),
        ("Dr. Smith came. He", "Dr. Smith came."),
        ("J. K. Rowling", ""),
        ("It is 5 p.m. Then", ""),
        ("Why? he asked", ""),
        ("Why? He", "Why?"),
        ('He said "Go!" Then', 'He said "Go!"'),
        ("1. Open", ""),
        ("- one\n- two", "- one\n"),
        ("short\nNext", "short\n"),
        ("short\nnext", ""),
        ("**Bold. Still** bold. Now", "**Bold. Still** bold."),
        ("你好。我", "你好。"),
        ("```\ncode. More\n```\nText. No", "```\ncode. More\n```\nText."),
        ("<speak>One. Two.</speak> Three. Four", ""),
        ("a <| b. Then |> c. Then", ""),
    ],
)
def test_what_is_complete(text: str, done: str) -> None:
    assert text[: complete(text)] == done


def parts(text: str, size: int) -> list[str]:
    """What becomes complete while the text comes in pieces of this size."""
    found, waiting = [], ""
    for start in range(0, len(text), size):
        waiting += text[start : start + size]
        if count := complete(waiting):
            found.append(waiting[:count])
            waiting = waiting[count:]
    return [*found, waiting]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
def test_parts_have_the_words_of_the_whole(size: int) -> None:
    normalize = TextNormalizer()
    found = parts(WRITTEN, size)
    assert "".join(found) == WRITTEN
    said = "".join(normalize(part) for part in found)
    assert "".join(said.split()) == "".join(normalize(WRITTEN).split())
    if size == 1:
        assert len(found) > 8


@pytest.mark.parametrize(
    ("before", "after", "between"),
    [
        ("", "One", Break.NONE),
        ("One.", " Two", Break.SENTENCE),
        ("One", " two", Break.NONE),
        ("One\n", "two", Break.ITEM),
        ("One.", "\n\nTwo", Break.PARAGRAPH),
    ],
)
def test_breaks(before: str, after: str, between: Break) -> None:
    assert break_between(before, after) is between
