"""What the launcher makes of a server that says nothing in time: neither that it is well nor that
it ends."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from http.client import HTTPMessage
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from urllib.error import HTTPError, URLError
from urllib.request import Request

import pytest
from toy_server import toy_settings
from waiting import HANG_S

from tritone.launcher import TritonServer, drain
from tritone.launcher.admin_key import AdminKey
from tritone.launcher.drain import ModelRepository
from tritone.launcher.launch import StopRequested
from tritone.launcher.model_watch import Loss
from tritone.launcher.server_log import ServerLog

LOSS = Loss("cosyvoice2", "its process ended")
NOTHING = TimeoutError("timed out")
NOT_READY = HTTPError("", 400, "", HTTPMessage(), BytesIO())


class Answers:
    """Of a server, one after the other: to be raised, or a body. The last one is for all that
    follow. asked: the ends of the addresses so far."""

    def __init__(self, *answers: Exception | bytes, first: Callable[[], object] = int) -> None:
        self._left, self._first = list(answers), first
        self.asked: list[str] = []

    def open(self, request: Request, timeout: float) -> nullcontext[BytesIO]:
        if not self.asked:
            self._first()
        self.asked.append(request.full_url.rpartition("/")[2])
        answer = self._left.pop(0) if len(self._left) > 1 else self._left[0]
        if isinstance(answer, Exception):
            raise answer
        return nullcontext(BytesIO(answer))


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers], Answers]:
    def says(answers: Answers) -> Answers:
        monkeypatch.setattr(drain, "opener", lambda: answers)
        return answers

    return says


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TritonServer]:
    """One that has just lost a model; its process sleeps."""
    server, log = TritonServer(toy_settings(tmp_path)), ServerLog(tmp_path / "log", echo=False)
    with subprocess.Popen(["sleep", "1000"]) as process:
        server._process, server._exit_event = process, os.pidfd_open(process.pid)
        server._watch, server._log = SimpleNamespace(next_loss=lambda: LOSS), log
        yield server
        process.kill()
        os.close(server._exit_event)
        log.close()


def test_a_server_that_is_slow_to_answer_is_not_about_to_end(server: TritonServer, says) -> None:
    answers = says(Answers(NOTHING, URLError(NOTHING), b""))
    assert server.next_loss() == LOSS
    assert answers.asked == ["ready"] * 3


def test_one_that_ends_while_it_is_asked_has_ended(server: TritonServer, says) -> None:
    says(Answers(NOTHING, first=lambda: os.kill(server.pid, signal.SIGKILL)))
    assert server.next_loss() is None and server.exit_status == -signal.SIGKILL


def test_one_that_stands_still_while_its_end_is_waited_for_is_ended(
    server: TritonServer, says
) -> None:
    server._probe = SimpleNamespace(deaf=True, close=lambda: None)
    says(Answers(NOT_READY))
    assert server.next_loss() is None and server.exit_status == -signal.SIGKILL


@pytest.fixture
def loading() -> Iterator[threading.Event]:
    """Until then a server that is to load a model says nothing."""
    over = threading.Event()
    yield over
    over.set()


@pytest.mark.parametrize("end", [signal.SIGKILL, None])
def test_a_server_that_ends_while_it_loads_a_model_is_waited_for_no_longer(
    server: TritonServer,
    monkeypatch: pytest.MonkeyPatch,
    loading: threading.Event,
    end: signal.Signals | None,
) -> None:
    """Also one that crashes and does not end: then it is ended."""

    def post(*_: object) -> bool:
        if end:
            os.kill(server.pid, end)
        return loading.wait()

    monkeypatch.setattr(server._repository, "_post", post)
    monkeypatch.setattr(server._log, "tells_of_crash", lambda: end is None)
    assert not server.replace("cosyvoice2")
    assert server.exit_status == -signal.SIGKILL


def test_a_stop_is_heard_while_a_model_is_loaded(
    server: TritonServer, monkeypatch: pytest.MonkeyPatch, loading: threading.Event
) -> None:
    monkeypatch.setattr(server._repository, "_post", lambda *_: loading.wait())
    server._stopping.set()
    with pytest.raises(StopRequested):
        server.replace("cosyvoice2")


def drained() -> None:
    repository = ModelRepository("http://server", AdminKey())
    repository.drain("speaker", "http://server/metrics", HANG_S, lambda: False)


def test_utterances_of_a_server_that_is_slow_to_answer_may_end(says) -> None:
    loaded = json.dumps([{"name": "speaker", "state": "UNLOADING"}]).encode()
    busy, none = b"tritone_streams 1\n", b"tritone_streams 0\n"
    answers = says(Answers(NOTHING, NOTHING, NOTHING, NOTHING, busy, loaded, none))
    drained()
    assert answers.asked == ["unload", *["index", "metrics"] * 3]


def test_a_server_that_is_gone_is_not_waited_for(says) -> None:
    answers = says(Answers(URLError(ConnectionRefusedError("refused"))))
    drained()
    assert answers.asked == ["unload"]


def test_silence_is_told_from_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        drain.demand(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=0.05)
    assert drain.demand("http://127.0.0.1:1/") is None
