"""Machines as the capacity benchmark tells of them, without one."""

from collections.abc import Mapping, Sequence
from typing import Any

from tritone.diagnostics.planner.measured import Measured


def figures(
    speeds: Mapping[int, float],
    first: Mapping[int, Sequence[float]] | None = None,
    audio: Sequence[float] = (2.0, 4.0, 6.0),
    kind: str = "small",
) -> dict[str, Any]:
    """speeds: streams -> seconds of audio a second. first: streams -> first packets, s."""
    levels = [
        {
            "streams": streams,
            "audio_per_second": speed,
            "first_packet_s": list((first or {}).get(streams, [0.05 * streams])),
            "stream_s": [1.0],
            "audio_s": list(audio),
        }
        for streams, speed in speeds.items()
    ]
    head = {"format": "tritone-capacity-1", "kind": kind, "model": "toy", "cores": 2}
    return {**head, "cpu_s_per_audio_s": 0.25, "levels": levels}


def machine(*arguments: Any, **named: Any) -> Measured:
    return Measured.model_validate(figures(*arguments, **named))
