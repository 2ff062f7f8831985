"""Whether a transcript is that of a recording, and when each of its words ends.

A checkpoint with phoneme tokens may bring listener.onnx: what phoneme each speech code stands for.
The phonemes of the transcript are laid over the recording on the most likely path (Viterbi), with
silence between words where there is any.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tritone.arrays import Float32, Int32
from tritone.errors import ModelDirectoryError
from tritone.frontend.audio.encoders import Reader

LISTENER_NAME = "listener.onnx"
DIGITS, LEVELS = 8, 3  # of a speech code
SILENCE = 0  # class
HEARD = 0.2  # probability from which a phoneme counts as heard


@dataclass(frozen=True)
class Word:
    """A word of the transcript, from `begin` to `end` in frames, 50 a second."""

    begin: int
    end: int


@dataclass(frozen=True)
class Alignment:
    """heard: share of the transcript's phonemes that are where they should be. written: share of
    the recording's frames that the transcript explains. words: in order."""

    heard: float
    written: float
    words: tuple[Word, ...]


class Listener:
    """Reads codes; the classes of phonemes are in the order of their characters, from 1."""

    def __init__(self, path: Path, characters: str) -> None:
        """characters: of all phonemes. Raises ModelDirectoryError when the model does not fit."""
        self._read = Reader(path, inputs=1)
        self._classes = {c: i for i, c in enumerate(sorted(characters), 1)}
        known = len(self._classes) + 1  # and silence
        if (found := self._read.shape[2:]) != [known]:
            raise ModelDirectoryError(
                f"{path}: gives scores of {found} classes; phonemes.json needs {known}"
            )

    def align(self, codes: Int32, spoken: str) -> Alignment | None:
        """spoken: words of phoneme characters. None where it has more phonemes than the recording
        has frames."""
        words = [[self._classes[c] for c in word if c in self._classes] for word in spoken.split()]
        words = [word for word in words if word]
        digits = codes[None, None] // LEVELS ** np.arange(DIGITS)[:, None] % LEVELS - 1
        scores = self._read(digits.astype(np.float32))
        return laid_over(scores[0], words)


def laid_over(scores: Float32, words: list[list[int]]) -> Alignment | None:
    """Words of phoneme classes on the most likely path through (frames, classes) log
    probabilities; None where there are no words, or more phonemes than frames."""
    path = _path(scores, words)
    return None if path is None else _measured(scores, words, path)


def _states(words: list[list[int]]) -> NDArray[np.int64]:
    """Classes along the path: every word, and silence around it, which may be left out."""
    states = [SILENCE]
    for word in words:
        states += [*word, SILENCE]
    return np.array(states)


def _path(scores: Float32, words: list[list[int]]) -> NDArray[np.int64] | None:
    """(frames,) state of each frame on the most likely path."""
    states = _states(words)
    frames, count = len(scores), len(states)
    if not words or sum(map(len, words)) > frames:
        return None
    emitted = scores[:, states]
    skips = np.zeros(count, bool)
    skips[2:] = states[1:-1] == SILENCE
    best = np.full(count, -np.inf)
    best[:2] = emitted[0, :2]
    steps = np.zeros((frames, count), np.int8)
    for frame in range(1, frames):
        options = np.full((3, count), -np.inf)
        options[0] = best
        options[1, 1:] = best[:-1]
        options[2, 2:] = np.where(skips[2:], best[:-2], -np.inf)
        steps[frame] = options.argmax(axis=0)
        best = options.max(axis=0) + emitted[frame]
    path = np.zeros(frames, np.int64)
    path[-1] = count - 1 if best[-1] >= best[-2] else count - 2
    if not np.isfinite(best[path[-1]]):
        return None
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = path[frame] - steps[frame, path[frame]]
    return path


def _measured(scores: Float32, words: list[list[int]], path: NDArray[np.int64]) -> Alignment:
    states, likely = _states(words), np.exp(scores)
    at = likely[np.arange(len(path)), states[path]]
    first = np.searchsorted(path, np.arange(len(states)))
    last = np.searchsorted(path, np.arange(len(states)), side="right")
    said = [i for i in range(len(states)) if states[i] != SILENCE]
    heard = np.mean([last[i] > first[i] and at[first[i] : last[i]].max() >= HEARD for i in said])
    loud = likely[:, SILENCE] < 0.5
    written = float((at[loud] >= HEARD).mean()) if loud.any() else 0.0
    spans, place = [], 1
    for word in words:
        spans.append(Word(int(first[place]), int(last[place + len(word) - 1])))
        place += len(word) + 1
    return Alignment(float(heard), written, tuple(spans))
