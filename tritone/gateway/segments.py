"""A part of a text, and when it is heard."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Segment:
    """text_span: its first character in the text as it was sent, and the one behind its last.
    samples: the same of the sound, at `rate` Hz."""

    number: int
    text: str
    text_span: tuple[int, int]
    samples: tuple[int, int]
    rate: int

    @property
    def start_ms(self) -> int:
        return _ms(self.samples[0], self.rate)

    @property
    def end_ms(self) -> int:
        return _ms(self.samples[1], self.rate)

    def content(self) -> dict[str, Any]:
        """For JSON; start and end in seconds."""
        return {
            "id": self.number,
            "text": self.text,
            "text_span": list(self.text_span),
            "samples": list(self.samples),
            "start": self.start_ms / 1000,
            "end": self.end_ms / 1000,
        }


def _ms(sample: int, rate: int) -> int:
    """To the nearest millisecond."""
    return (2000 * sample + rate) // (2 * rate)
