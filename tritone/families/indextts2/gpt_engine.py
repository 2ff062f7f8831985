"""Many generations of the language model at once: a `tritone.llm.contract.LanguageModel`.

One thread owns the network. Between two passes it lets cancelled streams go and reads at most one
new prompt; a pass then gives every stream its next code.
"""

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np
import torch

from tritone.arrays import Float32
from tritone.errors import InvalidRequest, StageFailed, TritoneError
from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_config import DrawingConfig
from tritone.families.indextts2.gpt_drawing import drawing_of
from tritone.families.indextts2.gpt_generation import (
    Drawing,
    Stream,
    next_logits,
    seeded_multinomial,
)
from tritone.llm.contract import Generation, GenerationRequest
from tritone.llm.generation import STAGE, Feed, FeedGeneration, Token
from tritone.llm.request_check import check_counts, check_load


@dataclass(eq=False)
class Order(Feed):
    """A generation on its way. stream: from the time on when the prompt is read."""

    prompt: Float32
    drawing: Drawing
    most: int
    stream: Stream | None = None


class GptLanguageModel:
    """slots: generations that go on at once; max_waiting more may wait."""

    def __init__(self, gpt: Gpt, drawing: DrawingConfig, slots: int, max_waiting: int) -> None:
        self._gpt, self._config = gpt, drawing
        self._slots, self._max_waiting = slots, max_waiting
        self._active: list[Order] = []  # changed by the thread alone
        self._waiting: deque[Order] = deque()
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="tritone-llm", daemon=True)
        self._thread.start()

    def submit(self, request: GenerationRequest) -> Generation:
        """Queue a generation and return at once.

        Raises InvalidRequest, Overloaded when max_waiting requests wait already, and StageFailed
        after `close`.
        """
        prompt = self._checked(request)
        config = drawing_of(self._config, request.sampling)
        multinomial = seeded_multinomial(request.sampling.seed)
        drawing = Drawing(self._gpt, config, multinomial, request.min_tokens)
        feed = Order(prompt, drawing, min(request.max_tokens, self._gpt.config.most_codes))
        with self._changed:
            if self._closed:
                raise StageFailed(STAGE, "the language model is closed")
            self._waiting = deque(one for one in self._waiting if not one.cancelled)
            check_load(len(self._active) + len(self._waiting), self._slots, self._max_waiting)
            self._waiting.append(feed)
            self._changed.notify()
        return FeedGeneration(feed)

    def close(self) -> None:
        """Stop the thread; generations still open end with StageFailed."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _checked(self, request: GenerationRequest) -> Float32:
        """The rows of a prompt; raises InvalidRequest for what cannot be served."""
        config, rows = self._gpt.config, request.prompt.embeddings
        if rows is None:
            raise InvalidRequest("input_ids", "this model goes on from prompt_embeddings alone")
        if request.open_text is not None:
            raise InvalidRequest("open_text", "this model cannot add to a prompt")
        most = config.most_prompt
        if rows.ndim != 2 or rows.shape[1] != config.width or not 1 <= len(rows) <= most:
            wanted = f"(n, {config.width}) with n of 1 to {most}"
            raise InvalidRequest("prompt_embeddings", f"shape {rows.shape}, expected {wanted}")
        if not np.isfinite(rows).all():
            raise InvalidRequest("prompt_embeddings", "has values that are NaN or infinite")
        check_counts(request)
        return rows

    def _run(self) -> None:
        problem = "the language model broke down, restart the server"
        try:
            while self._wait_for_work():
                self._active = [feed for feed in self._active if not feed.cancelled]
                self._join()
                self._pass()
            problem = "the language model was closed"
        finally:
            with self._changed:
                self._closed = True
                for feed in (*self._active, *self._waiting):
                    feed.outbox.put(StageFailed(STAGE, problem))
                self._active, self._waiting = [], deque()

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._active or self._waiting)
            return not self._closed

    def _join(self) -> None:
        """Read the next prompt, if there is a slot."""
        with self._changed:
            if len(self._active) >= self._slots or not self._waiting:
                return
            feed = self._waiting.popleft()
            self._active.append(feed)
        if not feed.cancelled:
            prompt = torch.from_numpy(feed.prompt)[None]
            feed.stream = Stream(self._gpt, prompt, feed.drawing, feed.most)

    def _pass(self) -> None:
        going = [(feed, feed.stream) for feed in self._active if feed.stream]
        logits = next_logits(self._gpt, [stream for _, stream in going]) if going else ()
        for (feed, stream), own in zip(going, logits, strict=True):
            try:
                if spoken := stream.draw(own):
                    feed.outbox.put(Token(spoken.code, latent=spoken.latent.numpy()))
                if stream.ended:
                    feed.outbox.put(None)
            except TritoneError as error:  # of this stream; the others go on
                stream.ended = True
                feed.outbox.put(error)
        self._active = [feed for feed, stream in going if not stream.ended]
