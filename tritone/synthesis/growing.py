"""A segment whose text is still being written, and the thread that brings more of it."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tritone.errors import Cancelled, NothingToSay
from tritone.llm.contract import Generation, Increment, MoreText
from tritone.synthesis.live_text import TextPart, TextSource
from tritone.synthesis.rules import SpeechRules
from tritone.synthesis.values import Segment

Bounds = Callable[[Segment], tuple[int, int]]


@dataclass
class _Reader:
    """The generation that speaks the text. bounds: fewest and most of its tokens. read: ids of the
    text that it was given."""

    generation: Generation
    bounds: Bounds
    read: int


class GrowingSegment:
    """segment: with the text so far. open: whether more follows.

    Generations speak it one after the other, where one has to be given up; each gets all of it.
    """

    def __init__(
        self,
        source: TextSource,
        part: TextPart,
        segment: Segment,
        prepare: Callable[[TextPart], Segment],
        rules: SpeechRules,
        unwanted: Callable[[], bool],
    ) -> None:
        """part, segment: what there is already. prepare: the segment of a part that has grown;
        raises NothingToSay."""
        self._source, self._part, self._prepare, self._rules = source, part, prepare, rules
        self._unwanted, self._stopped = unwanted, threading.Event()
        self.segment, self.open = segment, True
        self._reader: _Reader | None = None
        self._error: Exception | None = None  # of the text; `finish` forgets it
        self._changed = threading.Lock()
        self._thread = threading.Thread(target=self._follow, name="growing", daemon=True)
        self._thread.start()

    def begin(self, start: Callable[[Segment, bool], Generation], bounds: Bounds) -> Generation:
        """Start a generation, of the segment so far and whether it is open; it gets the rest."""
        with self._changed:
            generation = start(self.segment, self.open)
            if self._error:  # nobody would bring more, or end it
                generation.cancel()
            elif self.open:
                self._reader = _Reader(generation, bounds, self.segment.target_tokens)
            return generation

    def detach(self) -> None:
        """The generation gets no more."""
        with self._changed:
            self._reader = None

    def spoken(self, increments: Iterable[Increment]) -> Iterator[Increment]:
        """What the generation gives; raises what broke the text."""
        try:
            yield from increments
        except Cancelled:
            if self._error is None:
                raise
        if self._error:
            raise self._error

    def finish(self) -> None:
        """The segment has been spoken. What is not settled of a text that goes on is left to the
        next one."""
        self._stopped.set()
        self._thread.join()
        self._error = None  # it knows the frames that know this object
        self._source.leave(self._part)
        self.open = False

    def _follow(self) -> None:
        try:
            part = self._part
            while part.open:
                part = self._source.grown(part, unwanted=self._over)
                self._grow(part)
        except Cancelled:
            if self._unwanted():  # who reads the tokens may be stuck in a call of a model that died
                self._give_up()
        except Exception as error:
            self._error = error
            self._give_up()

    def _give_up(self) -> None:
        """Nothing more will be brought: a generation would wait for it for ever."""
        with self._changed:
            if self._reader:
                self._reader.generation.cancel()

    def _over(self) -> bool:
        return self._stopped.is_set() or self._unwanted()

    def _grow(self, part: TextPart) -> None:
        try:
            segment = self._prepare(part)
        except NothingToSay:
            segment = self.segment
        with self._changed:
            self._part, self.segment, self.open = part, segment, part.open
            if reader := self._reader:
                ids = self._rules.text_ids(segment)[reader.read :]
                reader.read += len(ids)
                least, most = reader.bounds(segment)
                reader.generation.extend(MoreText(ids, not part.open, least, most))
