"""The language model on slots: many generations on one session (continuous batching).

One thread owns the session. Between two steps it lets finished and cancelled streams go and works
on at most one part of one new prompt, so that a long prompt holds nobody up; a step then advances
every stream that draws by one token. One that waits for text keeps its slot.
"""

import threading
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from functools import partial

import numpy as np

from tritone.arrays import Float32, Int32
from tritone.errors import StageFailed, TritoneError
from tritone.llm.contract import Generation, GenerationRequest, Prompt
from tritone.llm.generation import (
    STAGE,
    FeedGeneration,
    OpenGeneration,
    Stream,
    Token,
    no_room,
)
from tritone.llm.interleaving import Drawn
from tritone.llm.request_check import check_load
from tritone.llm.slots.places import Places
from tritone.llm.slots.session import DrawingSession, SlotSession
from tritone.llm.slots.speech import Speech


class Fate(Enum):
    """Of a stream after a draw."""

    DRAWS = auto()
    WAITS = auto()  # for text
    OVER = auto()


class SlotLanguageModel:
    """`contract.LanguageModel` over a slot session; max_waiting requests may wait for a slot."""

    def __init__(self, session: SlotSession, speech: Speech, max_waiting: int) -> None:
        self._session, self._speech, self._llm = session, speech, speech.llm
        self._drawing = session if isinstance(session, DrawingSession) else None
        self.slots, self._max_waiting = session.slots, max_waiting
        self._places = Places(session)  # changed by the thread alone
        self._joining: Stream | None = None  # a new one that is being read, into this slot
        self._joining_slot = 0
        self._queue: deque[Stream] = deque()
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="tritone-llm", daemon=True)
        self._thread.start()

    def submit(self, request: GenerationRequest) -> Generation:
        """Queue a generation and return at once.

        Raises InvalidRequest, Overloaded when max_waiting requests wait already, and StageFailed
        after `close`.
        """
        stream = self._speech.stream(request, self._session.slot_length)
        with self._changed:
            if self._closed:
                raise StageFailed(STAGE, "the language model is closed")
            self._queue = deque(s for s in self._queue if not s.cancelled)
            running = self._occupied() + len(self._queue)
            check_load(running, self.slots, self._max_waiting)
            self._queue.append(stream)
            self._changed.notify()
        if stream.turns is None:
            return FeedGeneration(stream)
        return OpenGeneration(stream, self._llm, self._wake)

    def close(self) -> None:
        """Stop the scheduler; generations still open end with StageFailed."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        problem = "the language model broke down, restart the server"
        try:
            while self._wait_for_work():
                self._places.free(_left)
                self._read()
                self._step()
            problem = "the language model was closed"
        finally:
            with self._changed:
                self._closed = True
                for stream in filter(None, (*self._places.streams, self._joining, *self._queue)):
                    stream.outbox.put(StageFailed(STAGE, problem))
                self._places, self._joining, self._queue = Places(self._session), None, deque()

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._has_work())
            return not self._closed

    def _has_work(self) -> bool:
        may_read = [*self._places.waiting, *(self._queue if self._free_slot() else ())]
        return bool(self._places.drawing or self._joining) or any(s.stirs for s in may_read)

    def _free_slot(self) -> bool:
        return self._occupied() < self.slots

    def _occupied(self) -> int:
        return len(self._places) + (self._joining is not None)

    def _next_to_read(self) -> Stream | None:
        """The stream that is being read: the new one begun, one that goes on with more text, or
        the first of the queue that has something to read."""
        with self._changed:
            if self._joining and self._joining.cancelled:
                self._leave()
            if self._joining:
                return self._joining
            for stream in (*self._places.waiting, *self._queue):
                stream.take_in()
            self._queue = deque(s for s in self._queue if not s.cancelled)
            ready = (s for s in (*self._places.waiting, *self._queue) if s.ready)
            found = next(ready, None)
            if found is None or found in self._places.waiting:
                return found
            if not self._free_slot():
                return None
            self._queue.remove(found)
            self._joining, self._joining_slot = found, len(self._places)
            return found

    def _read(self) -> None:
        """Read the next part of a prompt or of an open text; after the last its stream draws."""
        stream = self._next_to_read()
        if stream is None:
            return
        joins = stream is self._joining
        slot = self._joining_slot if joins else self._places.slot_of(stream)
        try:
            embeds = self._embedded(stream.next_part(self._session.prefill_part))
            stream.check_room(len(embeds), self._session.slot_length)
            logits = self._session.prefill(slot, embeds, stream.length)
        except Exception as error:  # whatever broke this prompt must not stop the other streams
            stream.outbox.put(_failure(error))
            self._forget(stream)
            return
        stream.length += len(embeds)
        if stream.unread is not None:
            return
        if self._llm.text_heads:
            stream.text_keys = stream.of_text(self._session.text_keys(slot, stream.length))
        self._look(stream, 0)
        fate = self._advance(stream, partial(stream.draw, logits, self._llm))
        stream.flush()
        with self._changed:
            if joins and fate is Fate.OVER:
                self._leave()
            elif joins:
                self._joining = None
                self._places.add(stream, slot)
            if fate is Fate.DRAWS:
                self._places.draw(stream)
        if fate is Fate.OVER and not joins:
            self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        with self._changed:
            if stream is self._joining:
                self._leave()
            self._places.free(lambda other: other is stream)

    def _leave(self) -> None:
        """The new stream does not join those that speak."""
        self._joining = None
        self._session.clear(self._joining_slot)

    def _embedded(self, part: Prompt) -> Float32:
        """(n, hidden)"""
        if part.ids is not None:
            return self._speech.rows(part.ids)
        assert part.embeddings is not None
        return np.array(part.embeddings, np.float32)

    def _step(self) -> None:
        """Advance every stream that draws by one token."""
        streams = self._places.drawing
        if not streams:
            return
        lengths = np.array([stream.length for stream in streams], np.int32)
        try:
            draws = self._draws(self._speech.last_rows(streams), lengths)
        except Exception as error:  # a broken step ends its streams, not the scheduler
            for stream in streams:
                stream.outbox.put(_failure(error))
            broken = set(streams)
            self._places.free(lambda stream: stream in broken)
            return
        for slot, stream in enumerate(streams):
            stream.length += 1
            self._look(stream, slot)
        fates = [(s, self._advance(s, draw)) for s, draw in zip(streams, draws, strict=True)]
        for stream in streams:
            stream.flush()
        over = {stream for stream, fate in fates if fate is Fate.OVER}
        self._places.free(lambda stream: stream in over)
        for stream in (stream for stream, fate in fates if fate is Fate.WAITS):
            self._places.wait(stream)

    def _draws(self, embeds: Float32, lengths: Int32) -> list[Callable[[], tuple[int, Drawn]]]:
        """Take a step; how each stream that draws gets its token. The session draws where it can
        for all of them: logits are then left where they are."""
        streams, llm, behind = self._places.drawing, self._llm, self._filled_behind()
        session = self._drawing
        asked = [draw for stream in streams if session and (draw := stream.asked())]
        if session and len(asked) == len(streams):
            drawn = session.decode_drawn(embeds, lengths, asked, behind)
            return [
                partial(stream.took, int(row), bool(again), llm)
                for stream, (row, again) in zip(streams, drawn, strict=True)
            ]
        logits = self._session.decode(embeds, lengths, behind)
        return [partial(stream.draw, row, llm) for stream, row in zip(streams, logits, strict=True)]

    def _filled_behind(self) -> int:
        """Positions of the slot behind those that draw."""
        if self._places.waiting:
            return self._places.waiting[0].length
        behind = self._joining and self._joining_slot == len(self._places)
        return self._joining.length if self._joining and behind else 0

    def _look(self, stream: Stream, row: int) -> None:
        """Note what the next token is said for, where the checkpoint has heads that tell, and the
        latent that it has, where the model gives one.

        Of the sum of their log probabilities the largest: what those are divided by is of no
        account.
        """
        if stream.text_keys is not None:
            query = self._session.text_query(row, stream.length - 1)
            stream.said = int((stream.text_keys @ query).argmax())
        if self._llm.gives_latents:
            stream.latent = self._session.latent(row)

    def _advance(self, stream: Stream, draw: Callable[[], tuple[int, Drawn]]) -> Fate:
        """Take the stream's next token."""
        try:
            row, drawn = draw()
            stream.check_latent()
        except Exception as error:  # of one stream: its neighbours go on
            stream.pending.append(_failure(error))
            return Fate.OVER
        if drawn is Drawn.END:
            stream.pending.append(None)
            return Fate.OVER
        if drawn is Drawn.WAIT:
            return Fate.WAITS
        stream.sampler.emit(row)
        if drawn is Drawn.FILL:
            return Fate.WAITS
        stream.last_id = self._llm.speech_offset + row
        stream.emitted += 1
        stream.pending.append(Token(stream.last_id, stream.said, stream.latent))
        if stream.emitted >= stream.longest:
            stream.pending.append(None)
            return Fate.OVER
        if stream.length == self._session.slot_length:
            stream.pending.append(no_room(self._session.slot_length))
            return Fate.OVER
        return Fate.DRAWS


def _left(stream: Stream) -> bool:
    return stream.cancelled


def _failure(error: Exception) -> TritoneError:
    return error if isinstance(error, TritoneError) else StageFailed(STAGE, str(error))
