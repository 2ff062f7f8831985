"""Whether the caller is there, and takes what is sent."""

import asyncio

import pytest

from tritone.gateway.presence import CallerGone, taken_within


def test_who_takes_nothing_is_gone() -> None:
    async def go() -> None:
        never = asyncio.Event()
        with pytest.raises(CallerGone):
            await taken_within(0.01, _wait(never))

    asyncio.run(go())


def test_what_is_wrong_with_sending_is_told() -> None:
    async def broken() -> None:
        raise OSError("no connection")

    with pytest.raises(OSError, match="no connection"):
        asyncio.run(taken_within(10, broken()))


def test_a_cancellation_is_noticed_in_the_moment_in_which_all_was_taken() -> None:
    """`asyncio.wait_for` returns as if nothing were, in Python 3.10 and 3.11."""

    async def go() -> bool:
        taken = asyncio.Event()
        task = asyncio.ensure_future(taken_within(10, _wait(taken)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # it waits
        taken.set()
        await asyncio.sleep(0)  # the work is done, and who waits for it does not know yet
        task.cancel()
        await asyncio.wait((task,))
        return task.cancelled()

    assert asyncio.run(go())


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
