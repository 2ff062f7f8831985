"""Segments as subtitles: SubRip (SRT) and WebVTT."""

from collections.abc import Callable, Iterator, Sequence

from tritone.gateway.segments import Segment

SRT_TYPE = "application/x-subrip; charset=utf-8"
VTT_TYPE = "text/vtt; charset=utf-8"

_ARROW = "-->"  # between the times of a cue, in both; a text with it could be taken for times


def srt(segments: Sequence[Segment]) -> str:
    """SubRip has no escapes, so that `-->` of a text becomes `->`."""
    return "\n".join(_cues(segments, ",", lambda text: text.replace(_ARROW, "->")))


def vtt(segments: Sequence[Segment]) -> str:
    return "\n".join(("WEBVTT\n", *_cues(segments, ".", _escaped)))


def _cues(segments: Sequence[Segment], point: str, written: Callable[[str], str]) -> Iterator[str]:
    """Those that have words, from 1 on. A cue ends at an empty line, so its text is one line."""
    number = 0
    for segment in segments:
        if not (text := " ".join(segment.text.split())):
            continue
        number += 1
        start, end = segment.start_ms, max(segment.end_ms, segment.start_ms + 1)
        times = f"{_time(start, point)} {_ARROW} {_time(end, point)}"
        yield f"{number}\n{times}\n{written(text)}\n"


def _time(ms: int, point: str) -> str:
    """HH:MM:SS and the milliseconds; more than 99 hours take more digits."""
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"


def _escaped(text: str) -> str:
    """As WebVTT has it: `<` would begin a tag and `&` a reference, and no cue may have `-->`."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
