"""One generation, seen from its two ends: a runtime writes tokens, the caller iterates them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

import numpy as np

from tritone.errors import Cancelled, TritoneError
from tritone.llm.contract import Generation, GenerationRequest, Increment
from tritone.llm.sampler import Sampler

STAGE = "tensorrt_llm"  # as Triton knows it, whatever the runtime


@dataclass(eq=False, kw_only=True)
class Feed:
    """The runtime's end, as far as the caller's end knows it.

    emitted: tokens passed on. outbox: LLM ids, then the outcome: None for a regular end, or the
    error.
    """

    cancelled: bool = False
    emitted: int = 0
    outbox: "SimpleQueue[int | TritoneError | None]" = field(default_factory=SimpleQueue)

    def cancel(self) -> None:
        """Tell the runtime that nobody reads on; from any thread, without a lock."""
        self.cancelled = True


@dataclass(eq=False)
class Stream(Feed):
    """The scheduler's end. Only the scheduler's thread changes it, except for `cancelled`.

    length: positions filled in the slot. last_id: LLM id to feed next. pending: what was drawn and
    is not in the outbox yet, in the same form.
    """

    request: GenerationRequest
    sampler: Sampler
    length: int = 0
    last_id: int = -1
    pending: list[int | TritoneError | None] = field(default_factory=list)

    def flush(self) -> None:
        """Put what is pending into the outbox.

        Apart from drawing, because a woken reader takes the interpreter away from the draws of the
        other streams; the runtime's next step leaves it to the readers.
        """
        for item in self.pending:
            self.outbox.put(item)
        self.pending.clear()


class FeedGeneration(Generation):
    """The caller's end.

    Leaving the iteration early, or dropping the object, cancels like `cancel` does. `cancel` takes
    no lock and may be called from any thread at any time.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._over = False
        self._error: TritoneError | None = None

    def __iter__(self) -> Iterator[Increment]:
        try:
            while not self._over and not self._feed.cancelled:
                ids = self._take()
                if ids and not self._feed.cancelled:
                    yield Increment(np.array(ids, np.int32))
        finally:
            self.cancel()
        if self._feed.cancelled:
            raise Cancelled("the generation was cancelled")
        if self._error is not None:
            raise self._error

    def cancel(self) -> None:
        """Stop the generation; its slot is free before the next step. No effect after the end."""
        if not self._over:
            self._feed.cancel()
            self._feed.outbox.put(None)  # wakes whoever waits for the next token

    def __del__(self) -> None:
        self.cancel()

    def _take(self) -> list[int]:
        """Wait for the next token and take all there are."""
        ids: list[int] = []
        item = self._feed.outbox.get()
        while isinstance(item, int):
            ids.append(item)
            try:
                item = self._feed.outbox.get_nowait()
            except Empty:
                return ids
        self._over, self._error = True, item
        return ids
