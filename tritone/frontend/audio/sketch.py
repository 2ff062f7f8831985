"""A coarse picture of an utterance, alike where the same words are said in the same voice."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tritone.arrays import Float32
from tritone.frontend.audio.features import Float64, slaney_filters

BANDS, COLUMNS = 16, 16
HIGHEST_HZ = 8000.0
WINDOW_S, HOP_S = 0.032, 0.01
RANGE_DB = 60.0  # below the loudest band of the utterance everything is equal
SILENCE_DBFS = -120.0


@dataclass(frozen=True)
class Sketch:
    """seconds: duration. level_dbfs: RMS over full scale. bands_db: (BANDS,) mean level of each mel
    band, their own mean 0. course_db: (COLUMNS, BANDS) the level of each band over sixteenths of
    the time, the mean of each band 0."""

    seconds: float
    level_dbfs: float
    bands_db: Float64
    course_db: Float64

    @classmethod
    def of(cls, wave: Float32, rate: int) -> "Sketch":
        """Of finite samples (n,) at a rate in Hz."""
        power = float(np.mean(np.square(wave, dtype=np.float64))) if len(wave) else 0.0
        level = max(SILENCE_DBFS, 10 * np.log10(power + 1e-30))
        levels = _levels(wave, rate)
        columns = np.array_split(np.arange(len(levels)), COLUMNS)
        course = np.array([levels[c].mean(axis=0) if len(c) else levels[-1] for c in columns])
        bands = levels.mean(axis=0)
        return cls(len(wave) / rate, level, bands - bands.mean(), course - course.mean(axis=0))

    def spectrum_db(self, other: "Sketch") -> float:
        """How far the bands' levels differ, RMS."""
        return float(np.sqrt(np.mean((self.bands_db - other.bands_db) ** 2)))

    def likeness(self, other: "Sketch") -> float:
        """Correlation of what is heard when, -1 to 1; 0 where nothing changes."""
        product = float(np.sum(self.course_db * other.course_db))
        own = float(np.sqrt(np.sum(self.course_db**2) * np.sum(other.course_db**2)))
        return product / own if own else 0.0


def _levels(wave: Float32, rate: int) -> Float64:
    """(frames, BANDS) in dB, at least one frame."""
    length, hop = round(WINDOW_S * rate), round(HOP_S * rate)
    frames = sliding_window_view(np.pad(wave, (0, length)), length)[::hop] * np.hanning(length)
    filters = slaney_filters(rate, length, BANDS, min(HIGHEST_HZ, rate / 2))
    levels = 10 * np.log10(np.abs(np.fft.rfft(frames)) ** 2 @ filters.T + 1e-12)
    limited: Float64 = np.maximum(levels, levels.max() - RANGE_DB)
    return limited
