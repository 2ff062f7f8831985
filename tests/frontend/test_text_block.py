"""A block of text and its voice through their tensors and back."""

import numpy as np
import pytest

from tritone.families.cosyvoice2.voice import Voice
from tritone.llm.contract import Prompt
from tritone.serving.frontend_tensors import PreparedVoice, block_arrays, read_block
from tritone.synthesis.values import TextBlock, TextPiece

VOICE = Voice(
    np.arange(4, dtype=np.int32), np.zeros((8, 80), np.float32), np.ones(192, np.float32), "一二"
)
IDS = (
    TextPiece(Prompt(np.array([5, 6, 7], np.int32)), 2, "一", ("skipped x",), 0.25),
    TextPiece(Prompt(np.array([8], np.int32)), 1, "two"),
)
ROWS = tuple(
    TextPiece(Prompt(embeddings=np.full((n, 3), n, np.float32)), n, f"{n} rows") for n in (2, 5)
)


def same_prompt(ours: Prompt, theirs: Prompt) -> None:
    for one, other in ((ours.ids, theirs.ids), (ours.embeddings, theirs.embeddings)):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("pieces", [IDS, ROWS, ()], ids=["ids", "embeddings", "none"])
@pytest.mark.parametrize("more", [False, True])
def test_a_block_survives_the_wire(pieces: tuple[TextPiece, ...], more: bool) -> None:
    block = TextBlock(pieces, ("y",), more=more)
    arrays = dict(block_arrays(block, None))
    assert all(array.size for array in arrays.values())
    back, voice = read_block(arrays.get)
    assert voice is None
    assert (back.notes, back.more) == (block.notes, block.more)
    for ours, theirs in zip(back.pieces, pieces, strict=True):
        same_prompt(ours.prompt, theirs.prompt)
        assert (ours.target_tokens, ours.text, ours.notes, ours.pause) == (
            *(theirs.target_tokens, theirs.text),
            *(theirs.notes, theirs.pause),
        )


@pytest.mark.parametrize("cached", [False, True])
def test_the_voice_survives_the_wire(cached: bool) -> None:
    block = TextBlock(IDS, (), more=True)
    arrays = dict(block_arrays(block, PreparedVoice.of(VOICE, cached)))
    _, sent = read_block(arrays.get)
    assert sent and sent.cached == cached
    voice = sent.open(Voice)
    assert voice.transcript == VOICE.transcript
    for name, array in VOICE.to_arrays().items():
        np.testing.assert_array_equal(voice.to_arrays()[name], array)


def test_the_voice_goes_back_with_later_blocks() -> None:
    inputs = dict(PreparedVoice.of(VOICE, cached=False).inputs())
    assert inputs["transcript"][0].decode() == VOICE.transcript
    again = PreparedVoice(inputs["prepared_voice"].tobytes(), VOICE.transcript).open(Voice)
    np.testing.assert_array_equal(again.prompt_tokens, VOICE.prompt_tokens)


def test_no_block_mixes_both_kinds() -> None:
    with pytest.raises(AssertionError, match="of one kind"):
        dict(block_arrays(TextBlock((*IDS, *ROWS), (), more=False), None))
