"""What a flawed generation of speech tokens looks like: ids that do not exist, endless repeats, the
reference said again, an end before there was speech."""

import numpy as np

from tritone.arrays import Int32
from tritone.llm.contract import Increment
from tritone.synthesis.flaws import Flaw

NO_CODES: Int32 = np.zeros(0, np.int32)


class TokenGuard:
    """`tritone.synthesis.rules.Guard` against endless repeats, speech of the prompt, and no speech
    at all; its limits are for 25 tokens a second."""

    longest_run = 50  # equal tokens in a row that still pass for a pause
    longest_cycle = 50  # tokens that may repeat as a group
    cycles = 3  # repeats of a group, if they are longer than the longest run
    unsuspected = 11  # tokens of a repeat that are spoken before it is known what becomes of it
    copied = 12  # tokens in a row of the prompt's own; the longest of 260 sound generations is 3
    shortest = 0.25  # tokens for each text token; speech that ends by itself before them is cut

    def __init__(self, codes: int, prompt: Int32 = NO_CODES) -> None:
        """prompt: the codes of the reference recording that the generation continues."""
        self._codes, self._prompt = codes, prompt
        groups = np.arange(1, self.longest_cycle + 1, dtype=np.int32)
        self._unsuspected = np.maximum(self.unsuspected - groups, self.unsuspected // 2)
        self._looped = np.maximum(self.longest_run, (self.cycles - 1) * groups)
        self._past = np.full(self.longest_cycle, -1, np.int32)  # the newest token first
        self._alike = np.zeros(self.longest_cycle, np.int32)  # in a row, by how far apart
        self._copies = np.zeros(len(prompt) + 1, np.int32)  # in a row, by where the last one is
        self.count = self.suspect = 0

    def outside(self, increment: Increment) -> tuple[int, Flaw] | None:
        """See `Guard.outside`."""
        tokens = increment.ids
        strays = np.flatnonzero((tokens < 0) | (tokens >= self._codes))
        if not strays.size:
            return None
        index = int(strays[0])
        problem = f"gave code {int(tokens[index])}; codes are 0..{self._codes - 1}"
        return index, Flaw("bad_id", problem)

    def admit(self, increment: Increment) -> Flaw | None:
        """See `Guard.admit`."""
        for token in increment.ids.tolist():
            if flaw := self._repeats(token) or self._copies_prompt(token):
                return flaw
        self.count += len(increment)
        return None

    def ended(self, target_tokens: int) -> Flaw | None:
        least = max(1, int(np.ceil(self.shortest * target_tokens)))
        if self.count < least:
            problem = f"{self.count} speech tokens for {target_tokens} text tokens"
            return Flaw("early_end", problem)
        return None

    def _repeats(self, token: int) -> Flaw | None:
        self._alike += 1
        self._alike *= self._past == token
        self._past[1:] = self._past[:-1]
        self._past[0] = token
        self.suspect = max(0, int((self._alike - self._unsuspected).max()))
        looped = self._alike >= self._looped
        if not looped.any():
            return None
        group = int(looped.argmax()) + 1
        times = int(self._alike[group - 1]) // group + 1
        what = "the same token" if group == 1 else f"the same {group} tokens"
        return Flaw("repetition", f"{what} {times} times in a row")

    def _copies_prompt(self, token: int) -> Flaw | None:
        """A pause of equal tokens is no speech, whoever else pauses so."""
        if not self._prompt.size:
            return None
        here = self._copies[:-1] + 1
        self._copies[1:] = np.where((self._prompt == token) & ~self._alike[0].astype(bool), here, 0)
        most = int(self._copies.max())
        self.suspect = max(self.suspect, most - self.copied // 2)
        if most >= self.copied:
            return Flaw("transcript", f"{most} speech tokens in a row are the reference's own")
        return None
