"""The servers behind a gateway, and which of them a request is for."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from tritone.gateway.errors import ApiError
from tritone.gateway.settings import Address
from tritone_client import AsyncSpeechClient, SpeechError, Tls

_ASKED_S = 1.0  # that a server may take to name its model's emotions
_RECENT_S = 2.0  # for which what a server said of its voices is taken for so

_LOG = logging.getLogger(__name__)

ALIASES = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
"""OpenAI's names, which programs have built in; they stand for the first server."""


class Backend:
    """One server, or several that are asked in turn, over a gRPC connection each. To be made where
    a loop runs."""

    def __init__(self, address: Address, tls: Tls | None) -> None:
        self.address = address
        self.client = AsyncSpeechClient(address.url, tls=tls)
        self._recent: tuple[float, list[str]] | None = None  # until when, and the voices

    async def name(self) -> str:
        """What requests call it by. Raises SpeechError where it must be asked and is not there."""
        return self.address.name or await self.client.model()

    async def known(self) -> str | None:
        """Its name; None while nobody knows."""
        with suppress(SpeechError):
            return await self.name()
        return None

    async def speaks(self) -> bool:
        """Whether it would speak now."""
        return await self.client.is_ready() and await self.known() is not None

    async def emotions(self) -> list[str]:
        """Names of its model's; none while nobody knows."""
        with suppress(SpeechError, TimeoutError, asyncio.TimeoutError):
            return list(await asyncio.wait_for(self.client.emotions(), _ASKED_S))
        return []

    async def voices(self) -> list[str]:
        """Ids of its voices, the model's own first; none of a server that cannot tell. Raises
        SpeechError."""
        try:
            found = await self.client.voices()
            self._recent = asyncio.get_running_loop().time() + _RECENT_S, found
            return found
        except SpeechError as error:
            if error.status != "INVALID_ARGUMENT" and "voices" not in error.message:
                raise
            return []

    async def recent_voices(self) -> list[str]:
        """As `voices`; what other processes changed is seen after 2 s. Raises SpeechError."""
        if self._recent and asyncio.get_running_loop().time() < self._recent[0]:
            return self._recent[1]
        return await self.voices()


class Backends:
    """All of them; close it where it was made."""

    def __init__(self, addresses: Sequence[Address], tls: Tls | None) -> None:
        self.all = [Backend(address, tls) for address in addresses]

    async def names(self) -> list[str | None]:
        """Of each, in order."""
        return list(await asyncio.gather(*(backend.known() for backend in self.all)))

    async def choose(self, model: str) -> Backend:
        """The one that a request names. Raises ApiError."""
        if model in ALIASES:
            return self.all[0]
        names = await self.names()
        if model in names:
            return self.all[names.index(model)]
        if None in names:  # it may be the one that is not there
            raise ApiError(
                503,
                "unavailable",
                f"model: {model[:100]!r} is not there, and a server does not answer; retry in a "
                "few seconds",
                retry_after=3,
            )
        there = ", ".join([*filter(None, names), *ALIASES])
        problem = f"model: {model[:100]!r} is not known here; known are {there}"
        raise ApiError(404, "model_not_found", problem, param="model")

    async def warm(self) -> None:
        """Ask each for what the first request would have to ask."""
        with suppress(SpeechError):
            await asyncio.gather(*(backend.client.sample_rate() for backend in self.all))

    async def close(self) -> None:
        await asyncio.gather(*(backend.client.close() for backend in self.all))
