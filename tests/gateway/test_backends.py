"""Servers behind one name."""

import asyncio
import socket

from fake_server import listening
from shaky_server import Asked

from tritone.gateway.backends import Backend
from tritone.gateway.settings import Address
from tritone_client import Utterance


def test_several_of_one_name_are_asked_in_turn() -> None:
    async def speak(url: str) -> None:
        backend = Backend(Address.of(f"big={url}"), None)
        assert await backend.speaks() and await backend.name() == "big"
        for _ in range(4):  # each begins at the next
            assert len(await backend.client.speak(Utterance("one", seed=1)))
        await backend.client.close()

    first, second = Asked(), Asked()
    with socket.socket() as taken, listening(first) as one, listening(second) as other:
        taken.bind(("127.0.0.1", 0))
        asyncio.run(speak(f"{one},127.0.0.1:{taken.getsockname()[1]},{other}"))
    assert first.asked and second.asked and len(first.asked + second.asked) == 4
