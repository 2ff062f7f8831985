"""A piece of text that is read in one go, with what comes before it."""

import re
from dataclasses import dataclass
from enum import Enum

from tritone.frontend.text.traced import Traced

WRAPPED = 45  # characters of a line that goes on in the next one rather than ends there
SENTENCE_END = re.compile(r"[.!?。！？…:;：；][\"'”’)]*$")


class Break(Enum):
    """What comes before a line, from none to the longest."""

    NONE = 0
    SENTENCE = 1
    ITEM = 2
    PARAGRAPH = 3


@dataclass(frozen=True)
class Pauses:
    """Seconds of silence at each kind of break; within a sentence the model makes its own."""

    sentence: float = 0.1
    item: float = 0.3
    paragraph: float = 0.6

    def of(self, kind: Break) -> float:
        return (0.0, self.sentence, self.item, self.paragraph)[kind.value]


@dataclass(frozen=True)
class Line:
    """before: the break before it. pause, pause_after: further seconds of silence there, that the
    text itself asks for. speed: a factor on that of the request."""

    text: Traced
    before: Break = Break.NONE
    pause: float = 0.0
    speed: float = 1.0
    pause_after: float = 0.0
