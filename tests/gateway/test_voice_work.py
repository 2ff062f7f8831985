"""Recordings that wait to be made into voices: how many, and what becomes of them when their
callers go."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from paths import EMBEDDED
from waiting import HANG_S, wait_until

from tritone.families import voice_desk
from tritone.frontend.registry.record import VoiceRecord
from tritone.gateway import gateway
from tritone.gateway.app import create_app
from tritone.gateway.settings import Address, GatewaySettings
from tritone.gateway.voice_work import VoiceWork

VOICES = "/v1/audio/voices"
RECORD = VoiceRecord(
    id="ann",
    name="Ann",
    transcript="",
    family="x",
    encoders="",
    arrays="0" * 64,
    origin="recording",
    created="2025-01-01T00:00:00+00:00",
)


@pytest.fixture
def folder(tmp_path: Path) -> GatewaySettings:
    nobody = (Address("127.0.0.1:1"),)
    return GatewaySettings(nobody, voices=tmp_path / "voices", voices_model=EMBEDDED)


class Desk:
    """In place of the one that loads encoders: it adds when it is let, and asks whether it is
    still to, as that one does."""

    def __init__(self, *_: object) -> None:
        self.began, self.let = threading.Semaphore(0), threading.Event()
        self.ended: list[str] = []
        self.loaded = False
        Desk.last = self

    last: "Desk"

    def load(self) -> None:
        self.loaded = True

    def add(self, data: bytes, details: Any, *, still_wanted: Callable[[], None]) -> Any:
        still_wanted()
        self.began.release()
        assert self.let.wait(HANG_S)
        self.ended.append("unwanted")
        still_wanted()
        self.ended[-1] = details.id
        return voice_desk.Added(RECORD, 1.5, 0.5)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Desk]]:
    monkeypatch.setattr(voice_desk, "VoiceDesk", Desk)
    yield Desk
    Desk.last.let.set()


def test_a_caller_that_goes_adds_no_voice(folder: GatewaySettings, desk: type[Desk]) -> None:
    """The one that is being made ends at its next step, and the one that waits never begins."""

    async def go() -> None:
        app = create_app(folder)
        async with app.router.lifespan_context(app):
            first, second = Connection(app), Connection(app)
            await first.begun()
            await asyncio.to_thread(wait_until, lambda: app.state.gateway.voices._opened)
            assert await asyncio.to_thread(desk.last.began.acquire, timeout=HANG_S)
            await second.begun()
            for connection in (second, first):
                connection.gone.set()
                await connection.answered
            desk.last.let.set()
        assert desk.last.ended == ["unwanted"]

    asyncio.run(go())


def test_one_too_many_is_told_when_to_come_back(folder: GatewaySettings, desk: type[Desk]) -> None:
    async def go() -> None:
        app = create_app(folder)
        async with app.router.lifespan_context(app):
            there = [Connection(app) for _ in range(folder.voices_waiting)]
            for connection in there:
                await connection.begun()
            refused = Connection(app)
            await refused.answered
            assert refused.status == 429
            assert refused.headers[b"retry-after"] == b"8"  # four, of two seconds each
            assert not refused.was_read, "nothing of the recording was taken"
            await asyncio.to_thread(wait_until, lambda: app.state.gateway.voices._opened)
            desk.last.let.set()
            for connection in there:
                await connection.answered
                assert connection.status == 200
            more = Connection(app)
            await more.answered
            assert more.status == 200

    asyncio.run(go())


def test_encoders_are_let_go_of_and_loaded_anew(
    folder: GatewaySettings, desk: type[Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "VoiceWork", partial(VoiceWork, idle_seconds=0.0))

    async def add(app: Any) -> Desk:
        connection = Connection(app)
        await connection.begun()
        await asyncio.to_thread(wait_until, lambda: app.state.gateway.voices._opened)
        assert app.state.gateway.voices._opened == [desk.last], "as long as it is worked on"
        desk.last.let.set()
        await connection.answered
        assert connection.status == 200 and desk.last.loaded
        return desk.last

    async def go() -> None:
        app = create_app(folder)
        async with app.router.lifespan_context(app):
            first = await add(app)
            await asyncio.to_thread(wait_until, lambda: not app.state.gateway.voices._opened)
            assert await add(app) is not first

    asyncio.run(go())


class Connection:
    """A caller who sends a recording and then stays until `gone` is set."""

    def __init__(self, app: Any) -> None:
        texts, sound = {"name": "ann", "consent": "given"}, {"audio_sample": b"x"}
        built = httpx.Request("POST", f"http://gateway{VOICES}", data=texts, files=sound)
        self._body: bytes | None = built.read()
        self.gone, self.was_read = asyncio.Event(), False
        self.status, self.headers = 0, dict[bytes, bytes]()
        raw = [(name.lower(), value) for name, value in built.headers.raw]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": VOICES,
            "raw_path": VOICES.encode(),
            "query_string": b"",
            "headers": raw,
            "client": ("127.0.0.1", 1),
            "server": ("gateway", 80),
            "scheme": "http",
        }
        self.answered = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def begun(self) -> None:
        """Until its recording was taken."""
        while not self.was_read:
            await asyncio.sleep(0)

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body, self.was_read = self._body, None, True
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
