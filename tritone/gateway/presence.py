"""Whether the caller is still there, for whom work goes on."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

Result = TypeVar("Result")

NOBODY_STATUS = 499
"""Of an answer that nobody will read, for logs of proxies; nginx has the number, no standard."""


class CallerGone(Exception):
    """Nobody is there for whom to go on."""


async def unless_gone(work: Coroutine[Any, Any, Result], receive: Receive) -> Result:
    """Do it, and leave off as soon as the caller has gone: CallerGone. The request's body must have
    been read."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        left = not task.done()
        for each in (task, gone):
            each.cancel()
        await asyncio.wait((task, gone))
    if left:
        raise CallerGone
    return task.result()


async def taken_within(seconds: float, sending: Awaitable[None]) -> None:
    """Send something; CallerGone for one who does not take it in time.

    Unlike asyncio's `wait_for`, which before Python 3.12 may take no notice of being cancelled in
    the moment in which the work is done.
    """
    task = asyncio.ensure_future(sending)
    try:
        await asyncio.wait((task,), timeout=seconds)
    finally:
        taken = task.done()
        task.cancel()
    if not taken:
        raise CallerGone
    task.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
