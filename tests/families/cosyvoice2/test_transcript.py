"""Transcripts laid over recordings: when each word ends, and what does not belong together."""

import numpy as np
import pytest

from tritone.arrays import Float32
from tritone.families.cosyvoice2.transcript import SILENCE, Word, laid_over

CLASSES = 8


def scores(classes: list[int], sure: float = 0.9) -> Float32:
    """Log probabilities of a recording in which each frame is heard as one class."""
    rest = (1 - sure) / (CLASSES - 1)
    likely = np.full((len(classes), CLASSES), rest, np.float32)
    likely[np.arange(len(classes)), classes] = sure
    return np.log(likely)


SAID = [0, 0, 0, 1, 1, 2, 2, 2, 0, 0, 0, 0, 3, 3, 4, 5, 5, 0, 0]
TEXT = [[1, 2], [3, 4, 5]]


@pytest.mark.parametrize("sure", [0.9, 0.5])
def test_words_end_where_they_are_heard(sure: float) -> None:
    found = laid_over(scores(SAID, sure), TEXT)
    assert found is not None
    assert found.words == (Word(3, 8), Word(12, 17))
    assert found.heard == found.written == 1.0


def test_words_may_follow_without_silence() -> None:
    found = laid_over(scores([1, 2, 3, 4, 5]), TEXT)
    assert found is not None and found.words == (Word(0, 2), Word(2, 5))


def test_a_wrong_word_is_not_heard_and_leaves_sound_unexplained() -> None:
    found = laid_over(scores(SAID), [[1, 2], [6, 7, 6]])
    assert found is not None
    assert found.heard == pytest.approx(2 / 5) and found.written == pytest.approx(5 / 10)


def test_a_missing_word_leaves_sound_unexplained() -> None:
    found = laid_over(scores(SAID), [[1, 2]])
    assert found is not None and found.heard == 1.0 and found.written <= 0.5


def test_a_word_too_many_is_not_heard() -> None:
    found = laid_over(scores(SAID), [[1, 2], [7, 6, 7, 6], [3, 4, 5]])
    assert found is not None and found.heard < 0.75 and found.written > 0.5


def test_a_frame_that_is_misheard_does_no_harm() -> None:
    said = list(SAID)
    said[6], said[13] = 7, SILENCE
    found = laid_over(scores(said), TEXT)
    assert found is not None and found.heard == 1.0
    assert [word.begin for word in found.words] == [3, 12]


@pytest.mark.parametrize("words", [[], [[1, 2, 3], [4, 5, 6]]])
def test_what_cannot_be_laid_over_is_none(words: list[list[int]]) -> None:
    assert laid_over(scores([1, 2, 3]), words) is None
