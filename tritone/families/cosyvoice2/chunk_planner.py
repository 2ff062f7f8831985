"""When speech tokens go to the flow, and how many. Sans-I/O: no clock, no lock, no sleep.

The flow computes whole attention chunks, counted from the first prompt token, each once its
look-ahead is known. A hop is what one call completes: some whole chunks, or at the start what the
prompt left open of its last one.
"""

from dataclasses import dataclass

import numpy as np

from tritone.errors import EnvironmentProblem
from tritone.llm.contract import Increment


@dataclass(frozen=True)
class ChunkPolicy:
    """chunk, lookahead: of the checkpoint, in tokens. The rest is the deployment's choice.

    A choice that cannot be kept raises EnvironmentProblem.

    first_hop: tokens that the first audio should wait for, 1..chunk; reached by trimming the flow's
        prompt, so without a prompt the first hop is a whole chunk.
    max_hop: largest hop, in tokens, at least a chunk. Larger costs less and is computed later.
    reserve: a hop grows only while the audio already sent covers this many times its cost, or
        where nothing is left of it and the tokens have come already.
    """

    chunk: int
    lookahead: int
    first_hop: int = 15
    max_hop: int = 100
    reserve: float = 2.0

    def __post_init__(self) -> None:
        for name, low, high in (("first_hop", 1, self.chunk), ("max_hop", self.chunk, None)):
            value = getattr(self, name)
            if value < low or (high and value > high):
                limits = f"{low} to {high}" if high else f"at least {low}"
                raise EnvironmentProblem(f"setting {name} is {value}; it must be {limits} tokens")

    def prompt_trim(self, prompt_tokens: int) -> int:
        """Tokens to drop from the start of the flow's prompt so that the first hop is `first_hop`.

        At most chunk - 1, and none when the prompt is shorter than that.
        """
        trim = (prompt_tokens + self.first_hop) % self.chunk
        return trim if trim <= prompt_tokens else 0


class ChunkPlanner:
    """Takes tokens as they come and hands out the next call's tokens when they are complete."""

    def __init__(self, policy: ChunkPolicy, prompt_tokens: int) -> None:
        self._policy = policy
        self._tokens = np.zeros(0, dtype=np.int32)
        self._sent = 0
        self._boundary = policy.chunk - prompt_tokens % policy.chunk

    def push(self, increment: Increment) -> None:
        self._tokens = np.concatenate([self._tokens, increment.ids])

    @property
    def received(self) -> int:
        return len(self._tokens)

    @property
    def ready(self) -> bool:
        """Whether the next hop and its look-ahead are complete."""
        return self.received >= self._boundary + self._policy.lookahead

    def take(
        self, seconds_ahead: float, seconds_per_token: float, *, alone: bool = False
    ) -> Increment:
        """The tokens of the next call, once `ready`; plans the hop after it.

        seconds_ahead: audio sent and not yet played; seconds_per_token: what a token has cost from
        text to audio so far. Both choose the size of the hop after this one. alone: no other stream
        wants the flow; then one that is late already has all whole chunks at once.
        """
        assert self.ready
        if alone and self._sent and seconds_ahead < 0:
            self._boundary += self._backlog()
        until = self._boundary + self._policy.lookahead
        tokens = Increment(self._tokens[self._sent : until])
        self._sent = until
        self._boundary += self._next_hop(seconds_ahead, seconds_per_token)
        return tokens

    def rest(self) -> Increment:
        """What is left when generation has ended; may be empty."""
        tokens = Increment(self._tokens[self._sent :])
        self._sent = self.received
        return tokens

    def _backlog(self) -> int:
        """Tokens of the whole chunks that have come beyond the next hop, as far as a hop may go."""
        chunk = self._policy.chunk
        beyond = self.received - self._policy.lookahead - self._boundary
        room = self._policy.max_hop - (self._boundary + self._policy.lookahead - self._sent)
        return max(0, min(beyond, room) // chunk * chunk)

    def _next_hop(self, seconds_ahead: float, seconds_per_token: float) -> int:
        hop = self._policy.chunk
        while (
            2 * hop <= self._policy.max_hop
            and 2 * hop * seconds_per_token * self._policy.reserve <= seconds_ahead
        ):
            hop *= 2
        return hop
