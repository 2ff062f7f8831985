"""The language model on slots: many generations on one session (continuous batching).

One thread owns the session. Between two steps it lets finished and cancelled streams go and works
on at most one part of one new prompt, so that a long prompt holds nobody up; a step then advances
every stream by one token. Streams always fill slots 0..n-1: when one leaves a hole, the last one
moves into it.
"""

import threading
from collections import deque
from typing import Protocol

import numpy as np

from tritone.arrays import Float32, Int32
from tritone.errors import StageFailed, TritoneError
from tritone.llm.checkpoint import EmbeddingTable
from tritone.llm.config import SpokenConfig
from tritone.llm.contract import Generation, GenerationRequest
from tritone.llm.generation import (
    STAGE,
    FeedGeneration,
    Stream,
    Token,
    check_generation,
    check_load,
)
from tritone.llm.sampler import Sampler


class SlotSession(Protocol):
    """Slot i of a buffer holds the keys and values of one stream. One thread owns it.

    slots: streams that fit. slot_length: positions of each. prefill_part: positions of a prompt
    that are read at a time; fewer cost speed, more make running streams wait longer.
    """

    slots: int
    slot_length: int
    prefill_part: int

    def prefill(self, slot: int, embeds: Float32, start: int = 0) -> Float32:
        """Write a prompt, or its next part, into `slot`.

        embeds: (n, hidden) of the part. start: positions of the prompt already there. Returns
        (rows,) logits of its last position, a copy.
        """
        ...

    def decode(self, embeds: Float32, lengths: Int32) -> Float32:
        """Advance slots 0..n-1 by one position, as one batch.

        embeds: (n, hidden) of the new tokens. lengths: (n,) positions filled before. Returns
        (n, rows) logits, overwritten by the next call.
        """
        ...

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a slot over another."""
        ...

    def text_keys(self, slot: int, prompt: int) -> Float32:
        """(prompt, width): the keys of the text heads at the first positions of `slot`, a copy."""
        ...

    def text_query(self, row: int, position: int) -> Float32:
        """(width,): what the text heads asked for from `position`, in row `row` of the last call.
        They looked most at the position whose key has the largest product with it."""
        ...


class SlotLanguageModel:
    """`contract.LanguageModel` over a slot session; max_waiting requests may wait for a slot."""

    def __init__(
        self, session: SlotSession, embed: EmbeddingTable, config: SpokenConfig, max_waiting: int
    ) -> None:
        self._session, self._embedding, self._config = session, embed, config
        self._max_waiting = max_waiting
        self._active: list[Stream] = []  # the index is the slot; changed by the thread alone
        self._joining: Stream | None = None
        self._joining_slot = 0
        self._waiting: deque[Stream] = deque()
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="tritone-llm", daemon=True)
        self._thread.start()

    def submit(self, request: GenerationRequest) -> Generation:
        """Queue a generation and return at once.

        Raises InvalidRequest, Overloaded when max_waiting requests wait already, and StageFailed
        after `close`.
        """
        llm = self._config.llm
        check_generation(request, llm, self._session.slot_length)
        sampler = Sampler(
            self._config.sampling,
            request.sampling,
            waiting=llm.waiting_rows,
            min_tokens=request.min_tokens,
        )
        stream = Stream(request, sampler)
        with self._changed:
            if self._closed:
                raise StageFailed(STAGE, "the language model is closed")
            self._waiting = deque(s for s in self._waiting if not s.cancelled)
            running = self._occupied() + len(self._waiting)
            check_load(running, self._session.slots, self._max_waiting)
            self._waiting.append(stream)
            self._changed.notify()
        return FeedGeneration(stream)

    def close(self) -> None:
        """Stop the scheduler; generations still open end with StageFailed."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        problem = "the language model broke down, restart the server"
        try:
            while self._wait_for_work():
                self._remove([stream.cancelled for stream in self._active])
                self._prefill()
                self._step()
            problem = "the language model was closed"
        finally:
            with self._changed:
                self._closed = True
                for stream in filter(None, (*self._active, self._joining, *self._waiting)):
                    stream.outbox.put(StageFailed(STAGE, problem))
                self._active, self._joining, self._waiting = [], None, deque()

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._occupied() or self._waiting)
            return not self._closed

    def _occupied(self) -> int:
        return len(self._active) + (self._joining is not None)

    def _next_prompt(self) -> Stream | None:
        """The stream whose prompt is being read: the one begun, or the first that waits."""
        with self._changed:
            if self._joining and self._joining.cancelled:
                self._joining = None
            while self._waiting and self._waiting[0].cancelled:
                self._waiting.popleft()
            if not self._joining and self._waiting and len(self._active) < self._session.slots:
                self._joining = self._waiting.popleft()
                self._joining_slot = len(self._active)
            return self._joining

    def _prefill(self) -> None:
        """Read the next part of a prompt; after the last part its stream joins the others."""
        stream = self._next_prompt()
        if stream is None:
            return
        try:
            embeds = self._embedded(stream)
            logits = self._session.prefill(self._joining_slot, embeds, stream.length)
        except Exception as error:  # whatever broke this prompt must not stop the other streams
            stream.outbox.put(_failure(error))
            with self._changed:
                self._joining = None
            return
        stream.length += len(embeds)
        if stream.length < len(stream.request.prompt):
            return
        if self._config.llm.text_heads:
            stream.text_keys = self._session.text_keys(self._joining_slot, stream.length)
            self._look(stream, 0)
        goes_on = self._advance(stream, logits)
        stream.flush()
        with self._changed:
            self._joining = None
            if goes_on:
                # streams may have left since the prompt was begun in what was then the next slot
                if self._joining_slot != len(self._active):
                    self._session.move(self._joining_slot, len(self._active), stream.length)
                self._active.append(stream)

    def _embedded(self, stream: Stream) -> Float32:
        """(n, hidden) of the next part of a prompt."""
        prompt = stream.request.prompt
        part = slice(stream.length, stream.length + self._session.prefill_part)
        if prompt.ids is not None:
            return self._embedding(prompt.ids[part])
        assert prompt.embeddings is not None
        return np.array(prompt.embeddings[part], np.float32)

    def _step(self) -> None:
        """Advance every stream by one token."""
        if not self._active:
            return
        last_ids = np.array([stream.last_id for stream in self._active], np.int32)
        lengths = np.array([stream.length for stream in self._active], np.int32)
        try:
            logits = self._session.decode(self._embedding(last_ids), lengths)
        except Exception as error:  # a broken step ends its streams, not the scheduler
            for stream in self._active:
                stream.outbox.put(_failure(error))
            self._active.clear()
            return
        for slot, stream in enumerate(self._active):
            stream.length += 1
            self._look(stream, slot)
        over = [not self._advance(s, row) for s, row in zip(self._active, logits, strict=True)]
        for stream in self._active:
            stream.flush()
        self._remove(over)

    def _look(self, stream: Stream, row: int) -> None:
        """Note what the next token is said for, where the checkpoint has heads that tell.

        Of the sum of their log probabilities the largest: what those are divided by is of no
        account.
        """
        if stream.text_keys is not None:
            query = self._session.text_query(row, stream.length - 1)
            stream.said = int((stream.text_keys @ query).argmax())

    def _advance(self, stream: Stream, logits: Float32) -> bool:
        """Draw the stream's next token; False when the stream is over."""
        llm = self._config.llm
        try:
            row = stream.sampler.draw(logits)
        except Exception as error:  # of one stream: its neighbours go on
            stream.pending.append(_failure(error))
            return False
        if row >= llm.speech_codes:
            stream.pending.append(None)
            return False
        stream.sampler.emit(row)
        stream.last_id = llm.speech_offset + row
        stream.emitted += 1
        stream.pending.append(Token(stream.last_id, stream.said))
        if stream.emitted == stream.request.max_tokens:
            stream.pending.append(None)
            return False
        if stream.length == self._session.slot_length:
            problem = f"no end of speech within the {self._session.slot_length} positions of a slot"
            stream.pending.append(StageFailed(STAGE, problem))
            return False
        return True

    def _remove(self, leaving: list[bool]) -> None:
        """Free the slots whose entry is true, keeping the streams contiguous."""
        for slot in reversed(range(len(leaving))):
            if leaving[slot]:
                last = self._active.pop()
                if slot < len(self._active):
                    self._session.move(len(self._active), slot, last.length)
                    self._active[slot] = last


def _failure(error: Exception) -> TritoneError:
    return error if isinstance(error, TritoneError) else StageFailed(STAGE, str(error))
