"""How many tokens of a generation are sent together.

A response costs about a millisecond, as much as a token of a small model: 15 that take 15 ms came
after 32. Where tokens come fast several go in one response; where they come slowly none waits.
"""

import time
from collections.abc import Callable

PAUSE_S = 0.004

# Once so much speech is ahead of playback, which begins with the first token at the earliest,
# nobody misses a token that comes a little later: then fewer responses carry more each. The first
# packet waits for 28 tokens at most, of 25 a second.
AHEAD_S = 2.0
LONG_PAUSE_S = 0.04


class Portions:
    """Of one generation. rate: tokens in a second of speech."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock, self._tokens = rate, clock, 0
        self._began: float | None = None

    def pause(self, tokens: int) -> float:
        """Seconds to wait after a response with so many tokens."""
        self._began = self._clock() if self._began is None else self._began
        self._tokens += tokens
        ahead = self._tokens / self._rate - (self._clock() - self._began)
        return LONG_PAUSE_S if ahead > AHEAD_S else PAUSE_S
