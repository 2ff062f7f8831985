"""Whether one hears where the chunks of a stream meet.

Two ways to ask. `measure` compares streamed with one-shot audio of the same mel, which only the
vocoder's tests have:

- relative RMS error over everything, in dB;
- level change: the largest difference in level, in dB, of 20 ms windows within 40 ms of a seam;
- click: the largest second difference within 5 ms of a seam over the one-shot's there. A step in
  the waveform or in its slope makes it large, 1 is none.

`compare_with_elsewhere` needs the stream alone: how seams rank among all other places in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tritone.arrays import Float32

SILENCE = 1e-4  # RMS below which a level says nothing: -80 dBFS
DIFFERENCE_FLOOR = 1e-4  # of second differences, for seams in silence
ELSEWHERE_STEP_S = 0.01  # between the places that seams are compared with
FEWEST_ELSEWHERE = 20  # places, below which a rank says nothing


@dataclass(frozen=True)
class SeamReport:
    """The worst of each measure; seams: how many were looked at."""

    error_db: float
    level_db: float
    click: float
    seams: int


@dataclass(frozen=True)
class SeamRanks:
    """One rank for each seam, 0 to 1: the share of other places in the audio that are smoother.

    Seams that cannot be told from other places have ranks around 0.5; audible ones near 1.
    click: by the sharpest bend within 5 ms, over the sharpest in the 20 ms on either side;
    level: by the step in level between the 20 ms before and the 20 ms after.
    """

    click: tuple[float, ...]
    level: tuple[float, ...]


def measure(
    streamed: Float32, one_shot: Float32, seams: Sequence[int], sample_rate: int
) -> SeamReport:
    """Compare two waveforms of equal length (n,); seams: the sample index of each chunk's start."""
    assert streamed.shape == one_shot.shape, f"{streamed.shape} and {one_shot.shape}"
    error = _rms(streamed - one_shot) / max(_rms(one_shot), SILENCE)
    window, near = sample_rate // 50, sample_rate // 200
    levels = [
        _level_change(streamed[begin : begin + window], one_shot[begin : begin + window])
        for seam in seams
        for begin in range(max(0, seam - 2 * window), seam + 2 * window, window // 2)
    ]
    clicks = [
        _sharpest(streamed, seam, near) / max(_sharpest(one_shot, seam, near), DIFFERENCE_FLOOR)
        for seam in seams
    ]
    return SeamReport(
        error_db=20 * float(np.log10(max(error, 1e-9))),
        level_db=max(levels, default=0.0),
        click=max(clicks, default=1.0),
        seams=len(seams),
    )


def compare_with_elsewhere(wave: Float32, seams: Sequence[int], sample_rate: int) -> SeamRanks:
    """Rank the seams of (n,) streamed samples among places every 10 ms, 40 ms from any seam.

    No ranks where the audio is too short to hold 20 such places.
    """
    window = sample_rate // 50
    step = round(ELSEWHERE_STEP_S * sample_rate)
    inside = [seam for seam in seams if window <= seam <= len(wave) - window]
    elsewhere = [
        place
        for place in range(window, len(wave) - window, step)
        if all(abs(place - seam) > 2 * window for seam in seams)
    ]
    if len(elsewhere) < FEWEST_ELSEWHERE:
        return SeamRanks((), ())
    usual = np.array([_roughness(wave, place, sample_rate) for place in elsewhere])
    ranks = [np.mean(usual < _roughness(wave, s, sample_rate), axis=0) for s in inside]
    return SeamRanks(
        click=tuple(float(rank[0]) for rank in ranks), level=tuple(float(rank[1]) for rank in ranks)
    )


def seams_of(chunks: Sequence[Float32]) -> list[int]:
    """Where the chunks of a stream meet, in samples."""
    starts = np.cumsum([len(chunk) for chunk in chunks if len(chunk)])
    return [int(start) for start in starts[:-1]]


def _roughness(wave: Float32, place: int, sample_rate: int) -> tuple[float, float]:
    """Click and level step at a place that has 20 ms on both sides."""
    window, near = sample_rate // 50, sample_rate // 200
    before, after = wave[place - window : place], wave[place : place + window]
    around = max(
        _sharpest(before, window // 2 - near // 2, window // 2 - near // 2),
        _sharpest(after, window // 2 + near // 2, window // 2 - near // 2),
        DIFFERENCE_FLOOR,
    )
    return _sharpest(wave, place, near) / around, _level_change(after, before)


def _rms(wave: Float32) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if len(wave) else 0.0


def _level_change(streamed: Float32, one_shot: Float32) -> float:
    levels = [max(_rms(wave), SILENCE) for wave in (streamed, one_shot)]
    return abs(20 * float(np.log10(levels[0] / levels[1])))


def _sharpest(wave: Float32, seam: int, near: int) -> float:
    return float(np.abs(np.diff(wave[max(0, seam - near) : seam + near], n=2)).max(initial=0.0))
