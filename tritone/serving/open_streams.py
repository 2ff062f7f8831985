"""The streams that are being spoken, and their end: by the thread that speaks, or from outside."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import triton_python_backend_utils as pb_utils

from tritone.errors import Cancelled
from tritone.serving.account import Account
from tritone.serving.cancellation import CallerWatch
from tritone.serving.log_text import loggable
from tritone.serving.messages import respond
from tritone.serving.neighbours import Calls, lost_stage
from tritone.serving.text_streams import TextStream
from tritone.serving.unary_calls import UnaryCall
from tritone.synthesis.admission import Admission, Place
from tritone.triton_models import FLOW, VOCODER

_LOOK_S = 0.03  # a step of the flow takes about as long


class OpenStream:
    """A request of a client until its FINAL, which leaves once: whoever ends it first sends it.

    It has the methods of a response sender. calls: of this stream, to the other models. unary: who
    waits for all of it, where that is another model of this server. text: where requests may
    follow; its id is free before the FINAL leaves.
    """

    def __init__(
        self,
        sender: Any,
        account: Account,
        calls: Calls,
        unary: UnaryCall | None = None,
        text: TextStream | None = None,
    ) -> None:
        self.account, self.calls = account, calls
        self._sender, self._over, self._sending = sender, False, threading.Lock()
        self._unary, self.text = unary, text
        self._caller = unary or CallerWatch(sender)
        self._admission: Admission | None = None
        self._place: Place | None = None

    def enter(self, admission: Admission) -> None:
        """Take a place; raises Overloaded where there is none."""
        place = admission.enter(self.is_cancelled)
        with self._sending:
            self._admission, self._place = admission, place

    def leave(self) -> None:
        """Give the place to another; a second call does nothing."""
        with self._sending:
            admission, self._admission = self._admission, None
        if admission and self._place:
            admission.leave(self._place, self.account.timing.playback.audio)

    def heard(self) -> float | None:
        """After the first packet: the ratio of the time it took to what was predicted."""
        first = self.account.timing.playback.first
        if first is None or not (self._admission and self._place):
            return None
        return self._admission.heard(self._place, first)

    def is_cancelled(self) -> bool:
        """Whether nobody waits for what is still being made. Any thread may ask: never while the
        last response leaves, with which Triton frees what it would look at."""
        if self.text and self.text.cancelled:
            return True
        with self._sending:
            return self._over or self._caller.gone()

    def look(self) -> None:
        """Let the models that compute for this stream stop where nobody waits for it."""
        if self.calls.place.is_one and self.calls.to_any(FLOW, VOCODER) and self.is_cancelled():
            self.calls.place.give_up()

    def send(self, response: Any = None, flags: int = 0) -> None:
        """As of Triton's sender. Raises Cancelled for a packet after the end."""
        error = ""
        with self._sending:
            if self._over and not flags:
                raise Cancelled("the stream was ended")
            if not self._over:
                self._over = bool(flags)
                if flags and self.text:
                    self.text.free()
                if response is not None and self._unary and response.has_error():
                    error, response = response.error().message(), None
                arguments = () if response is None else (response,)
                self._sender.send(*arguments, flags=flags)
        if flags and self._unary:
            self._unary.ended(error)
        if flags and self.text:
            self.text.end({**self.account.record(), "sent": self.account.timing.sent()})


class OpenStreams:
    """All of a public model."""

    def __init__(self, model: str) -> None:
        self._model, self._closed = model, False
        self._streams: set[OpenStream] = set()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._watch, name="unwanted", daemon=True)
        self._thread.start()

    @contextmanager
    def keep(self, stream: OpenStream) -> Iterator[None]:
        """The stream is open within; its account is closed after."""
        with self._changed:
            self._streams.add(stream)
            self._changed.notify_all()
        try:
            yield
        finally:
            self._end(stream)

    def end_those_that_wait_for(self, model: str) -> None:
        """That model's process has ended. A thread that waits for its answer may never return."""
        with self._changed:
            affected = [stream for stream in self._streams if stream.calls.give_up(model)]
        for stream in affected:
            stream.leave()
            with respond(stream, self._model, public=True), stream.account.noting():
                raise lost_stage(model)
            self._end(stream)

    def close(self) -> None:
        """Once all have ended."""
        with self._changed:
            self._changed.wait_for(lambda: not self._streams)
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _watch(self) -> None:
        """A stream's own threads do not look while they wait for a model."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._streams or self._closed)
                streams = list(self._streams)
            if not streams:
                return
            for stream in streams:
                try:
                    stream.look()
                except Exception as error:  # of one stream: the others are looked at all the same
                    pb_utils.Logger.log_warn(f"{self._model}: {loggable(error)}")
            time.sleep(_LOOK_S)

    def _end(self, stream: OpenStream) -> None:
        try:
            stream.account.close()
        finally:
            stream.calls.place.close()
            with self._changed:
                self._streams.discard(stream)
                self._changed.notify_all()
