"""Making voices of recordings: in a thread of its own, one after the other, and not too many."""

import asyncio
import gc
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tritone.errors import Cancelled, TritoneError
from tritone.frontend.registry.record import Details, VoiceRecord
from tritone.gateway.errors import ApiError, from_registry
from tritone.memory import give_back

if TYPE_CHECKING:
    from tritone.families.voice_desk import Added, VoiceDesk

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_SECONDS = 2.0  # that a voice is taken to need, until one was made
_IDLE_SECONDS = 300.0  # after the last recording, for which the encoders stay


class VoiceWork:
    """Nothing is read before the first request; the encoders are loaded while a recording arrives,
    and let go of when none has come for a while. To be made and closed where a loop runs."""

    def __init__(
        self, registry: Path, model_dir: Path, most: int, idle_seconds: float = _IDLE_SECONDS
    ) -> None:
        """registry: folder of added voices. model_dir: whose encoders make them. most: recordings
        at a time, those that arrive and those that wait included. idle_seconds: without any, after
        which the encoders are let go of."""
        self.registry, self.model_dir, self._idle_seconds = registry, model_dir, idle_seconds
        self._most, self._taken, self._seconds = most, 0, _SECONDS
        self._thread = ThreadPoolExecutor(1, "voices")
        self._expected = False
        self._letting_go: asyncio.TimerHandle | None = None
        self._opening, self._opened = threading.Lock(), list["VoiceDesk"]()

    @contextmanager
    def place(self) -> Iterator[None]:
        """For one recording, from before it arrives until it is a voice. Raises ApiError where
        there is none."""
        if self._taken >= self._most:
            wait = self._taken * self._seconds
            raise ApiError(
                429,
                "overloaded",
                f"{self._taken} recordings are being made into voices, which is the limit; retry "
                f"after {wait:.1f} s",
                retry_after=wait,
            )
        self._taken += 1
        self._stay()
        try:
            yield
        finally:
            self._taken -= 1
            if not self._taken:
                loop = asyncio.get_running_loop()
                self._letting_go = loop.call_later(self._idle_seconds, self._let_go)

    def expect(self) -> None:
        """A recording is on its way: have the encoders loaded meanwhile, if they are not yet."""
        if not self._expected:
            self._expected = True
            self._thread.submit(self._load)

    async def add(self, data: bytes, details: Details) -> "Added":
        """As `VoiceDesk.add`, raising ApiError. One that is cancelled adds nothing any more, and
        leaves off at the next step."""
        left = threading.Event()
        job = self._thread.submit(self._add, data, details, left)
        try:
            added = await asyncio.wrap_future(job)
        except TritoneError as error:
            raise from_registry(error) from error
        finally:
            left.set()
        self._seconds = added.seconds
        return added

    async def get(self, voice_id: str) -> VoiceRecord | None:
        """None for a voice of the model directory, of which nothing is written down. Raises
        ApiError."""
        return await self._asked(lambda desk: None if desk.owns(voice_id) else desk.get(voice_id))

    async def remove(self, voice_id: str) -> None:
        """Raises ApiError."""
        await self._asked(lambda desk: desk.remove(voice_id))

    async def close(self) -> None:
        """Wait for the recording that is being made into a voice; those that wait are none."""
        self._stay()
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    async def _asked(self, question: Callable[["VoiceDesk"], _Result]) -> _Result:
        try:
            return await asyncio.to_thread(lambda: question(self._desk()))
        except TritoneError as error:
            raise from_registry(error) from error

    def _add(self, data: bytes, details: Details, left: threading.Event) -> "Added":
        def still_wanted() -> None:
            if left.is_set():
                raise Cancelled("the caller has gone")

        return self._desk().add(data, details, still_wanted=still_wanted)

    def _load(self) -> None:
        """Without them, the recording that comes is refused, and says why."""
        with suppress(TritoneError):
            self._desk().load()

    def _stay(self) -> None:
        if self._letting_go:
            self._letting_go.cancel()

    def _let_go(self) -> None:
        """In the thread of the recordings, so that one that comes meanwhile is after it."""
        self._expected = False
        self._thread.submit(self._forget)

    def _forget(self) -> None:
        with self._opening:
            self._opened.clear()
        gc.collect()  # front ends refer to themselves
        give_back()

    def _desk(self) -> "VoiceDesk":
        """Its modules take a while to import."""
        with self._opening:
            if not self._opened:
                from tritone.families import open_model
                from tritone.families.voice_desk import VoiceDesk
                from tritone.frontend.registry.store import VoiceRegistry

                self._opened.append(
                    VoiceDesk(open_model(self.model_dir), VoiceRegistry(self.registry))
                )
            return self._opened[0]
