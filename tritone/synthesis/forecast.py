"""What the next stream can expect: its first audio, and whether playback would hold.

Both are learnt from the streams before. A first packet takes longer the more streams are spoken
when it is asked for; a line is laid through what was seen, and lately counts more.
"""

from dataclasses import dataclass

_FORGET = 0.97  # what an observation still counts after the next one
_QUANTILE, _STEP = 0.95, 0.05  # of observed over predicted, and how fast it follows


@dataclass
class _Line:
    """Least squares with forgetting, of y over x; through the mean, and never falling."""

    weight: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    def add(self, x: float, y: float) -> None:
        for name, value in (("weight", 1.0), ("x", x), ("y", y), ("xx", x * x), ("xy", x * y)):
            setattr(self, name, _FORGET * getattr(self, name) + value)

    def at(self, x: float) -> float:
        mean_x, mean_y = self.x / self.weight, self.y / self.weight
        spread = self.xx / self.weight - mean_x**2
        if spread < 0.05:  # all seen beside as many others: each stream is taken to cost as much
            return mean_y * (1 + max(0.0, x - mean_x) / (1 + mean_x))
        slope = max(0.0, (self.xy / self.weight - mean_x * mean_y) / spread)
        return max(mean_y + slope * (x - mean_x), 0.0)


class Forecast:
    """Not thread-safe.

    speed: seconds of audio that the server makes in a second when it is busy; 0 until one stream
    was spoken.
    """

    def __init__(self) -> None:
        self._line = _Line()
        self._late = 1.0  # the quantile of observed over predicted
        self.speed = 0.0

    def first_audio(self, running: int) -> float | None:
        """Seconds that 19 of 20 streams stay below that begin while `running` are spoken; None
        before the first was seen."""
        if not self._line.weight:
            return None
        return self._line.at(running) * self._late

    def saw_first_audio(self, running: int, seconds: float) -> float | None:
        """A stream that began while `running` were spoken took so long; the ratio of that to what
        was expected in the middle, if anything was."""
        ratio = None
        if self._line.weight and (expected := self._line.at(running)) > 0:
            ratio = seconds / expected
            above = ratio > self._late
            self._late += _STEP * (_QUANTILE if above else _QUANTILE - 1)
            self._late = max(1.0, self._late)
        self._line.add(running, seconds)
        return ratio

    def saw_speech(self, running: float, audio: float, seconds: float) -> None:
        """A stream made so much audio in so many seconds, beside others: `running` on average, it
        among them."""
        if seconds > 0:
            speed = running * audio / seconds
            self.speed = speed if not self.speed else 0.9 * self.speed + 0.1 * speed
