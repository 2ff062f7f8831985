"""One generation: whether it is taken, and its ends: a runtime writes, the caller iterates."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol

import numpy as np

from tritone.arrays import Float32
from tritone.errors import Cancelled, InvalidRequest, StageFailed, TritoneError
from tritone.kept_error import KeptError
from tritone.llm.config import LLMConfig, SpeechRows
from tritone.llm.contract import (
    Generation,
    GenerationRequest,
    Increment,
    MoreText,
    Prompt,
    Rereads,
)
from tritone.llm.interleaving import Drawn, Interleaving
from tritone.llm.request_check import check_ids
from tritone.llm.rereading import Rereading
from tritone.llm.sampler import Draw

STAGE = "tensorrt_llm"  # as Triton knows it, whatever the runtime
LOOK_S = 0.03  # that whoever reads an open text's tokens waits at most


class Token(NamedTuple):
    """An LLM id; the position in the prompt that it was said for, and its latent (width,), where
    the model gives them."""

    id: int
    said: int | None = None
    latent: Float32 | None = None


@dataclass(eq=False, kw_only=True)
class Feed:
    """The runtime's end, as far as the caller's end knows it.

    emitted: tokens passed on. outbox: tokens, then the error, or None for a regular end.
    """

    cancelled: bool = False
    emitted: int = 0
    outbox: "SimpleQueue[Token | TritoneError | None]" = field(default_factory=SimpleQueue)

    def cancel(self) -> None:
        """Tell the runtime that nobody reads on; from any thread, without a lock."""
        self.cancelled = True


class TokenSampler(Protocol):
    """Draws the rows of one generation, as `tritone.llm.sampler.Sampler` does; names as there."""

    min_tokens: int

    def emit(self, token: int) -> None: ...

    def asked(self) -> Draw | None: ...

    def drawn(self, row: int, *, again: bool) -> int: ...

    def draw(self, logits: Float32) -> int: ...


@dataclass(eq=False)
class Stream(Feed):
    """The scheduler's end. Only the scheduler's thread changes it, except for `cancelled` and
    `incoming`.

    unread: what is to be read before the next draw. turns: of an open text. incoming: what has come
    of it. longest: tokens in all. length: positions filled in the slot. text_keys: those of the
    prompt, where the model tells what a token is said for. said, latent: as of the next token,
    where the model has them. last_id: LLM id to feed next. pending: what was drawn and is not in
    the outbox yet, in the same form.
    """

    request: GenerationRequest
    sampler: TokenSampler
    unread: Prompt | None
    longest: int
    turns: Interleaving | Rereading | None = None
    incoming: "deque[MoreText]" = field(default_factory=deque)
    length: int = 0
    text_keys: Float32 | None = None
    said: int | None = None
    latent: Float32 | None = None
    last_id: int = -1
    pending: list[Token | TritoneError | None] = field(default_factory=list)

    @classmethod
    def of(cls, request: GenerationRequest, sampler: TokenSampler, llm: LLMConfig) -> "Stream":
        text, head = request.open_text, request.prompt.ids
        if text is None:
            return cls(request, sampler, request.prompt, request.max_tokens)
        assert head is not None, "an open text follows ids"
        kind = Rereading if isinstance(text.way, Rereads) else Interleaving
        return cls(request, sampler, None, request.max_tokens, kind(head, text, llm))

    @property
    def stirs(self) -> bool:
        """Whether there is something to do for a stream that does not draw."""
        return bool(self.cancelled or self.incoming or self.ready)

    @property
    def ready(self) -> bool:
        """Whether it has something to read."""
        return self.unread is not None or (self.turns is not None and self.turns.ready)

    def take_in(self) -> None:
        """Take what has come of the text."""
        while self.incoming:
            more = self.incoming.popleft()
            assert self.turns is not None
            self.turns.extend(more.ids, ended=more.ended)
            self.longest, self.sampler.min_tokens = more.max_tokens, more.min_tokens

    def next_part(self, most: int) -> Prompt:
        """Of what is to be read, at most so many positions; only when `ready`."""
        if self.unread is None:
            assert self.turns is not None
            self.unread = Prompt(self.turns.take())
            self.length = 0 if self.turns.anew else self.length
        part, rest = self.unread.divided(most)
        self.unread = rest if len(rest) else None
        return part

    def check_room(self, count: int, positions: int) -> None:
        """Raise StageFailed where so many more leave no room to speak."""
        if self.length + count >= positions:
            raise no_room(positions)

    def check_latent(self) -> None:
        """Raise StageFailed for one that is no numbers; whoever takes it would blame the caller."""
        if self.latent is not None and not np.isfinite(self.latent).all():
            raise StageFailed(STAGE, "a latent has values that are NaN or infinite")

    def of_text(self, keys: Float32) -> Float32:
        """(n, width) of (positions, width): those of a prompt as if it were whole."""
        return keys if self.turns is None else keys[self.turns.places]

    def asked(self) -> Draw | None:
        """What a device needs to draw the next row; None where its logits are wanted here."""
        return self.sampler.asked() if self.turns is None else None

    def took(self, row: int, again: bool, llm: SpeechRows) -> tuple[int, Drawn]:
        """As `draw`, of what a device has drawn."""
        self.sampler.drawn(row, again=again)
        return row, Drawn.CODE if row < llm.speech_codes else Drawn.END

    def draw(self, logits: Float32, llm: SpeechRows) -> tuple[int, Drawn]:
        """The next row of the speech head, -1 for none. Raises StageFailed."""
        turns = self.turns
        if turns is None:
            row = self.sampler.draw(logits)
            return row, Drawn.CODE if row < llm.speech_codes else Drawn.END
        if turns.waits_for_text(self.said):
            return -1, Drawn.WAIT
        row = self.sampler.draw(turns.masked(logits)) if turns.forced is None else turns.forced
        return row, turns.drawn(row)

    def flush(self) -> None:
        """Put what is pending into the outbox.

        Apart from drawing, because a woken reader takes the interpreter away from the draws of the
        other streams; the runtime's next step leaves it to the readers.
        """
        for item in self.pending:
            self.outbox.put(item)
        self.pending.clear()


class FeedGeneration(Generation):
    """The caller's end. Leaving the iteration early, or dropping the object, cancels too."""

    def __init__(self, feed: Feed, look_s: float | None = None) -> None:
        """look_s: without a token, after which there is an empty increment."""
        self._feed, self._look_s = feed, look_s
        self._over = False
        self._error = KeptError()

    def __iter__(self) -> Iterator[Increment]:
        try:
            while not self._over and not self._feed.cancelled:
                tokens = self._take()
                if not (self._over or self._feed.cancelled) or tokens:
                    yield _increment(tokens)
        finally:
            self.cancel()
        if self._feed.cancelled:
            raise Cancelled("the generation was cancelled")
        self._error.check()

    def extend(self, more: MoreText) -> None:
        raise InvalidRequest("open_text", "the text of this generation is whole")

    def cancel(self) -> None:
        """Stop the generation, from any thread and without a lock; no effect after the end."""
        if not self._over:
            self._feed.cancel()
            self._feed.outbox.put(None)  # wakes whoever waits for the next token

    def __del__(self) -> None:
        self.cancel()

    def _take(self) -> list[Token]:
        """Wait for the next token and take all there are; none where the wait becomes long."""
        tokens: list[Token] = []
        try:
            item = self._feed.outbox.get(timeout=self._look_s)
        except Empty:
            return tokens
        while isinstance(item, Token):
            tokens.append(item)
            try:
                item = self._feed.outbox.get_nowait()
            except Empty:
                return tokens
        self._over = True
        if item is not None:
            self._error.keep(item)
        return tokens


class OpenGeneration(FeedGeneration):
    """Of a text that is still being written. wake: tells the runtime to look after its streams."""

    def __init__(self, stream: Stream, llm: SpeechRows, wake: Callable[[], None]) -> None:
        super().__init__(stream, LOOK_S)
        self._incoming, self._llm, self._wake = stream.incoming, llm, wake

    def extend(self, more: MoreText) -> None:
        """Raises InvalidRequest for what are no ids."""
        if len(more.ids):
            check_ids(more.ids, self._llm.prompt_ids - 1)
        self._incoming.append(more)
        self._wake()

    def cancel(self) -> None:
        super().cancel()
        self._wake()


def _increment(tokens: list[Token]) -> Increment:
    said = [token.said for token in tokens if token.said is not None]
    latents = [token.latent for token in tokens if token.latent is not None]
    ids = np.array([token.id for token in tokens], np.int32)
    given = np.array(said, np.int32) if said else None
    return Increment(ids, np.stack(latents) if latents else None, given)


def no_room(positions: int) -> StageFailed:
    """The error of speech that would need more positions."""
    return StageFailed(STAGE, f"no end of speech within the {positions} positions of a slot")
