"""A text that is still being written, read anew as it grows.

For models that were taught to speak whole texts and tell what they say: speech stays `ahead` ids
behind the end of the text so far, and where it comes nearer, the prompt is read again with more of
the text and with what has been said.

    head · text so far · closing · speech so far

What is read does not depend on when the text comes. Sans-I/O: no clock, no lock, no session.
"""

import numpy as np

from tritone.arrays import Float32, Int32
from tritone.llm.config import LLMConfig
from tritone.llm.contract import OpenText, Rereads
from tritone.llm.interleaving import Drawn


class Rereading:
    """One generation; used as `tritone.llm.interleaving.Interleaving` is."""

    anew = True
    forced: int | None = None

    def __init__(self, head: Int32, text: OpenText, llm: LLMConfig) -> None:
        """head: (n,) LLM ids before the text."""
        assert isinstance(text.way, Rereads)
        self._way, self._llm, self._head = text.way, llm, head.tolist()
        self._text: list[int] = text.ids.tolist()
        self._speech: list[int] = text.speech.tolist()
        self._ended, self._waits = text.ended, True
        self._known = 0  # ids of the text that have been read
        self._next = text.way.ahead + text.way.text

    def extend(self, ids: Int32, *, ended: bool) -> None:
        """More of the text, (n,) LLM ids; what comes after its end is left out."""
        if not self._ended:
            self._text += ids.tolist()
            self._ended = ended

    @property
    def ready(self) -> bool:
        """Whether there is enough to read before the next draw."""
        return self._waits and (self._ended or len(self._text) >= self._next)

    def take(self) -> Int32:
        """(n,) ids to be read now, from the first position on; only when `ready`."""
        assert self.ready
        self._known = min(self._next, len(self._text))
        self._next, self._waits = self._known + self._way.text, False
        text = self._text[: self._known]
        return np.array([*self._head, *text, self._way.closing_id, *self._speech], np.int32)

    @property
    def places(self) -> list[int]:
        """Positions of what is no speech."""
        return list(range(len(self._head) + self._known + 1))

    def waits_for_text(self, said: int | None) -> bool:
        """Whether what comes next, said for this place, is too near the end of the text so far."""
        end = len(self._head) + self._known
        near = said is not None and end - self._way.ahead <= said < end
        self._waits = near and not self._whole
        return self._waits

    def masked(self, logits: Float32) -> Float32:
        """(rows,) logits without an end before that of the text."""
        if self._whole:
            return logits
        logits = logits.copy()
        logits[self._llm.speech_codes :] = -np.inf
        return logits

    def drawn(self, row: int) -> Drawn:
        """Take note of a row."""
        if row >= self._llm.speech_codes:
            return Drawn.END
        self._speech.append(self._llm.speech_offset + row)
        return Drawn.CODE

    @property
    def _whole(self) -> bool:
        return self._ended and self._known == len(self._text)
