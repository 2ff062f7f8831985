"""Where a request's time went: one record for the log, the `timing` output and the metrics."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Timing:
    """Seconds since the request arrived, unless a name says otherwise; None is not reached yet."""

    clock: Callable[[], float] = time.monotonic
    frontend: float | None = None
    first_token: float | None = None
    first_hop: float | None = None  # the first call's tokens are complete
    first_packet: float | None = None
    total: float | None = None
    flow: float = 0.0  # seconds spent waiting for the stage
    vocoder: float = 0.0
    segments: int = 0
    tokens: int = 0
    samples: int = 0
    packets: int = 0
    retries: int = 0
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._start = self.clock()

    def elapsed(self) -> float:
        return self.clock() - self._start

    def mark(self, event: str) -> None:
        """Set the time of an event, the first time it happens."""
        if getattr(self, event) is None:
            setattr(self, event, self.elapsed())

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def ahead(self, sample_rate: int) -> float:
        """Audio sent and not yet played, in seconds, if playback began with the first packet."""
        if self.first_packet is None:
            return 0.0
        return self.samples / sample_rate - (self.elapsed() - self.first_packet)

    def until_dry(self, sample_rate: int, patience: float) -> float:
        """Seconds until playback runs dry; before the first packet, what is left of `patience`."""
        if self.first_packet is None:
            return patience - self.elapsed()
        return self.ahead(sample_rate)

    def record(self, sample_rate: int) -> dict[str, object]:
        """The record as plain values, times rounded to 0.1 ms."""
        times = ("frontend", "first_token", "first_hop", "first_packet", "total", "flow", "vocoder")
        record: dict[str, object] = {
            f"{name}_s": None if value is None else round(value, 4)
            for name, value in ((name, getattr(self, name)) for name in times)
        }
        audio = self.samples / sample_rate
        record.update(
            segments=self.segments,
            tokens=self.tokens,
            packets=self.packets,
            retries=self.retries,
            audio_s=round(audio, 4),
            rtf=round(self.total / audio, 4) if self.total and audio else None,
            notes=list(self.notes),
        )
        return record
