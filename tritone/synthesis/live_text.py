"""The text of a request, whole or while it is being written.

It is spoken part by part. A part is what is complete of the text when it is asked for: whole
sentences, or all that there is after a flush, after a while without more, and at the end.
Where a text may grow, a part begins with its first words instead, and ends where it is divided.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Protocol

from tritone.errors import Cancelled, InvalidRequest
from tritone.frontend.text.growing import part_end, settled
from tritone.frontend.text.line import Break
from tritone.frontend.text.sentences import break_between, complete
from tritone.synthesis.limits import check_text

FIELD, MODE_FIELD = "target_text", "text_mode"
_LOOK_S = 0.02  # whether somebody still waits for the speech


@dataclass(frozen=True)
class TextPart:
    """start: of its text within the whole, in characters. continues: the break before it. settled:
    of a part that grows, the characters that are read alike whatever follows; all at its end."""

    text: str
    start: int = 0
    continues: Break = Break.NONE
    settled: int | None = None

    @property
    def open(self) -> bool:
        """Whether more of it follows."""
        return self.settled is not None and self.settled < len(self.text)


class TextMode(Enum):
    """How a text that comes in pieces is taken: by whole sentences, or by words while the model
    speaks; AUTO: the latter where the model and its runtime can."""

    SENTENCES = "sentences"
    INTERLEAVED = "interleaved"
    AUTO = "auto"

    @classmethod
    def named(cls, name: object) -> "TextMode":
        """Raises InvalidRequest for a name that is none of them."""
        names = [mode.value for mode in cls]
        if name not in names:
            raise InvalidRequest(MODE_FIELD, f"is {name!r}; take one of {', '.join(names)}")
        return cls(name)


class NoText(Enum):
    """In place of a part."""

    YET = auto()
    MORE = auto()


class TextSource(Protocol):
    """live: more may come while some of it is spoken."""

    live: bool

    @property
    def length(self) -> int:
        """Characters so far."""

    @property
    def taken(self) -> int:
        """Characters of the parts so far."""

    def take(self, *, wait: bool, unwanted: Callable[[], bool]) -> TextPart | NoText:
        """The next part; NoText.MORE after the last one; NoText.YET where none is complete and
        there is to be no wait. Raises Cancelled once `unwanted()` is true."""

    def grown(self, part: TextPart, *, unwanted: Callable[[], bool]) -> TextPart:
        """The part that was taken last, open, once more of it is settled or it has ended. Raises
        Cancelled likewise."""

    def leave(self, part: TextPart) -> None:
        """End the part that was taken last, open, after what is settled of it."""


class WholeText:
    """A text that is all there."""

    live = False

    def __init__(self, text: str) -> None:
        self._text: str | None = text
        self.length = self.taken = len(text)

    def take(self, *, wait: bool, unwanted: Callable[[], bool]) -> TextPart | NoText:
        text, self._text = self._text, None
        return NoText.MORE if text is None else TextPart(text)

    def grown(self, part: TextPart, *, unwanted: Callable[[], bool]) -> TextPart:
        return part

    def leave(self, part: TextPart) -> None:
        """No part of it is open."""


class LiveText:
    """A text that comes in pieces, put by one thread and taken by another."""

    live = True

    def __init__(
        self,
        longest: int,
        *,
        flush_after_s: float | None = None,
        idle_s: float | None = None,
        mode: TextMode = TextMode.SENTENCES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """longest: characters in all. flush_after_s: without a piece, after which what there is
        is spoken. idle_s: likewise, after which the request ends with InvalidRequest. mode: that
        was asked for; parts grow only once `may_grow` is set."""
        self.mode, self.may_grow = mode, False
        self._longest, self.flush_after_s, self._idle = longest, flush_after_s, idle_s
        self._clock, self._came = clock, clock()
        self._text, self.taken, self._flushed = "", 0, 0
        self._before = ""  # what was taken last
        self._ended = False
        self._error: Exception | None = None
        self._changed = threading.Condition()

    @property
    def ended(self) -> bool:
        """Whether no more is taken."""
        return self._ended

    @property
    def length(self) -> int:
        return self.taken + len(self._text)

    def put(self, piece: str) -> None:
        """Raises InvalidRequest for what is no text, and where it becomes too long."""
        check_text(FIELD, piece, self._longest)
        with self._changed:
            if self.length + len(piece) > self._longest:
                raise InvalidRequest(
                    FIELD,
                    f"has {self.length + len(piece)} characters with this piece; the limit is "
                    f"{self._longest}",
                )
            if not self._ended:
                self._text += piece
            self._came = self._clock()
            self._changed.notify_all()

    def flush(self) -> None:
        """Speak what there is."""
        with self._changed:
            self._flushed = self.length
            self._changed.notify_all()

    def end(self, error: Exception | None = None) -> None:
        """No more comes; error: and this is raised where the next part is asked for."""
        with self._changed:
            self._ended, self._error = True, error or self._error
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody asks for more: what would be raised is dropped."""
        with self._changed:
            self._ended, self._error = True, None
            self._changed.notify_all()

    def take(self, *, wait: bool, unwanted: Callable[[], bool]) -> TextPart | NoText:
        if not wait:
            with self._changed:
                return self._next()
        return self._awaited(self._next, unwanted)

    def grown(self, part: TextPart, *, unwanted: Callable[[], bool]) -> TextPart:
        assert part.settled is not None
        before = part.settled

        def more() -> TextPart | NoText:
            return self._more_of(part, before)

        found = self._awaited(more, unwanted)
        assert isinstance(found, TextPart)
        return found

    def leave(self, part: TextPart) -> None:
        with self._changed:
            if part.open and self.taken == part.start:
                assert part.settled is not None
                self._cut(part.settled)

    def _awaited(
        self, look: Callable[[], TextPart | NoText], unwanted: Callable[[], bool]
    ) -> TextPart | NoText:
        while True:
            with self._changed:
                found = look()
                if found is not NoText.YET:
                    return found
                self._changed.wait(_LOOK_S)
            if unwanted():
                raise Cancelled

    def _next(self) -> TextPart | NoText:
        self._check()
        count, start, before = self._ready(), self.taken, self._before
        if self._text[:count].strip():
            part = self._cut(count)
            return TextPart(part, start, break_between(before, part))
        if self.may_grow and not self._ended and (read := settled(self._text)):
            return TextPart(self._text, start, break_between(before, self._text), read)
        return NoText.MORE if self._ended else NoText.YET

    def _more_of(self, part: TextPart, before: int) -> TextPart | NoText:
        self._check()
        for end in (part_end(self._text), self._wanted()):
            if end >= before:
                text = self._cut(end)
                return replace(part, text=text, settled=len(text))
        read = settled(self._text)
        return replace(part, text=self._text, settled=read) if read > before else NoText.YET

    def _cut(self, count: int) -> str:
        """Take so many characters."""
        self._before, self._text = self._text[:count], self._text[count:]
        self.taken += count
        return self._before

    def _ready(self) -> int:
        """Characters that may be spoken."""
        return max(self._wanted(), complete(self._text))

    def _wanted(self) -> int:
        """Characters that are to be spoken, complete or not."""
        if self._ended or (self.flush_after_s is not None and self._quiet >= self.flush_after_s):
            return len(self._text)
        return max(0, self._flushed - self.taken)

    def _check(self) -> None:
        """Raise what has been put in the place of more text, and where none has come."""
        if self._error:
            raise self._error
        waits = not self._ended and not (self.flush_after_s and self._quiet >= self.flush_after_s)
        if waits and self._idle is not None and self._quiet >= self._idle:
            raise InvalidRequest(
                FIELD, f"no piece came for {self._quiet:.0f} s; the limit is {self._idle:g} s"
            )

    @property
    def _quiet(self) -> float:
        return self._clock() - self._came
