"""What the runtimes that batch, schedule and sample by themselves have in common."""

import secrets
import threading
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from tritone.errors import InvalidRequest, StageFailed, TritoneError
from tritone.llm.config import SpokenConfig
from tritone.llm.contract import Generation, GenerationRequest
from tritone.llm.generation import STAGE, Feed, FeedGeneration, Token
from tritone.llm.request_check import check_generation, check_load
from tritone.llm.sampler import Sampler

REPETITION_PENALTY = 1.1  # where there is no repetition-aware sampling


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

    def emit(self, ids: Iterable[int]) -> None:
        """Pass ids on; the stop id that ended the generation may be among the last."""
        for token in ids:
            if token not in self.stop_ids:
                self.outbox.put(Token(token))
                self.emitted += 1

    def end(self, error: TritoneError | None = None) -> None:
        """Pass the outcome on; one that only lack of room has ended is an error."""
        if error is None and self.longest == self.emitted < self.request.max_tokens:
            error = StageFailed(STAGE, f"no end of speech within {self.positions} positions")
        self.outbox.put(error)


@dataclass(frozen=True)
class Limits:
    """positions: of one generation, prompt included; longest_prompt: of them, for the prompt.
    slots: generations that advance together, and max_waiting more may wait."""

    positions: int
    longest_prompt: int
    slots: int
    max_waiting: int


class ExternalLanguageModel:
    """`contract.LanguageModel` on such a runtime, opened; a subclass speaks to it."""

    def __init__(self, runtime: Any, config: SpokenConfig, limits: Limits) -> None:
        self._runtime, self._config, self._limits = runtime, config, limits
        self._stop_ids = frozenset(config.llm.stop_ids)
        self.slots = limits.slots
        self._running: dict[Hashable, RuntimeFeed] = {}
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="tritone-llm", daemon=True)
        self._thread.start()

    def submit(self, request: GenerationRequest) -> Generation:
        """Queue a generation and return at once.

        Raises InvalidRequest, Overloaded when max_waiting requests wait already, and StageFailed
        after `close` or when the runtime refuses the request.
        """
        llm, given, limits = self._config.llm, request.sampling, self._limits
        ids = request.prompt.ids
        if ids is None:
            raise InvalidRequest("prompt_embeddings", "this runtime takes prompts of ids alone")
        if request.open_text is not None:
            raise InvalidRequest("open_text", "this runtime cannot add to a prompt")
        # a prompt may fill all that is allowed of it, and one position more must be there to speak
        check_generation(request, llm, min(limits.positions, limits.longest_prompt + 1))
        feed = RuntimeFeed(request, limits.positions, self._stop_ids, self._cancel)
        sampler = Sampler(self._config.sampling, given, waiting=llm.waiting_rows)
        seed = secrets.randbits(63) if given.seed is None else given.seed
        with self._changed:
            if self._closed:
                raise StageFailed(STAGE, "the language model is closed")
            check_load(len(self._running), limits.slots, limits.max_waiting)
            # under the lock, since the first response may come before this returns
            self._running[self._enqueue(feed, ids.tolist(), sampler, seed)] = feed
            self._changed.notify()
        return FeedGeneration(feed)

    def close(self) -> None:
        """Stop the runtime; generations still open end with StageFailed."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._runtime.shutdown()

    def _enqueue(self, feed: RuntimeFeed, ids: list[int], sampler: Sampler, seed: int) -> Hashable:
        """Hand the request to the runtime, in its own terms; returns the key for `_finish`."""
        raise NotImplementedError

    def _cancel(self, feed: RuntimeFeed) -> None:
        """Stop a generation, from any thread and without a lock."""
        raise NotImplementedError

    def _run(self) -> None:
        """What the thread does, until the model is closed; ends with `_finish_all`."""
        raise NotImplementedError

    def _finish(self, key: Hashable, error: StageFailed | None) -> None:
        with self._changed:
            feed = self._running.pop(key)
        feed.end(error)

    def _finish_all(self, problem: str) -> None:
        with self._changed:
            self._closed = True
            left, self._running = self._running, {}
        for feed in left.values():
            feed.end(StageFailed(STAGE, problem))
