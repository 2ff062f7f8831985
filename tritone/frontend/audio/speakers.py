"""Whether more than one person speaks in a recording, by a speaker encoder's vectors of windows.

The vectors of windows are divided into two groups (2-means on the sphere, begun with the two that
are farthest apart). One speaker's groups lie close together; two speakers' do not. A group of one
window counts for nothing: a cough or a sentence half in a pause makes one.

Measured with the embedded encoder on its two speakers, windows of 3 s each second: the cosine
between the groups is 0.68 and more for one speaker in clean, clipped and telephone recordings, and
0.42 and more in white noise 10 to 30 dB below; for two speakers one after the other 0.13 and less,
and 0.31 in noise 10 dB below. Speakers who take turns within a window, or speak at the same time,
are not found.
"""

from collections.abc import Callable, Iterator

import numpy as np

from tritone.arrays import Float32

WINDOW_S, HOP_S = 3.0, 1.0
FEWEST = 4  # windows, of which each group needs half: 6 s of speech
ALIKE = 0.35  # cosine between the groups, below which several speakers are suspected
_ROUNDS = 8

Encoder = Callable[[Float32], Float32]
"""(N,) samples to one vector for the speaker, of any length."""


def likeness(wav: Float32, rate: int, encode: Encoder) -> float | None:
    """The cosine between the two groups of windows of (N,) samples; 1 where there is one group,
    None where the recording is too short to tell."""
    vectors = np.array([_unit(encode(window)) for window in _windows(wav, rate)])
    if len(vectors) < FEWEST:
        return None
    first = _grouped(vectors)
    if min(first.sum(), (~first).sum()) < FEWEST // 2:
        return 1.0
    centres = [_unit(vectors[group].mean(axis=0)) for group in (first, ~first)]
    return float(centres[0] @ centres[1])


def _windows(wav: Float32, rate: int) -> Iterator[Float32]:
    length, hop = round(WINDOW_S * rate), round(HOP_S * rate)
    for begin in range(0, len(wav) - length + 1, hop):
        yield wav[begin : begin + length]


def _unit(vector: Float32) -> Float32:
    return np.asarray(vector / (np.linalg.norm(vector) + 1e-9), np.float32)


def _grouped(vectors: Float32) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(windows,) whether each is in the first group; a group may be empty."""
    alike = vectors @ vectors.T
    one, other = np.unravel_index(int(alike.argmin()), alike.shape)
    first = alike[one] >= alike[other]
    for _ in range(_ROUNDS):
        if first.all() or not first.any():
            break
        nearer = [vectors @ _unit(vectors[group].mean(axis=0)) for group in (first, ~first)]
        moved = nearer[0] >= nearer[1]
        if (moved == first).all():
            break
        first = moved
    return np.asarray(first)
