"""Word and character error rates, pooled over sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from evaluation.packages import module

BOOTSTRAP_DRAWS = 5000
PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class SentenceErrors:
    """One sentence against what was heard, both normalised.

    word_errors, character_errors: substitutions + deletions + insertions of the best alignment;
    words, characters: of the reference. last_word_heard: the reference's last word is in place.
    """

    reference: str
    heard: str
    words: int
    word_errors: int
    characters: int
    character_errors: int
    last_word_heard: bool


@dataclass(frozen=True)
class Score:
    """Errors of all sentences over words (characters) of all sentences.

    wer_interval: 95 % interval of the pooled word error rate over the choice of sentences, by
    bootstrap (Bisani and Ney, 2004).
    """

    wer: float
    cer: float
    wer_interval: tuple[float, float]
    sentences: tuple[SentenceErrors, ...]


class Aligner(Protocol):
    """What is used of jiwer's results."""

    hits: int
    substitutions: int
    deletions: int
    insertions: int


def compare(reference: str, heard: str) -> SentenceErrors:
    """Align two normalised texts; the reference has at least one word."""
    assert reference, "a reference without words has no error rate"
    jiwer = module("jiwer")
    words = jiwer.process_words(reference, heard)
    characters = jiwer.process_characters(reference, heard)
    last = [part for part in words.alignments[0] if part.ref_end_idx > part.ref_start_idx][-1]
    return SentenceErrors(
        reference=reference,
        heard=heard,
        words=len(reference.split()),
        word_errors=_errors(words),
        characters=len(reference),
        character_errors=_errors(characters),
        last_word_heard=last.type == "equal",
    )


def pool(results: Sequence[SentenceErrors], seed: int = 0) -> Score:
    """The score of at least one sentence; seed: of the bootstrap."""
    assert results, "no sentence to score"
    errors = np.array([(r.word_errors, r.words) for r in results])
    characters = sum(r.characters for r in results)
    return Score(
        wer=float(errors[:, 0].sum() / errors[:, 1].sum()),
        cer=sum(r.character_errors for r in results) / characters,
        wer_interval=_interval(errors, seed),
        sentences=tuple(results),
    )


def _interval(errors: NDArray[np.int64], seed: int) -> tuple[float, float]:
    drawn = np.random.default_rng(seed).integers(0, len(errors), (BOOTSTRAP_DRAWS, len(errors)))
    sums = errors[drawn].sum(axis=1)
    low, high = np.percentile(sums[:, 0] / sums[:, 1], PERCENTILES)
    return float(low), float(high)


def _errors(result: Aligner) -> int:
    return result.substitutions + result.deletions + result.insertions
