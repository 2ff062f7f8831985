"""CosyVoice3's rules of speech: CosyVoice2's, with long pauses cut short. Sans-I/O, no torch."""

import numpy as np

from tritone.families.cosyvoice2.rules import ChunkPlanner, ChunkPolicy, CosyVoice2Rules
from tritone.llm.contract import Increment

# codes of silence and breath
SILENT = np.array([1, 2, 28, 29, 55, 248, 494, 2241, 2242, 2322, 2323], np.int32)
FILL = 3  # row behind the codes of what asks for more text
LONGEST_PAUSE = 5  # of them in a row, at 25 a second; the flow gets no more


class PausePlanner(ChunkPlanner):
    """A `ChunkPlanner` that leaves out what makes a pause too long.

    The language model keeps the codes that are left out: they are admitted speech, which a
    generation that goes on has in its prompt, and the guard counts them.
    """

    def __init__(self, policy: ChunkPolicy, prompt_tokens: int) -> None:
        super().__init__(policy, prompt_tokens)
        self._pause = 0  # silent codes in a row up to here

    def push(self, increment: Increment) -> None:
        super().push(Increment(increment.ids[self._heard(increment)]))

    def _heard(self, increment: Increment) -> list[bool]:
        """Of each code whether it is spoken."""
        heard = []
        for silent in np.isin(increment.ids, SILENT).tolist():
            self._pause = self._pause + 1 if silent else 0
            heard.append(self._pause <= LONGEST_PAUSE)
        return heard


class CosyVoice3Rules(CosyVoice2Rules):
    """`tritone.synthesis.rules.SpeechRules` of one checkpoint."""

    planner = PausePlanner

    @property
    def fill_id(self) -> int:
        """The fourth row behind the codes: what follows it means nothing."""
        llm = self._config.llm
        return llm.speech_offset + llm.speech_codes + FILL
