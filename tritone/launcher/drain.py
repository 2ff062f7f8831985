"""Letting the utterances under way end before the server does.

Triton itself refuses the calls between models as soon as it is told to exit, so an utterance would
break then. A model that is being unloaded, however, takes no new requests and finishes those that
it has.
"""

import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from tritone.launcher.repository import ModelRepository

_STREAMS = re.compile(r"^tritone_streams(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
"""The gauge that the public model keeps, as Prometheus text."""


def drain(
    repository: ModelRepository,
    model: str,
    metrics_url: str,
    timeout_s: float,
    has_ended: Callable[[], bool],
) -> None:
    """Refuse new requests; return when none runs, or the time is over, or `has_ended` says so.

    has_ended: waits a little for the end of the server's process.

    Triton 2.51 may keep a model that called others loaded although its last request is over, so the
    model's own count of streams decides where it has one.
    """
    deadline = time.monotonic() + timeout_s
    if not repository.unload(model):
        return
    while time.monotonic() < deadline and repository.is_loaded(model):
        if running_streams(metrics_url) == 0 or has_ended():
            return


def running_streams(metrics_url: str) -> float | None:
    """Streams being spoken, by the metrics of the server; None where it does not say."""
    try:
        with urllib.request.urlopen(metrics_url, timeout=5) as answer:
            found = _STREAMS.findall(answer.read().decode())
    except (urllib.error.URLError, OSError):
        return None
    return sum(map(float, found)) if found else None
