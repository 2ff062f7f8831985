"""How encoded sound travels: as it is, or as server-sent events in OpenAI's words."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tritone.gateway.errors import ApiError
from tritone.gateway.segments import Segment
from tritone.gateway.spoken import Progress

Record = Mapping[str, Any]
"""A timing record, with the `sample_rate` (Hz) that its samples are counted at."""


class Framing(Protocol):
    """piece: some sound. segments: parts of the text that were said. end: the last words. fault:
    what to say of a stream that breaks off; None breaks off the connection.

    timing: the server's record so far, for callers who want it; None for others."""

    def piece(self, sound: bytes, timing: Record | None = None) -> bytes: ...
    def segments(self, said: Sequence[Segment]) -> bytes: ...
    def end(self, progress: Progress, timing: Record | None = None) -> bytes: ...
    def fault(self, error: ApiError) -> bytes | None: ...


class Sound:
    """The sound alone: nothing but a broken connection can tell of an error in its midst."""

    def piece(self, sound: bytes, timing: Record | None = None) -> bytes:
        return sound

    def segments(self, said: Sequence[Segment]) -> bytes:
        return b""

    def end(self, progress: Progress, timing: Record | None = None) -> bytes:
        return b""

    def fault(self, error: ApiError) -> bytes | None:
        return None


class Events:
    """`speech.audio.delta` for each piece, `speech.audio.segment` for each part of the text,
    `speech.audio.done`, and the `[DONE]` that some clients wait for.

    with_segments: whether those are asked for.
    """

    def __init__(self, with_segments: bool = False) -> None:
        self._with_segments = with_segments

    def piece(self, sound: bytes, timing: Record | None = None) -> bytes:
        if not sound:
            return b""
        return _event(
            type="speech.audio.delta", audio=base64.b64encode(sound).decode(), **_extra(timing)
        )

    def segments(self, said: Sequence[Segment]) -> bytes:
        if not self._with_segments:
            return b""
        return b"".join(
            _event(type="speech.audio.segment", segment=each.content()) for each in said
        )

    def end(self, progress: Progress, timing: Record | None = None) -> bytes:
        known: dict[str, Any] = {**_extra(timing)}
        if self._with_segments:
            known["segments"] = [segment.content() for segment in progress.whole]
        done = _event(type="speech.audio.done", usage=progress.usage, **known)
        return done + b"data: [DONE]\n\n"

    def fault(self, error: ApiError) -> bytes | None:
        return _event(type="error", **error.body)


def _extra(timing: Record | None) -> dict[str, Record]:
    return {} if timing is None else {"timing": timing}


def _event(**content: Any) -> bytes:
    return f"data: {json.dumps(content)}\n\n".encode()
