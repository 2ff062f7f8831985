"""One WebSocket from its handshake to its end: one speech after the other, of which it is told."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from tritone.gateway.errors import ApiError
from tritone.gateway.gateway import Gateway
from tritone.gateway.limits import Caller
from tritone.gateway.live import Listener, LiveSpeech, Text
from tritone.gateway.presence import CallerGone
from tritone.gateway.sockets import Socket, content_of
from tritone.gateway.speech import SpeechOptions

_MOST_TOLD = 8  # speeches whose ends are not told yet, for a caller who reads slowly


class Conversation(ABC):
    """What its messages mean is said by those who derive from it."""

    def __init__(self, gateway: Gateway, caller: Caller, socket: Socket) -> None:
        self.gateway, self.socket, self._caller = gateway, socket, caller
        self._speech: LiveSpeech | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._counted = True  # the first speech is, with the connection

    @abstractmethod
    async def greet(self) -> None:
        """Say what comes before all else. Raises ApiError for what ends the connection."""

    @abstractmethod
    async def take(self, content: dict[str, Any]) -> None:
        """A message, which has a type. Raises ApiError, and CallerGone."""

    @abstractmethod
    async def refuse(self, error: ApiError, content: dict[str, Any]) -> None:
        """Tell what is wrong; content: of the message, as far as it has any. Raises CallerGone."""

    @property
    def speech(self) -> LiveSpeech | None:
        """What is spoken now, or is just being left off."""
        return self._speech if self._speech and not self._speech.over else None

    @property
    def may_begin(self) -> bool:
        """Whether another speech may: the one before was cancelled, or all of it is said."""
        return self.speech is None or self.speech.cancelled

    def begin(self, options: SpeechOptions, text: Text, listener: Listener) -> None:
        """A speech, when the one before has told its end. Raises ApiError where the caller asks too
        often."""
        assert self.may_begin
        if len(self._tasks) >= _MOST_TOLD:
            problem = f"the ends of {_MOST_TOLD} utterances are not told yet, which is the limit; "
            raise ApiError(429, "overloaded", problem + "read what has come, then start again")
        if not self._counted:
            self._caller.rate.take()
        self._counted = False
        self._speech = LiveSpeech(self.gateway, self._caller, options, text, listener)
        task = asyncio.create_task(_run(self._speech, frozenset(self._tasks)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def hold(self) -> None:
        """Until the caller goes, or is silent for too long."""
        try:
            await self.greet()
            async for message in self.socket.messages(lambda: self.speech is not None):
                await self._take_or_refuse(message)
        except CallerGone:
            return
        except ApiError as error:
            with suppress(CallerGone):
                await self.refuse(error, {})
                await self.socket.close(error)
        finally:
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def _take_or_refuse(self, message: dict[str, Any]) -> None:
        content: dict[str, Any] = {}
        try:
            content = content_of(message)
            await self.take(content)
        except ApiError as error:
            await self.refuse(error, content)


async def _run(speech: LiveSpeech, before: Collection["asyncio.Task[None]"]) -> None:
    """Speak, once the one before has told how it ended."""
    if before:
        await asyncio.wait(before)
    with suppress(CallerGone):  # whoever reads the messages learns of it from the socket
        await speech.run()
