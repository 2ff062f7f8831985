"""How far streamed audio is from one-shot audio of the same mel, above all where chunks meet.

Three measures, each of the streamed waveform against the one-shot one:

- relative RMS error over everything, in dB;
- level change: the largest difference in level, in dB, of 20 ms windows within 40 ms of a seam;
- click: the largest second difference within 5 ms of a seam over the one-shot's there. A step in
  the waveform or in its slope makes it large, 1 is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tritone.types import Float32

SILENCE = 1e-4  # RMS below which a level says nothing: -80 dBFS
DIFFERENCE_FLOOR = 1e-4  # of second differences, for seams in silence


@dataclass(frozen=True)
class SeamReport:
    """The worst of each measure; seams: how many were looked at."""

    error_db: float
    level_db: float
    click: float
    seams: int


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


def seams_of(chunks: Sequence[Float32]) -> list[int]:
    """Where the chunks of a stream meet, in samples."""
    starts = np.cumsum([len(chunk) for chunk in chunks if len(chunk)])
    return [int(start) for start in starts[:-1]]


def _rms(wave: Float32) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if len(wave) else 0.0


def _level_change(streamed: Float32, one_shot: Float32) -> float:
    levels = [max(_rms(wave), SILENCE) for wave in (streamed, one_shot)]
    return abs(20 * float(np.log10(levels[0] / levels[1])))


def _sharpest(wave: Float32, seam: int, near: int) -> float:
    return float(np.abs(np.diff(wave[max(0, seam - near) : seam + near], n=2)).max(initial=0.0))
