"""Waiting for descriptors of any number: `select.select` takes those below 1024 alone."""

import select
from collections.abc import Iterable


def readable(descriptors: Iterable[int], timeout_s: float | None = None) -> list[int]:
    """Those that can be read, or have ended; none where none can within these seconds."""
    watched = select.poll()
    for descriptor in descriptors:
        watched.register(descriptor, select.POLLIN)
    return [ready for ready, _ in watched.poll(None if timeout_s is None else 1000 * timeout_s)]
