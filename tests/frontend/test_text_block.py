"""A block of segments through its tensors and back."""

from dataclasses import replace

import numpy as np

from tritone.families.cosyvoice2.voice import Voice
from tritone.synthesis.text_blocks import TextBlock
from tritone.synthesis.values import Segment


def test_block_survives_the_wire() -> None:
    from tritone.serving import text_block

    voice = Voice(
        np.arange(4, dtype=np.int32), np.zeros((8, 80), np.float32), np.ones(192, np.float32)
    )
    segments = (
        Segment(np.array([5, 6, 7], np.int32), 2, "一", voice, ("skipped x",)),
        Segment(np.array([8], np.int32), 1, "two", voice),
    )
    for block in (TextBlock(segments, ("y",), more=True), TextBlock((), (), more=False)):
        arrays = dict(text_block.block_arrays(block, voice))
        assert all(array.size for array in arrays.values())
        assert not text_block.voice_cached(arrays.get)
        warm = dict(text_block.block_arrays(block, replace(voice, cached=True)))
        assert text_block.voice_cached(warm.get)
        back = text_block.read_block(arrays.get, voice)
        assert (back.notes, back.more) == (block.notes, block.more)
        assert [s.text for s in back.segments] == [s.text for s in block.segments]
        for ours, theirs in zip(back.segments, block.segments, strict=True):
            np.testing.assert_array_equal(ours.input_ids, theirs.input_ids)
            assert (ours.target_tokens, ours.notes) == (theirs.target_tokens, theirs.notes)
