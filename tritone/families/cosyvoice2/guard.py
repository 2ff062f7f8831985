"""Catches a language model that has lost the text: endless repeats, or no speech at all."""

from dataclasses import dataclass

import numpy as np

from tritone.errors import StageFailed
from tritone.llm.contract import Increment


@dataclass(frozen=True)
class GuardPolicy:
    """longest_run: equal tokens in a row, at 25 a second, that still pass for a pause.

    shortest: tokens for each text token below which speech that ends by itself is a cut one.
    """

    longest_run: int = 50
    shortest: float = 0.25


class TokenGuard:
    """Checks one generation as its tokens come."""

    def __init__(self, policy: GuardPolicy, codes: int) -> None:
        self._policy = policy
        self._codes = codes
        self._last = -1
        self._run = 0
        self.count = 0

    def admit(self, increment: Increment) -> str:
        """Take new codes; return what is wrong with the generation, or nothing.

        Raises StageFailed for a code outside the codebook: it must never reach the flow.
        """
        tokens = increment.ids
        outside = tokens[(tokens < 0) | (tokens >= self._codes)]
        if outside.size:
            raise StageFailed(
                "tensorrt_llm", f"gave code {int(outside[0])}; codes are 0..{self._codes - 1}"
            )
        for token in tokens.tolist():
            self._run = self._run + 1 if token == self._last else 1
            self._last = token
            if self._run > self._policy.longest_run:
                return f"the same token {self._run} times in a row"
        self.count += len(tokens)
        return ""

    def ended(self, target_tokens: int) -> str:
        """What is wrong with a generation that ended by itself, or nothing."""
        least = max(1, int(np.ceil(self._policy.shortest * target_tokens)))
        if self.count < least:
            return f"{self.count} speech tokens for {target_tokens} text tokens"
        return ""
