"""Emotions by weights: how much of each of eight, mixed into the speaker's own emotion vector."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np

from tritone.arrays import Float32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import ModelDirectoryError

EMOTIONS = (
    "happy",
    "angry",
    "sad",
    "afraid",
    "disgusted",
    "melancholic",
    "surprised",
    "calm",
)
_EVENED = (0.9375, 0.875, 1.0, 1.0, 0.9375, 0.9375, 0.6875, 0.5625)
EMOTIONS_FILE, STYLES, VECTORS = "emotions.safetensors", "styles", "vectors"
_MOST = 0.8  # of all weights together, once they are normalized
_STEPS = 10_000  # to 1, of weights that a share scales


def scaled(weights: Sequence[float], share: float) -> list[float]:
    """Weights times a share, cut to 0..1; upstream cuts the products to four digits."""
    share = min(1.0, max(0.0, share))
    if share == 1.0:
        return list(weights)
    return [int(weight * share * _STEPS) / _STEPS for weight in weights]


def normalized(weights: Sequence[float], *, evened: bool = True) -> list[float]:
    """Weights whose sum is at most 0.8, as upstream's page has them and its API has not.

    evened: emotions that the model overdoes are weakened first.
    """
    if evened:
        weights = [weight * factor for weight, factor in zip(weights, _EVENED, strict=True)]
    total = sum(weights)
    return [w * (_MOST / total) for w in weights] if total > _MOST else list(weights)


def read_emotions(path: Path, counts: Sequence[int]) -> "EmotionTable":
    """The table that conversion wrote. Raises ModelDirectoryError for a file that is missing,
    damaged or of other sizes."""
    if not path.is_file():
        raise ModelDirectoryError(f"{path} does not exist; run tritone convert again")
    file = Checkpoint(path)
    if set(file) != {STYLES, VECTORS}:
        raise ModelDirectoryError(f"{path} has {sorted(file)}; it must have {STYLES}, {VECTORS}")
    styles, vectors = file.float32(STYLES), file.float32(VECTORS)
    if not len(styles) == len(vectors) == sum(counts):
        raise ModelDirectoryError(
            f"{path} has {len(styles)} styles and {len(vectors)} vectors; the configuration counts "
            f"{sum(counts)} examples"
        )
    return EmotionTable(styles, vectors, counts)


class EmotionTable:
    """Example speakers of each emotion: their style and their emotion vector, row by row.

    styles (n, style), vectors (n, width); counts: rows of each emotion, in the order of EMOTIONS.
    """

    def __init__(self, styles: Float32, vectors: Float32, counts: Sequence[int]) -> None:
        assert len(styles) == len(vectors) == sum(counts), "a style and a vector for each row"
        assert len(counts) == len(EMOTIONS)
        self._vectors = vectors
        self._styles = styles / np.linalg.norm(styles, axis=1, keepdims=True)
        self._edges = list(pairwise(accumulate(counts, initial=0)))

    def rows(self, style: Float32) -> list[int]:
        """For each emotion the example that is most like a speaker's style (style,), counted from
        the emotion's first row."""
        likeness = self._styles @ style
        return [int(likeness[begin:end].argmax()) for begin, end in self._edges]

    def mixed(self, weights: Sequence[float], style: Float32, own: Float32) -> Float32:
        """The speaker's own vector (width,) with as much of each emotion as its weight says.

        Weights of more than 1 in all take away from the speaker's own, as upstream has it.
        """
        assert len(weights) == len(EMOTIONS)
        begins = np.array([begin for begin, _ in self._edges])
        chosen = self._vectors[begins + self.rows(style)]
        share = np.array(weights, np.float32)
        mixed: Float32 = share @ chosen + (1 - share.sum()) * own
        return mixed
