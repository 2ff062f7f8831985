"""The place that a stream takes, and how it is counted when it ends."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from tritone.gateway.errors import ApiError
from tritone.gateway.gateway import Gateway
from tritone.gateway.limits import Caller
from tritone.gateway.presence import CallerGone


@contextmanager
def one_stream(gateway: Gateway, caller: Caller, form: str) -> Iterator[None]:
    """For as long as the block runs, which is to raise ApiError or CallerGone for its bad ends.
    form: what it is counted under. Raises ApiError where there is no place."""
    outcome = "failed"
    try:
        with (
            caller.places.one(),
            gateway.places.one(),
            gateway.metrics.streams.track_inprogress(),
        ):
            yield
        outcome = "ok"
    except (CallerGone, asyncio.CancelledError):
        outcome = "cancelled"
        raise
    except ApiError as error:
        outcome = "overloaded" if error.status == 429 else "refused"
        outcome = "failed" if error.status >= 500 else outcome
        raise
    finally:
        gateway.metrics.speeches.labels(form, outcome).inc()
