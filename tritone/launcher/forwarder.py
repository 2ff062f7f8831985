"""Addresses of servers that take turns: each connection is passed on to the one that serves."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

Addresses = Mapping[str, tuple[str, int]]
"""Service name -> host and TCP port."""

_Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

SPEECH_BYTES = 2048
"""No answer but one with speech has as many in one piece."""

QUIET_S = 1.0
"""A connection to a server that no longer serves is closed after so long without speech."""

_LOOK_S = 0.1
_PIECE = 65536
_BACKLOG = 1024


@dataclass(eq=False)
class _Connection:
    """Of a client, passed on to that server."""

    server: int
    client: asyncio.StreamWriter
    spoke: float  # when the server last sent speech, by the clock


class Forwarder:
    """Listens in the place of several servers; a context manager, with a thread of its own.

    Bytes go both ways as they come, whatever the protocol and its encryption. Entering raises
    OSError where an address cannot be bound.
    """

    def __init__(
        self,
        listen: Addresses,
        servers: Sequence[Addresses],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listen, self._servers, self._clock = listen, servers, clock
        self._current: int | None = None
        self._left: dict[int, float] = {}  # server -> since when it no longer serves
        self._connections = set[_Connection]()
        self._listeners: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="forwarder")

    def turn_to(self, server: int) -> None:
        """New connections are this server's. Those of others stay."""
        self._current = server

    def keep(self, server: int) -> None:
        """Take back that it was left: it serves again."""
        self._left.pop(server, None)

    def leave(self, server: int) -> None:
        """Its connections are closed once they carry no speech: their clients find another one."""
        self._left[server] = self._clock()

    def __enter__(self) -> "Forwarder":
        self._thread.start()
        try:
            self._do(self._open())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self) -> None:
        for service, address in self._listen.items():
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            listener = socket.create_server(address, family=family, backlog=_BACKLOG)
            server = await asyncio.start_server(self._accepts(service), sock=listener)
            self._listeners.append(server)
        self._sweeping = asyncio.create_task(self._sweep())

    async def _stop(self) -> None:
        for listener in self._listeners:
            listener.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # in which what was aborted is closed

    def _accepts(self, service: str) -> _Accept:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                with suppress(OSError, asyncio.CancelledError):  # the latter by `_stop`
                    await self._pass_on(service, reader, writer)
            finally:
                writer.transport.abort()  # does nothing once it was closed in peace

        return accept

    async def _pass_on(
        self, service: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Until the server ends the connection, or either side breaks it."""
        server = self._current
        if server is None:
            return
        answers, questions = await asyncio.open_connection(*self._servers[server][service])
        connection = _Connection(server, writer, self._clock())
        self._connections.add(connection)
        asking = asyncio.create_task(_ask(reader, questions))
        try:
            while data := await answers.read(_PIECE):
                if len(data) >= SPEECH_BYTES:
                    connection.spoke = self._clock()
                writer.write(data)
                await writer.drain()
            writer.close()
            await writer.wait_closed()
        finally:
            asking.cancel()
            questions.transport.abort()
            self._connections.discard(connection)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            for connection in list(self._connections):
                left = self._left.get(connection.server)
                if left and max(left, connection.spoke) + QUIET_S < self._clock():
                    connection.client.close()


async def _ask(reader: asyncio.StreamReader, questions: asyncio.StreamWriter) -> None:
    """What the client says, to its end; a client that is gone is gone for the server too."""
    try:
        while data := await reader.read(_PIECE):
            questions.write(data)
            await questions.drain()
        questions.write_eof()
    except OSError:
        questions.transport.abort()
