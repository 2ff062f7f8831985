"""Speeches that further requests to the public model belong to: more of their text, or a cancel.

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
from tritone.serving.failures import failure
from tritone.serving.messages import Inputs, parameter, response, tensor
from tritone.synthesis.live_text import LiveText, TextMode

STREAM = "text_stream"
START, FLUSH, END, CANCEL = "text_start", "text_flush", "text_end", "text_cancel"
FLUSH_AFTER, MODE = "text_flush_after_ms", "text_mode"

SHORTEST_ID, LONGEST_ID = 16, 100
_MOST_QUIET_MS = 60_000
_FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TextStream:
    """One of them. name: its id. live: None for a text that its first request has whole. refusal:
    what is wrong with that request."""

    def __init__(self, name: Any, live: LiveText | None, streams: dict[str, "TextStream"]) -> None:
        self.name, self.live, self._streams = name, live, streams
        self.refusal: TritoneError | None = None
        self.cancelled = False
        self._report: Mapping[str, Any] = {}
        self._over = threading.Event()

    def free(self) -> None:
        """Nothing follows under its id any more: before the last response of the speech, as whoever
        reads that one may use the id again."""
        if self._streams.get(self.name) is self:  # it is not where it was refused
            del self._streams[self.name]
        if self.live:
            self.live.close()

    def end(self, report: Mapping[str, Any]) -> None:
        """The speech has had its last response. report: what the answer to a cancel says."""
        self._report = report
        self._over.set()

    def report(self) -> Mapping[str, Any]:
        """Once it is over."""
        self._over.wait()
        return self._report


class TextStreams:
    """All of a public model. longest: characters of a text. idle_s: seconds without a piece."""

    def __init__(self, model: str, longest: int, idle_s: float) -> None:
        self._model, self._longest, self._idle = model, longest, idle_s
        self._open: dict[str, TextStream] = {}

    def begin(self, request: Any) -> TextStream | None:
        """That which begins with this request; None for one that nothing can follow."""
        if (name := parameter(request, STREAM)) is None:
            return None
        whole = bool(parameter(request, END))
        live = None if whole else LiveText(self._longest, idle_s=self._idle)
        stream = TextStream(name, live, self._open)
        try:
            self._check(name)
            if stream.live:
                stream.live.flush_after_s = _quiet(request)
                given = parameter(request, MODE) or TextMode.SENTENCES.value
                stream.live.mode = TextMode.named(given)
                _put(request, stream.live)
        except TritoneError as error:
            stream.refusal = error
        else:
            self._open[name] = stream
        return stream

    def goes_on(self, request: Any) -> bool:
        """Whether the request belongs to one that has begun."""
        return parameter(request, STREAM) is not None and not parameter(request, START)

    def go_on(self, request: Any, sender: Any) -> None:
        """Take a piece and answer its request; that to cancel when the speech has ended, or with
        nothing where none is spoken under its id: it may have ended just now."""
        stream = self._open.get(parameter(request, STREAM))
        if parameter(request, CANCEL):
            self._cancel(stream, sender)
        elif stream is None or stream.live is None:
            error = InvalidRequest(STREAM, "no text is taken under this id, or no longer")
            sender.send(failure(error, self._model, public=True), flags=_FINAL)
        else:
            try:
                _put(request, stream.live)
            except TritoneError as error:
                stream.live.end(error)  # told where the speech is read
            sender.send(flags=_FINAL)

    @staticmethod
    def _cancel(stream: TextStream | None, sender: Any) -> None:
        if stream is None:
            sender.send(flags=_FINAL)
            return
        stream.cancelled = True
        threading.Thread(target=_report, args=(stream, sender), name="cancel", daemon=True).start()

    def _check(self, name: Any) -> None:
        length = len(name) if isinstance(name, str) else 0
        if not SHORTEST_ID <= length <= LONGEST_ID:
            raise InvalidRequest(
                STREAM,
                f"has {length} characters; it takes {SHORTEST_ID} to {LONGEST_ID}, that nobody "
                "guesses",
            )
        if name in self._open:
            raise InvalidRequest(STREAM, "is the id of a text that is being spoken already")


def _quiet(request: Any) -> float | None:
    """Seconds without a piece after which what there is is spoken."""
    quiet = parameter(request, FLUSH_AFTER)
    if quiet is None:
        return None
    if not isinstance(quiet, int) or not 0 < quiet <= _MOST_QUIET_MS:
        raise InvalidRequest(FLUSH_AFTER, f"is {quiet}; the limits are 1 and {_MOST_QUIET_MS}")
    return quiet / 1000


def _put(request: Any, text: LiveText) -> None:
    text.put(Inputs(request).text("target_text") or "")
    if parameter(request, FLUSH):
        text.flush()
    if parameter(request, END):
        text.end()


def _report(stream: TextStream, sender: Any) -> None:
    said = np.array([[json.dumps(stream.report()).encode()]], np.object_)
    sender.send(response(tensor("timing", said)), flags=_FINAL)
