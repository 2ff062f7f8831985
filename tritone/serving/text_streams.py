"""Requests whose text comes in pieces, each in a request of its own to the public model.

They belong together by an id that the client makes, in the request parameter `text_stream`; it is a
secret, as who knows it may add to the text and end it. What is kept under it goes with the stream.
"""

import json
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from tritone.errors import InvalidRequest, TritoneError
from tritone.serving.messages import Inputs, failure, parameter, response, tensor
from tritone.synthesis.live_text import LiveText, TextMode

STREAM = "text_stream"
START, FLUSH, END, CANCEL = "text_start", "text_flush", "text_end", "text_cancel"
FLUSH_AFTER, MODE = "text_flush_after_ms", "text_mode"

SHORTEST_ID, LONGEST_ID = 16, 100
_MOST_QUIET_MS = 60_000
_FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TextStream:
    """One of them. over: set when its speech has had its last response. report: what the answer to
    a cancel says, once it is over."""

    def __init__(self, live: LiveText) -> None:
        self.live = live
        self.cancelled = False
        self.report: Mapping[str, Any] = {}
        self.over = threading.Event()


class TextStreams:
    """All of a public model. longest: characters of a text. idle_s: seconds without a piece."""

    def __init__(self, model: str, longest: int, idle_s: float) -> None:
        self._model, self._longest, self._idle = model, longest, idle_s
        self._open: dict[str, TextStream] = {}

    def begin(self, request: Any) -> TextStream | None:
        """That which begins with this request; None where its text is whole. What is wrong with
        it is raised where the first part of the text is asked for."""
        if (name := parameter(request, STREAM)) is None:
            return None
        stream = TextStream(LiveText(self._longest, idle_s=self._idle))
        try:
            quiet = self._check(request, name)
            stream.live.flush_after_s = quiet
            stream.live.mode = TextMode.named(parameter(request, MODE) or TextMode.SENTENCES.value)
            self._put(request, stream.live)
        except TritoneError as error:
            stream.live.end(error)
        else:
            self._open[name] = stream
        return stream

    def goes_on(self, request: Any) -> bool:
        """Whether the request belongs to one that has begun."""
        return parameter(request, STREAM) is not None and not parameter(request, START)

    def go_on(self, request: Any, sender: Any) -> None:
        """Take a piece and answer its request; that to cancel when the speech has ended."""
        try:
            stream = self._open.get(parameter(request, STREAM))
            if stream is None:
                raise InvalidRequest(STREAM, "no text is taken under this id, or no longer")
            if parameter(request, CANCEL):
                stream.cancelled = True
                threading.Thread(
                    target=_report, args=(stream, sender), name="cancel", daemon=True
                ).start()
                return
            try:
                self._put(request, stream.live)
            except TritoneError as error:
                stream.live.end(error)  # told where the speech is read
        except TritoneError as error:
            sender.send(failure(error, self._model, public=True), flags=_FINAL)
        else:
            sender.send(flags=_FINAL)

    def forget(self, stream: TextStream, report: Mapping[str, Any]) -> None:
        """The speech has had its last response."""
        for name in [name for name, other in self._open.items() if other is stream]:
            del self._open[name]
        stream.live.end()
        stream.report = report
        stream.over.set()

    def _check(self, request: Any, name: Any) -> float | None:
        length = len(name) if isinstance(name, str) else 0
        if not SHORTEST_ID <= length <= LONGEST_ID:
            raise InvalidRequest(
                STREAM,
                f"has {length} characters; it takes {SHORTEST_ID} to {LONGEST_ID}, that nobody "
                "guesses",
            )
        if name in self._open:
            raise InvalidRequest(STREAM, "is the id of a text that is being spoken already")
        quiet = parameter(request, FLUSH_AFTER)
        if quiet is None:
            return None
        if not isinstance(quiet, int) or not 0 < quiet <= _MOST_QUIET_MS:
            raise InvalidRequest(FLUSH_AFTER, f"is {quiet}; the limits are 1 and {_MOST_QUIET_MS}")
        return quiet / 1000

    @staticmethod
    def _put(request: Any, text: LiveText) -> None:
        text.put(Inputs(request).text("target_text") or "")
        if parameter(request, FLUSH):
            text.flush()
        if parameter(request, END):
            text.end()


def _report(stream: TextStream, sender: Any) -> None:
    stream.over.wait()
    said = np.array([[json.dumps(stream.report).encode()]], np.object_)
    sender.send(response(tensor("timing", said)), flags=_FINAL)
