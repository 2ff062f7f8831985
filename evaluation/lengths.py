"""Speech that is missing, does not end, or ends too soon.

Levels are RMS of 20 ms windows. Audio may end in a window that is not complete; the last window is
then the last 20 ms.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tritone.arrays import Float32

WINDOW_S = 0.02
AUDIBLE_DB = -50.0  # dBFS; quieter is silence
SILENCE_DB = -40.0  # below the loudest window: a pause within speech
LOUD_END_DB = -20.0  # below the speech level: what a finished word has decayed to
LONGEST_TAIL_S = 1.5
RUNAWAY_RATIO = 2.0  # of the median pace
LEAD_CHARACTERS = 10  # what onset, end and final lengthening last, in characters
_FLOOR = 1e-6  # RMS, -120 dBFS


def is_empty(wav: Float32, rate: int) -> bool:
    """Whether (N,) samples have no window louder than -50 dBFS, or no samples at all."""
    return not len(wav) or bool(_levels(wav, rate).max() < AUDIBLE_DB)


def trailing_silence(wav: Float32, rate: int) -> float:
    """Seconds after the last window that is within 40 dB of the loudest one."""
    if is_empty(wav, rate):
        return len(wav) / rate
    levels = _levels(wav, rate)
    last = int(np.flatnonzero(levels > levels.max() + SILENCE_DB)[-1])
    return max(0.0, len(wav) / rate - (last + 1) * WINDOW_S)


def ends_loud(wav: Float32, rate: int) -> bool:
    """Whether the last 20 ms are within 20 dB of the speech level.

    The speech level is the median of the windows within 40 dB of the loudest one.
    """
    if is_empty(wav, rate):
        return False
    levels = _levels(wav, rate)
    speech = np.median(levels[levels > levels.max() + SILENCE_DB])
    return bool(_levels(wav[-round(WINDOW_S * rate) :], rate)[-1] > speech + LOUD_END_DB)


def is_cut(wav: Float32, rate: int, last_word_heard: bool) -> bool:
    """Whether the end is missing: the last word was not heard and the audio ends loud."""
    return not last_word_heard and ends_loud(wav, rate)


def pace(wav: Float32, rate: int, characters: int) -> float:
    """Seconds a character, with 10 characters added so that short sentences compare with long ones.

    characters: of the words as spoken, digits spelled out.
    """
    return len(wav) / rate / (characters + LEAD_CHARACTERS)


def runaways(paces: Sequence[float], tails: Sequence[float]) -> list[bool]:
    """For each sentence of one voice whether it went on too long.

    paces: as `pace` gives them; more than twice their median is a runaway. That covers generations
    that ran into their token limit, which is several times a sentence's usual length.
    tails: as `trailing_silence` gives them; more than 1.5 s is one too.
    """
    usual = float(np.median(paces)) if paces else 0.0
    return [
        pace > RUNAWAY_RATIO * usual or tail > LONGEST_TAIL_S
        for pace, tail in zip(paces, tails, strict=True)
    ]


def _levels(wav: Float32, rate: int) -> NDArray[np.float64]:
    """dBFS of each whole window, or of everything where it is shorter than one."""
    size = min(len(wav), round(WINDOW_S * rate))
    windows = wav[: len(wav) // size * size].reshape(-1, size).astype(np.float64)
    rms = np.sqrt((windows**2).mean(axis=1))
    levels: NDArray[np.float64] = 20 * np.log10(np.maximum(rms, _FLOOR))
    return levels
