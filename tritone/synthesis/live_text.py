"""The text of a request, whole or while it is being written.

It is spoken part by part. A part is what is complete of the text when it is asked for: whole
sentences, or all that there is after a flush, after a while without more, and at the end.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from tritone.errors import Cancelled, InvalidRequest
from tritone.frontend.text.line import Break
from tritone.frontend.text.sentences import break_between, complete
from tritone.synthesis.limits import check_text

FIELD = "target_text"
_LOOK_S = 0.02  # whether somebody still waits for the speech


@dataclass(frozen=True)
class TextPart:
    """start: of its text within the whole, in characters. continues: the break before it."""

    text: str
    start: int = 0
    continues: Break = Break.NONE


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


class WholeText:
    """A text that is all there."""

    live = False

    def __init__(self, text: str) -> None:
        self._text: str | None = text
        self.length = self.taken = len(text)

    def take(self, *, wait: bool, unwanted: Callable[[], bool]) -> TextPart | NoText:
        text, self._text = self._text, None
        return NoText.MORE if text is None else TextPart(text)


class LiveText:
    """A text that comes in pieces, put by one thread and taken by another."""

    live = True

    def __init__(
        self,
        longest: int,
        *,
        flush_after_s: float | None = None,
        idle_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """longest: characters in all. flush_after_s: without a piece, after which what there is
        is spoken. idle_s: likewise, after which the request ends with InvalidRequest."""
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

    def take(self, *, wait: bool, unwanted: Callable[[], bool]) -> TextPart | NoText:
        while True:
            with self._changed:
                part = self._next()
                if part is not NoText.YET or not wait:
                    return part
                self._changed.wait(_LOOK_S)
            if unwanted():
                raise Cancelled("the caller no longer wants the audio")

    def _next(self) -> TextPart | NoText:
        if self._error:
            raise self._error
        count = self._ready()
        if self._text[:count].strip():
            part, self._text = self._text[:count], self._text[count:]
            start, before, self._before = self.taken, self._before, part
            self.taken += count
            return TextPart(part, start, break_between(before, part))
        return NoText.MORE if self._ended else NoText.YET

    def _ready(self) -> int:
        """Characters that may be spoken."""
        quiet = self._clock() - self._came
        if self._ended or (self.flush_after_s is not None and quiet >= self.flush_after_s):
            return len(self._text)
        if self._idle is not None and quiet >= self._idle:
            raise InvalidRequest(
                FIELD, f"no piece came for {quiet:.0f} s; the limit is {self._idle:g} s"
            )
        return max(self._flushed - self.taken, complete(self._text))
