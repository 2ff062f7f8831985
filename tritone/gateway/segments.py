"""Which part of a text is heard when: the server's spans, in the words of an answer."""

from collections.abc import Sequence
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


class SegmentLog:
    """Those of one text. source_rate: Hz of the server's samples. rate: of the answer's."""

    def __init__(self, text: str, source_rate: int, rate: int) -> None:
        self._text, self._source_rate, self._rate = text, source_rate, rate
        self._spans: Sequence[dict[str, list[int]]] = ()
        self.known: list[Segment] = []

    def update(self, timing: dict[str, Any] | None) -> list[Segment]:
        """What a packet's record tells of anew. The last one of a record is kept back: where it
        ends in the text may change as long as nothing is known to follow."""
        self._spans = (timing or {}).get("spans", self._spans)
        return self._take(len(self._spans) - 1)

    def end(self) -> list[Segment]:
        """What is left when all was said."""
        return self._take(len(self._spans))

    def _take(self, until: int) -> list[Segment]:
        begin = len(self.known)
        self.known += [self._segment(number) for number in range(begin, until)]
        return self.known[begin:]

    def _segment(self, number: int) -> Segment:
        span = self._spans[number]
        start, end = span["text"]
        first, last = (round(at * self._rate / self._source_rate) for at in span["samples"])
        return Segment(number, self._text[start:end], (start, end), (first, last), self._rate)


def _ms(sample: int, rate: int) -> int:
    """To the nearest millisecond."""
    return (2000 * sample + rate) // (2 * rate)
