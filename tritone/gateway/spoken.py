"""What of a text has been sent as sound, after the server's records. No I/O."""

from collections.abc import Mapping, Sequence
from typing import Any

from tritone.gateway.segments import Segment

_Span = Mapping[str, Sequence[int]]


class Progress:
    """Of one speech. rates: Hz of the model and of the answer. sent: samples, at the model's rate;
    what an encoder holds back counts as sent. characters: of the text, so far. tokens: of speech.
    whole: the segments that were sent to their end.
    """

    def __init__(self, text: str = "", rates: tuple[int, int] = (1, 1)) -> None:
        self.rates, self.characters = rates, len(text)
        self.sent = self.tokens = 0
        self.whole: list[Segment] = []
        self._pieces, self._spans = [text], list[_Span]()

    def say(self, piece: str) -> None:
        """The text goes on."""
        self._pieces.append(piece)
        self.characters += len(piece)

    def advance(self, samples: int, record: Mapping[str, Any] | None) -> list[Segment]:
        """So many more were sent, with this record of the server's. What is whole by that: a
        record tells of a segment when it is made, which is before all of its sound has left.

        Each begins in the text where the one before it ended, also where the server, who saw more
        of the text meanwhile, has it end later by what is not spoken."""
        self.sent += samples
        if record:
            self.tokens = record.get("tokens", self.tokens)
            self._spans = record.get("spans", self._spans)
        begin = len(self.whole)
        for span in self._spans[begin:]:
            if span["samples"][1] > self.sent:
                break
            self.whole.append(self._segment(span))
        return self.whole[begin:]

    @property
    def samples(self) -> int:
        """Of the answer, that were sent."""
        return self._scaled(self.sent)

    @property
    def seconds(self) -> float:
        """Of speech, that were sent."""
        return self.sent / self.rates[0]

    @property
    def text_end(self) -> int:
        """Up to this character the text was sent whole."""
        return self.whole[-1].text_span[1] if self.whole else 0

    @property
    def under_way(self) -> tuple[int, int] | None:
        """Where in the text and from which sample on more was being said; None for nothing."""
        sample = self._spans[len(self.whole) - 1]["samples"][1] if self.whole else 0
        return (self.text_end, self._scaled(sample)) if self.sent > sample else None

    @property
    def usage(self) -> dict[str, int]:
        """As OpenAI has it: characters in, speech tokens out."""
        return {
            "input_tokens": self.characters,
            "output_tokens": self.tokens,
            "total_tokens": self.characters + self.tokens,
        }

    def _segment(self, span: _Span) -> Segment:
        text, begin, end = "".join(self._pieces), self.text_end, span["text"][1]
        self._pieces = [text]
        first, last = map(self._scaled, span["samples"])
        number, rate = len(self.whole), self.rates[1]
        return Segment(number, text[begin:end], (begin, end), (first, last), rate)

    def _scaled(self, samples: int) -> int:
        source, rate = self.rates
        return round(samples * rate / source)
