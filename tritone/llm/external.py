"""What the runtimes that batch, schedule and sample by themselves have in common."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tritone.arrays import Int32
from tritone.errors import InvalidRequest, StageFailed, TritoneError
from tritone.llm.contract import GenerationRequest
from tritone.llm.generation import STAGE, Feed

REPETITION_PENALTY = 1.1  # where there is no repetition-aware sampling


@dataclass(frozen=True)
class RuntimeStats:
    """generations: running or waiting. tokens: emitted since start."""

    generations: int
    tokens: int


def prompt_ids(request: GenerationRequest) -> Int32:
    """The ids of the prompt; raises InvalidRequest for one of embeddings."""
    if request.prompt.ids is None:
        raise InvalidRequest("prompt_embeddings", "this runtime takes prompts of ids alone")
    return request.prompt.ids


@dataclass(eq=False)
class RuntimeFeed(Feed):
    """One generation in an external runtime, and how to stop it there.

    positions: of the generation, prompt included. handle: what the runtime knows it by.
    """

    request: GenerationRequest
    positions: int
    stop_ids: frozenset[int]
    stop: Callable[["RuntimeFeed"], None]
    handle: Any = None

    @property
    def longest(self) -> int:
        """Tokens to ask for: what was asked for, as far as it fits."""
        return min(self.request.max_tokens, self.positions - len(self.request.prompt))

    def cancel(self) -> None:
        if not self.cancelled:
            self.cancelled = True
            self.stop(self)

    def emit(self, ids: Iterable[int]) -> int:
        """Pass ids on, and return how many; the stop id that ended it may be among the last."""
        before = self.emitted
        for token in ids:
            if token not in self.stop_ids:
                self.outbox.put(token)
                self.emitted += 1
        return self.emitted - before

    def end(self, error: TritoneError | None = None) -> None:
        """Pass the outcome on; one that only lack of room has ended is an error."""
        if error is None and self.longest == self.emitted < self.request.max_tokens:
            error = StageFailed(STAGE, f"no end of speech within {self.positions} positions")
        self.outbox.put(error)
