"""Connections passed on to servers that take turns."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
from toy_server import free_ports
from waiting import HANG_S, Clock, wait_until

from tritone.launcher.forwarder import QUIET_S, SPEECH_BYTES, Forwarder

LOOPBACK = "127.0.0.1"


class Server:
    """Greets each client with its name, then does with its words what it is told to do."""

    def __init__(self, name: bytes, answer: Callable[[socket.socket], None]) -> None:
        self._name, self._answer = name, answer
        self.listener = socket.create_server((LOOPBACK, 0))
        self.clients: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.clients.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):  # closed, by either side
            client.sendall(self._name)
            self._answer(client)

    def close(self) -> None:
        for held in (self.listener, *self.clients):
            with suppress(OSError):  # closed already
                held.shutdown(socket.SHUT_RDWR)
            held.close()


def echo(client: socket.socket) -> None:
    """To the end of what is said, then a last word."""
    while data := client.recv(1024):
        client.sendall(data)
    client.sendall(b"!")
    client.shutdown(socket.SHUT_WR)


def silent(client: socket.socket) -> None:
    """To the end of what is said, without a word."""
    while client.recv(1024):
        pass


class Line:
    """A forwarder to two servers, and connections of clients to it."""

    def __init__(self, stack: ExitStack, answer: Callable[[socket.socket], None]) -> None:
        self._stack = stack
        self.servers = [Server(name, answer) for name in (b"a", b"b")]
        for server in self.servers:
            stack.callback(server.close)
        self._address = (LOOPBACK, free_ports()["grpc_port"])
        targets = [{"grpc": server.listener.getsockname()} for server in self.servers]
        self.clock = Clock()
        self.forwarder = Forwarder({"grpc": self._address}, targets, self.clock)
        stack.enter_context(self.forwarder)

    def connect(self) -> socket.socket:
        client = socket.create_connection(self._address, timeout=HANG_S)
        return self._stack.enter_context(client)


@pytest.fixture
def lined() -> Iterator[Callable[[Callable[[socket.socket], None]], Line]]:
    with ExitStack() as stack:
        yield lambda answer: Line(stack, answer)


def test_new_connections_go_to_the_one_whose_turn_it_is(lined) -> None:
    line = lined(echo)
    line.forwarder.turn_to(0)
    first = line.connect()
    assert first.recv(1) == b"a"
    line.forwarder.turn_to(1)
    second = line.connect()
    assert second.recv(1) == b"b"
    first.sendall(b"still you")
    assert first.recv(9, socket.MSG_WAITALL) == b"still you"


def test_both_directions_end_in_their_own_time(lined) -> None:
    line = lined(echo)
    line.forwarder.turn_to(0)
    client = line.connect()
    client.sendall(b"all")
    client.shutdown(socket.SHUT_WR)
    assert b"".join(iter(lambda: client.recv(99), b"")) == b"aall!"


def test_before_any_turn_and_where_nobody_listens_a_connection_ends(lined) -> None:
    line = lined(echo)

    def ended() -> bool:
        try:
            return line.connect().recv(1) == b""
        except ConnectionResetError:
            return True

    assert ended()
    line.servers[0].close()
    line.forwarder.turn_to(0)
    assert ended()


def test_a_client_that_is_gone_is_gone_for_the_server(lined) -> None:
    line = lined(silent)
    line.forwarder.turn_to(0)
    client = line.connect()
    assert client.recv(1) == b"a"
    client.close()
    (seen,) = line.servers[0].clients
    seen.settimeout(HANG_S)
    assert seen.recv(1) == b""


def test_a_server_that_is_gone_is_gone_for_its_client(lined) -> None:
    line = lined(silent)
    line.forwarder.turn_to(0)
    client = line.connect()
    assert client.recv(1) == b"a"
    line.servers[0].close()
    assert client.recv(1) == b""


def test_only_connections_with_speech_outlast_a_turn(lined) -> None:
    line = lined(silent)
    line.forwarder.turn_to(0)
    speaking, quiet = line.connect(), line.connect()
    assert speaking.recv(1) + quiet.recv(1) == b"aa"
    line.forwarder.turn_to(1)
    line.forwarder.leave(0)
    line.clock.move(0.9 * QUIET_S)
    line.servers[0].clients[0].sendall(bytes(SPEECH_BYTES))
    assert len(speaking.recv(SPEECH_BYTES, socket.MSG_WAITALL)) == SPEECH_BYTES
    line.clock.move(0.9 * QUIET_S)
    assert quiet.recv(1) == b""
    line.servers[0].clients[0].sendall(b"!")
    assert speaking.recv(1) == b"!"


def test_a_server_that_serves_again_keeps_its_clients(lined) -> None:
    line = lined(echo)
    line.forwarder.turn_to(0)
    kept = line.connect()
    assert kept.recv(1) == b"a"
    line.forwarder.leave(0)
    line.forwarder.keep(0)
    line.forwarder.turn_to(1)
    left = line.connect()
    assert left.recv(1) == b"b"
    line.forwarder.leave(1)
    line.clock.move(2 * QUIET_S)
    assert left.recv(1) == b""
    kept.sendall(b"there")
    assert kept.recv(5, socket.MSG_WAITALL) == b"there"


def test_a_client_that_does_not_read_fills_no_memory(lined) -> None:
    sent = [0]

    def flood(client: socket.socket) -> None:
        piece = bytes(1 << 16)
        while True:
            sent[0] += client.send(piece)

    line = lined(flood)
    line.forwarder.turn_to(0)
    client = line.connect()
    assert client.recv(1) == b"a"
    wait_until(lambda: _stands(sent))
    assert sent[0] < 32 << 20, "what sockets and one buffer hold"


def _stands(count: list[int]) -> bool:
    before = count[0]
    threading.Event().wait(0.2)
    return 0 < before == count[0]
