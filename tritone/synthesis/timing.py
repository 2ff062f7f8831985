"""Where a request's time went: one record for the log, the `timing` output and the metrics."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np

from tritone.arrays import Float32
from tritone.synthesis.flaws import KINDS, Flaw, Kind
from tritone.synthesis.live_text import TextSource, WholeText

PARTS = ("queue", "frontend", "prefill", "first_tokens", "tokens", "flow", "vocoder", "send")
"""Parts of a request's time, one after the other, that add up to all of it:

queue: from its arrival until it had a place; frontend: to the first segment; prefill: to the
first speech token; first_tokens: until the first call of the flow has its tokens. From then on what
the thread that makes audio did: it waited for acoustic frames while the flow worked or waited for
its turn (flow) or while the language model did (tokens), decoded them (vocoder), handed audio over
(send).
"""

OUTCOMES = ("ok", "cancelled", "refused", "overloaded", "failed")
"""How a request ends: refused is for bad input, overloaded for too many streams."""

AUDIBLE_DBFS = -50.0
"""A sample above this level counts as heard."""

_JITTER_S = 1e-3  # a packet this late is the scheduler's doing, not a gap in the sound
_MARKS = ("started", "frontend", "first_token", "first_hop")  # the ends of the first four parts


class Playback:
    """What a listener hears who begins to play with the first packet; all times in seconds on one
    clock of the caller's.

    first, first_audible: when playback begins, and when it reaches the first audible sample; None
    until then. gaps: between neighbouring packets. underruns, dry: how often it ran dry, and for
    how long.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._last = self._ends = 0.0
        self.first: float | None = None
        self.first_audible: float | None = None
        self.samples = 0
        self.gaps: list[float] = []
        self.underruns = 0
        self.dry = 0.0

    @property
    def audio(self) -> float:
        """Seconds of audio so far."""
        return self.samples / self._rate

    def packet(self, now: float, wave: Float32) -> None:
        """A packet that is there now; (n,) samples, n >= 1."""
        if self.first is None:
            self.first = self._ends = now
        else:
            self.gaps.append(now - self._last)
            late = now - self._ends
            if late > _JITTER_S:
                self.underruns += 1
                self.dry += late
        begins = max(now, self._ends)
        if self.first_audible is None:
            audible = np.flatnonzero(np.abs(wave) > 10 ** (AUDIBLE_DBFS / 20))
            if audible.size:
                self.first_audible = begins + float(audible[0]) / self._rate
        self._last = now
        self._ends = begins + len(wave) / self._rate
        self.samples += len(wave)

    def excuse(self, now: float) -> None:
        """That it may have run dry until now is nobody's fault."""
        self._ends = max(self._ends, now)

    def ahead(self, now: float) -> float:
        """Audio sent and not yet played; below zero when it has run dry, zero before it begins."""
        return 0.0 if self.first is None else self._ends - now


class Timing:
    """One request's record; times in seconds since it arrived.

    Two threads write it, each its own part: one brings text to acoustic frames, the other makes
    audio.
    """

    def __init__(self, sample_rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        """The request arrives now."""
        self._clock, self._arrived = clock, clock()
        self._marks: dict[str, float] = {}
        self._later = dict.fromkeys(PARTS[len(_MARKS) :], 0.0)  # the parts after the first hop
        self._flow: tuple[float, float | None] = 0.0, None  # its seconds, and since when it works
        self.playback = Playback(sample_rate)
        self.voice_cached: bool | None = None
        self.total: float | None = None
        self.segments = self.tokens = self.packets = self.retries = 0
        self.flaws: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self.notes: list[str] = []
        self.text: TextSource = WholeText("")
        self._starts: list[int] = []  # of the segments that were prepared, in the text
        self._until = 0
        self._spoken: list[tuple[int, int]] = []  # text and sample at which each segment begins
        self._ends: list[int] = []  # sample at which it ends

    def elapsed(self) -> float:
        return self._clock() - self._arrived

    def mark(self, event: str) -> None:
        """Set the time of an event, the end of one of the first four parts, if it is the first.
        An event not marked ends with the one before."""
        assert event in _MARKS
        self._marks.setdefault(event, self.elapsed())

    def begins(self, start: int, sample: int) -> None:
        """A segment of the text, from `start` on, is heard from this sample on."""
        self._spoken.append((start, sample))

    def ends(self, sample: int) -> None:
        """The segment that began last has been made, up to this sample."""
        self._ends.append(sample)

    def prepared(self, *, start: int | None = None, until: int = 0) -> None:
        """The next segment begins here in the text; or there is none yet, and the text is prepared
        up to here."""
        if start is not None:
            self._starts.append(start)
        self._until = max(self._until, until)

    def spans(self) -> list[dict[str, list[int]]]:
        """What of the text, in characters, is in which samples: segments that are complete, and
        whose end in the text is known. Together they cover all of the text."""
        found = []
        for number, ((start, first), last) in enumerate(
            zip(self._spoken, self._ends, strict=False)
        ):
            if (end := self._text_end(number)) is not None:
                found.append({"text": [start if number else 0, end], "samples": [first, last]})
        return found

    def _text_end(self, number: int) -> int | None:
        """Where in the text the segment of this number ends, if that is known."""
        if number + 1 < len(self._starts):
            return self._starts[number + 1]
        if self.total is not None:
            return self.text.length
        return self._until if self._until > self._spoken[number][0] else None

    def sent(self) -> dict[str, Any]:
        """What has left, in samples, and what of the text is in it: up to which character it was
        said whole, and where in the text and from which sample on a segment was under way, if one
        was."""
        samples, done = self.playback.samples, 0
        for number, (start, first) in enumerate(self._spoken):
            whole = number < len(self._ends) and self._ends[number] <= samples
            end = self._text_end(number) if whole else None
            if end is None:
                begun = {"text": start, "sample": first} if first < samples else None
                return {"samples": samples, "text": [0, done], "under_way": begun}
            done = end
        return {"samples": samples, "text": [0, done], "under_way": None}

    def text_came(self) -> None:
        """There is more of a text that was waited for, for which the models cannot be blamed: the
        request arrives with its first part, and playback may have run dry."""
        if self.playback.first is not None:
            self.playback.excuse(self.elapsed())
        elif "frontend" not in self._marks:
            self._arrived, self._marks = self._clock(), dict.fromkeys(self._marks, 0.0)

    def flaw(self, flaw: Flaw, where: str) -> None:
        """Count and note what was found; the two threads find different kinds."""
        self.flaws[flaw.kind] += 1
        self.note(f"{where}: {flaw.problem}")

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """The flow works on this request, or it waits for its turn there."""
        self.mark("first_hop")
        self._flow = self._flow[0], self.elapsed()
        try:
            yield
        finally:
            self._flow = self._flow_clock(), None

    @contextmanager
    def waiting_for_frames(self) -> Iterator[None]:
        """The thread that makes audio has nothing to do."""
        begin, flow_before = self.elapsed(), self._flow_clock()
        try:
            yield
        finally:
            flow = self._flow_clock() - flow_before
            begin = max(begin, self._marks.get("first_hop", self.elapsed()))
            self._later["flow"] += flow
            self._later["tokens"] += max(0.0, self.elapsed() - begin - flow)

    @contextmanager
    def spending(self, part: str) -> Iterator[None]:
        """The thread that makes audio is at `vocoder` or `send`."""
        begin = self.elapsed()
        try:
            yield
        finally:
            self._later[part] += self.elapsed() - begin

    def packet(self, wave: Float32, *, last: bool) -> None:
        """(n,) samples are ready to be sent; the last ones end the request."""
        self.playback.packet(self.elapsed(), wave)
        self.packets += 1
        if last:
            self.total = self.elapsed()

    @property
    def ahead(self) -> float:
        """Audio sent and not yet played, if playback began with the first packet."""
        return self.playback.ahead(self.elapsed())

    @property
    def seconds_per_token(self) -> float:
        """Of work so far; at least one token must be there."""
        return (self.elapsed() - self._marks.get("started", 0.0)) / self.tokens

    def parts(self) -> dict[str, float]:
        """Seconds by part, so far."""
        parts, before = {}, 0.0
        for part, event in zip(PARTS, _MARKS, strict=False):
            reached = self._marks.get(event, before)
            parts[part], before = reached - before, reached
        return {**parts, **self._later}

    def record(self) -> dict[str, Any]:
        """The record as plain values, times rounded to 0.1 ms."""
        played = self.playback
        audio, gaps = played.audio, played.gaps
        return {
            "first_packet_s": _rounded(played.first),
            "first_audible_s": _rounded(played.first_audible),
            "total_s": _rounded(self.total),
            "audio_s": _rounded(audio),
            "rtf": _rounded(self.total / audio if self.total and audio else None),
            "parts_s": {name: _rounded(value) for name, value in self.parts().items()},
            "flow_busy_s": _rounded(self._flow[0]),
            "voice_cached": self.voice_cached,
            "segments": self.segments,
            "spans": self.spans(),
            "tokens": self.tokens,
            "packets": self.packets,
            "gap_median_s": _rounded(median(gaps) if gaps else None),
            "gap_longest_s": _rounded(max(gaps, default=None)),
            "underruns": played.underruns,
            "underrun_s": _rounded(played.dry),
            "retries": self.retries,
            "flaws": {kind: count for kind, count in self.flaws.items() if count},
            "notes": list(self.notes),
        }

    def _flow_clock(self) -> float:
        """Seconds in the flow, the present ones included."""
        busy, since = self._flow  # read at once: the other thread may end the call meanwhile
        return busy + (0.0 if since is None else self.elapsed() - since)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
