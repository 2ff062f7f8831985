"""What a listener hears who begins to play with the first packet."""

import numpy as np

from tritone.arrays import Float32

AUDIBLE_DBFS = -50.0
"""A sample above this level counts as heard."""

_JITTER_S = 1e-3  # a packet this late is the scheduler's doing, not a gap in the sound


class Playback:
    """Playback of one stream; all times in seconds on one clock of the caller's.

    first, first_audible: when playback begins, and when it reaches the first audible sample; None
    until then. gaps: between neighbouring packets. underruns, dry: how often it ran dry, and for
    how long.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._last = self._ends = 0.0
        self.first: float | None = None
        self.first_audible: float | None = None
        self.samples = 0
        self.gaps: list[float] = []
        self.underruns = 0
        self.dry = 0.0

    @property
    def audio(self) -> float:
        """Seconds of audio so far."""
        return self.samples / self._rate

    def packet(self, now: float, wave: Float32) -> None:
        """A packet that is there now; (n,) samples, n >= 1."""
        if self.first is None:
            self.first = self._ends = now
        else:
            self.gaps.append(now - self._last)
            late = now - self._ends
            if late > _JITTER_S:
                self.underruns += 1
                self.dry += late
        begins = max(now, self._ends)
        if self.first_audible is None:
            audible = np.flatnonzero(np.abs(wave) > 10 ** (AUDIBLE_DBFS / 20))
            if audible.size:
                self.first_audible = begins + float(audible[0]) / self._rate
        self._last = now
        self._ends = begins + len(wave) / self._rate
        self.samples += len(wave)

    def ahead(self, now: float) -> float:
        """Audio sent and not yet played; below zero when it has run dry, zero before it begins."""
        return 0.0 if self.first is None else self._ends - now
