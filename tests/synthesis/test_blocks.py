"""Blocks of text: segments in order, each block made when it is asked for, and their wire form."""

import numpy as np
import pytest

from tritone.errors import InvalidRequest
from tritone.families.cosyvoice2.voice import Voice
from tritone.llm.contract import Prompt
from tritone.synthesis.values import TextBlock, TextPiece, in_order

VOICE = Voice(np.zeros(0, np.int32), np.zeros((0, 80), np.float32), np.ones(192, np.float32))


def piece(text: str, *notes: str) -> TextPiece:
    return TextPiece(Prompt(np.arange(len(text), dtype=np.int32)), len(text), text, notes)


def test_blocks_are_made_one_by_one_and_in_order() -> None:
    asked = []

    def block_at(index: int) -> TextBlock:
        asked.append(index)
        return TextBlock((piece(f"a{index}"), piece(f"b{index}")), (), more=index < 1)

    segments = in_order(block_at, VOICE, False)
    assert next(segments).text == "a0" and asked == [0]
    assert [s.text for s in segments] == ["b0", "a1", "b1"] and asked == [0, 1]


def test_notes_of_skipped_text_go_to_the_next_segment_once() -> None:
    blocks = [
        TextBlock((), ("skipped x",), more=True),
        TextBlock((piece("a", "skipped x", "skipped y"), piece("b")), (), more=False),
    ]
    first, second = in_order(blocks.__getitem__, VOICE, True)
    assert first.voice is VOICE and first.voice_cached
    assert first.notes == ("skipped x", "skipped y") and second.notes == ()


def test_text_without_a_segment_is_refused_with_the_reason() -> None:
    blocks = [TextBlock((), ("skipped x",), more=True), TextBlock((), ("skipped y",), more=False)]
    with pytest.raises(InvalidRequest, match=r"nothing .* \(skipped x; skipped y\)"):
        list(in_order(blocks.__getitem__, VOICE, True))
