"""What of a text has been sent as sound. No I/O."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Segment:
    """text: characters of it, from and up to. samples: of the answer in which they are said."""

    text: tuple[int, int]
    samples: tuple[int, int]


class Progress:
    """Of one speech. rates: Hz of the model and of the answer. sent: samples, at the model's rate;
    what an encoder holds back counts as sent. characters: of the text, so far. tokens: of speech.
    """

    def __init__(self, characters: int) -> None:
        self.characters, self.rates = characters, (1, 1)
        self.sent = self.tokens = 0
        self._segments: list[Segment] = []  # at the model's rate

    def heard_of(self, record: dict[str, Any]) -> Iterator[Segment]:
        """The segments that this record of the server's tells of and none did before."""
        self.tokens = record.get("tokens", self.tokens)
        for span in record.get("spans", ())[len(self._segments) :]:
            segment = Segment((span["text"][0], span["text"][1]), tuple(span["samples"]))
            self._segments.append(segment)
            yield self._answered(segment)

    @property
    def samples(self) -> int:
        """Of the answer, that were sent."""
        return self._scaled(self.sent)

    @property
    def text_end(self) -> int:
        """Up to this character the text was sent whole."""
        return self._whole[0]

    @property
    def under_way(self) -> tuple[int, int] | None:
        """Where in the text and from which sample on more was being said; None for nothing."""
        character, sample = self._whole
        if self.sent <= sample:
            return None
        return character, self._scaled(sample)

    @property
    def usage(self) -> dict[str, int]:
        """As OpenAI has it: characters in, speech tokens out."""
        return {
            "input_tokens": self.characters,
            "output_tokens": self.tokens,
            "total_tokens": self.characters + self.tokens,
        }

    @property
    def _whole(self) -> tuple[int, int]:
        """Where the last segment ends that was sent to its end: character, sample."""
        ended = [s for s in self._segments if s.samples[1] <= self.sent]
        return (ended[-1].text[1], ended[-1].samples[1]) if ended else (0, 0)

    def _answered(self, segment: Segment) -> Segment:
        first, last = segment.samples
        return Segment(segment.text, (self._scaled(first), self._scaled(last)))

    def _scaled(self, samples: int) -> int:
        source, rate = self.rates
        return round(samples * rate / source)
