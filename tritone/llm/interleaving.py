"""Text and speech in turns: how a generation goes on while its text is being written.

The model (Du et al., arXiv:2412.10117) reads `Turns.text` ids of text, says
`Turns.speech` codes and then a fill token, and so on. Once the text has ended it reads the rest of
it and a closing id, and speaks to the end. A recording to go on from takes turns with its words.

    head · 5 text · 15 speech · 5 text · 15 speech · ... · rest of the text · closing · speech

What is read does not depend on when the text comes: the same text in any pieces is read alike.
Sans-I/O: no clock, no lock, no session.
"""

from collections import deque
from collections.abc import Iterable
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from tritone.arrays import Float32, Int32
from tritone.llm.config import LLMConfig
from tritone.llm.contract import OpenText, Turns


class Drawn(Enum):
    """What a row of the speech head is: a code, a wish for more text, the end. WAIT: there is none,
    as text has to come first."""

    CODE = auto()
    FILL = auto()
    END = auto()
    WAIT = auto()


class _Phase(Enum):
    WAITING = auto()  # for text, to read it
    SPEAKING = auto()  # up to a fill token
    CLOSING = auto()  # up to the end


class Interleaving:
    """One generation. Wherever it is `ready`, `take` and read; then draw until it waits or ends.

    Draws are from `masked` logits unless a row is `forced`; all are told to `drawn`. A code is read
    before the next draw. places: position, among all that was read, of what is no speech. anew:
    whether what is taken is read from the first position on.
    """

    anew = False

    def __init__(self, head: Int32, text: OpenText, llm: LLMConfig) -> None:
        """head: (n,) LLM ids before the text."""
        assert isinstance(text.way, Turns)
        turns = self._turns = text.way
        self._offset = llm.speech_offset
        self._text = deque(text.ids.tolist())
        self._recorded = deque(text.speech.tolist())
        self._ended = text.ended
        self.places: list[int] = []
        self._length = 0  # of what was read, or taken to be read
        self._unread: list[int] = []
        self._phase, self._laid = _Phase.WAITING, False
        self._last_code: list[int] = []
        self._count = 0  # draws
        self._next_fill = turns.speech - len(text.speech) % turns.speech
        self._fill, self._end = (i - self._offset for i in (turns.fill_id, llm.stop_ids[0]))
        stops = np.arange(llm.speech_head_size) >= llm.speech_codes
        self._barred = {
            _Phase.SPEAKING: _without(stops, self._fill),
            _Phase.CLOSING: _without(stops, self._end),
        }
        self._put(head.tolist())
        self._lay_recording()

    def extend(self, ids: Int32, *, ended: bool) -> None:
        """More of the text, (n,) LLM ids; what comes after its end is left out."""
        if self._ended:
            return
        self._text.extend(ids.tolist())
        self._ended = ended
        self._lay_recording()

    @property
    def ready(self) -> bool:
        """Whether there is enough to read before the next draw."""
        waits = self._phase is _Phase.WAITING
        return waits and (self._ended or self._opened or self._has_turn)

    def take(self) -> Int32:
        """(n,) ids to be read now; only when `ready`."""
        assert self.ready
        if self._opened or self._has_turn:
            self._phase = _Phase.SPEAKING
            if not self._opened:
                self._put(self._next(self._text, self._turns.text))
        else:
            self._phase = _Phase.CLOSING
            # upstream reads the last code again here, and so models are expected to go on
            self._put(self._last_code, speech=True)
            self._put([*self._text, self._turns.closing_id])
            self._text.clear()
        self._laid = False
        ids, self._unread = np.array(self._unread, np.int32), []
        return ids

    @property
    def forced(self) -> int | None:
        """The row to take in the place of a draw."""
        due = self._phase is _Phase.SPEAKING and self._count == self._next_fill
        return self._fill if due else None

    @staticmethod
    def waits_for_text(said: int | None) -> bool:
        """Whether text has to come before the next draw: the model itself says so, by a row."""
        return False

    def masked(self, logits: Float32) -> Float32:
        """A copy of (rows,) logits, without the stop ids that do not fit here."""
        logits = logits.copy()
        logits[self._barred[self._phase]] = -np.inf
        return logits

    def drawn(self, row: int) -> Drawn:
        """Take note of a row."""
        self._count += 1
        if self._phase is _Phase.CLOSING and row == self._end:
            return Drawn.END
        if self._phase is _Phase.SPEAKING and row == self._fill:
            self._phase = _Phase.WAITING
            self._next_fill = self._count + self._turns.speech
            return Drawn.FILL
        self._length += 1
        self._last_code = [self._offset + row]
        return Drawn.CODE

    @property
    def _opened(self) -> bool:
        """Whether a recording has been laid out and not been read: speech goes on from it."""
        return self._laid and not self._recorded

    @property
    def _has_turn(self) -> bool:
        return not self._recorded and len(self._text) >= self._turns.text

    def _lay_recording(self) -> None:
        """Lay out the recording's turns that there are words for. What is left of it when the text
        has ended is not read."""
        while self._recorded and len(self._text) >= self._turns.text:
            self._laid = True
            self._put(self._next(self._text, self._turns.text))
            self._put(self._next(self._recorded, self._turns.speech), speech=True)

    @staticmethod
    def _next(ids: deque[int], most: int) -> list[int]:
        return [ids.popleft() for _ in range(min(most, len(ids)))]

    def _put(self, ids: Iterable[int], *, speech: bool = False) -> None:
        for item in ids:
            if not speech:
                self.places.append(self._length)
            self._unread.append(item)
            self._length += 1


def _without(barred: NDArray[np.bool_], row: int) -> NDArray[np.bool_]:
    barred = barred.copy()
    barred[row] = False
    return barred
