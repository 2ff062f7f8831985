"""Addresses of fake servers, and one at which there is none."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from fake_server import FakeServer, listening


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def serve() -> Iterator[Callable[[FakeServer], str]]:
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(listening(server))
