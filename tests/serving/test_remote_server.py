"""The connection to the server that has the language model: when it is there, when it is lost."""

import os
import queue
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from fake_server import listening
from far_server import FarServer, Silence, answer_with
from waiting import HANG_S, wait_until

from tritone.errors import EnvironmentProblem
from tritone.serving import remote_server
from tritone.serving.beat import is_heard
from tritone.serving.generation_tensors import OUTPUTS, row
from tritone.serving.remote_server import RemoteServer, inference
from tritone.serving.remote_settings import RemoteSettings
from tritone.variables import BEATS_VARIABLE

REFUSED = "InvalidRequest: model_name: is that of an inner model"
TOKEN = answer_with({"output_ids": np.array([[[7]]], np.int32)})


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked often, and has long to answer; what is silent never does."""
    monkeypatch.setattr(remote_server, "LOOK_S", 0.01)
    for limit in ("ANSWER_S", "MODEL_S"):
        monkeypatch.setattr(remote_server, limit, HANG_S)


@pytest.fixture
def far() -> FarServer:
    return FarServer(TOKEN)


@pytest.fixture
def remote(far: FarServer) -> Iterator[RemoteServer]:
    with listening(far) as address:
        server = RemoteServer(RemoteSettings(address))
        yield server
        server.close()


def losses(server: RemoteServer) -> "queue.Queue[str]":
    told: queue.Queue[str] = queue.Queue()
    server.watch(told.put)
    return told


def test_it_is_waited_for_and_says_why(far: FarServer, remote: RemoteServer) -> None:
    far.looks = [False, False, True]
    far.refusals = ["Request for unknown model: 'tensorrt_llm' is not ready."]
    told: list[str] = []
    remote.wait(told.append)
    assert told == ["its tensorrt_llm is not ready", "Request for unknown model: 'tensorrt_llm' "
                    "is not ready."]  # fmt: skip


def test_it_is_waited_for_no_longer_than_the_launcher_lives(
    far: FarServer, remote: RemoteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton does not end while it loads a model: it would stay behind for ever."""
    far.looks, told = [False], []
    heard, sender = os.pipe()
    monkeypatch.setenv(BEATS_VARIABLE, str(sender))

    def tell(why: str) -> None:
        told.append((why, is_heard()))
        os.close(heard)

    with pytest.raises(EnvironmentProblem, match="nobody waits for the server at"):
        remote.wait(tell)
    os.close(sender)
    assert told == [("its tensorrt_llm is not ready", True)]


def test_a_key_that_is_not_taken_is_an_error(far: FarServer, remote: RemoteServer) -> None:
    far.refusals = [REFUSED]
    with pytest.raises(EnvironmentProblem, match=r"does not take the key: .* \(--inner-key-file\)"):
        remote.wait(str)


def test_each_request_brings_the_key(far: FarServer, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("0123456789abcdef\n")
    with listening(far) as address:
        server = RemoteServer(RemoteSettings(address, str(tmp_path / "key")))
        server.wait(str)
        server.close()
    (asked,) = far.asked
    assert asked.parameters["tritone_inner_key"].string_param == "0123456789abcdef"


@pytest.mark.parametrize("looks", [[True, False], [True, True, True, False]])
def test_one_that_says_it_is_not_ready_is_lost(
    far: FarServer, remote: RemoteServer, looks: list
) -> None:
    far.looks = [*looks]
    assert losses(remote).get(timeout=HANG_S) == "its tensorrt_llm is not ready"
    assert far.looked == len(looks)


def test_one_whose_connection_ends_is_lost() -> None:
    with listening(FarServer()) as address:
        server = RemoteServer(RemoteSettings(address))
        server.wait(str)
        told = losses(server)
    assert told.get(timeout=HANG_S).startswith("UNAVAILABLE: ")
    server.close()


def generation(remote: RemoteServer, seconds: float | None = None) -> Iterator[Any]:
    return remote.call(inference("1", {"input_ids": row([1], np.int32)}, OUTPUTS), seconds)


def test_silence_is_a_loss_to_those_who_wait(
    far: FarServer, remote: RemoteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = generation(remote)
    next(call)
    far.looks, far.refusals = [None], [None]
    with monkeypatch.context() as patch:
        patch.setattr(remote_server, "ANSWER_S", 0.1)
        assert losses(remote).get(timeout=HANG_S).startswith("DEADLINE_EXCEEDED: ")
    assert far.looked <= 1, "the first look may not have reached it in time"
    far.refusals = []
    remote.stop("1")
    list(call)


@pytest.mark.parametrize(
    "answer", [None, "Stub process 'tensorrt_llm_0_0' is not healthy.", REFUSED]
)
def test_so_is_that_of_its_model_while_the_server_calls_it_ready(
    far: FarServer, remote: RemoteServer, monkeypatch: pytest.MonkeyPatch, answer: str | None
) -> None:
    """As Triton does where its process has died."""
    told = losses(remote)
    wait_until(lambda: far.looked > 2)
    assert told.empty() and not far.asked, "nobody waits: there is nothing to hear"
    far.refusals = [answer] * 2
    if answer is None:
        monkeypatch.setattr(remote_server, "MODEL_S", 0.1)
    call = generation(remote)
    next(call)
    words = {None: "DEADLINE_EXCEEDED: ", REFUSED: "the server at .* does not take the key"}
    assert re.match(words.get(answer, str(answer)), told.get(timeout=HANG_S))
    assert far.looks == [True]
    far.refusals = []
    monkeypatch.setattr(remote_server, "MODEL_S", HANG_S)
    remote.stop("1")
    list(call)


def test_what_is_heard_makes_the_question_needless(
    far: FarServer, remote: RemoteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = generation(remote)
    next(call)
    monkeypatch.setattr(remote_server, "LOOK_S", HANG_S)  # it was heard within
    assert remote._model_away_from_callers() == "" and len(far.asked) == 1
    monkeypatch.setattr(remote_server, "LOOK_S", 0.0)
    assert remote._model_away_from_callers() == "" and len(far.asked) == 2
    remote.stop("1")
    list(call)


def test_one_that_nobody_waits_for_may_be_busy_for_a_while(
    remote: RemoteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence, answer = ("it is silent", True), ("", False)
    looks = [*[silence] * (remote_server._IDLE_LOOKS - 1), answer] * 3
    looks += [silence] * remote_server._IDLE_LOOKS
    left = iter(looks)
    monkeypatch.setattr(remote, "_absence", lambda: next(left))
    assert losses(remote).get(timeout=HANG_S) == "it is silent"
    assert next(left, None) is None, "all of its looks were needed"


@pytest.mark.parametrize("speaks", [True, False])
def test_one_that_answers_a_call_meanwhile_is_not_silent(
    remote: RemoteServer, monkeypatch: pytest.MonkeyPatch, speaks: bool
) -> None:
    call = generation(remote)

    def is_asked(*_: object, timeout: float) -> None:
        if speaks:
            next(call)
        raise Silence

    with monkeypatch.context() as patch:
        patch.setattr(remote._stub, "ModelReady", is_asked)
        silence = ("DEADLINE_EXCEEDED: not in time", True)
        assert remote._absence() == (("", False) if speaks else silence)
    if speaks:
        remote.stop("1")
        list(call)


def test_after_its_end_nothing_is_lost(far: FarServer, remote: RemoteServer) -> None:
    told = losses(remote)
    wait_until(lambda: far.looked)
    remote.close()
    assert remote.closed and told.empty()


def test_a_look_at_the_moment_of_its_end_says_nothing(
    far: FarServer, remote: RemoteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC's channel raises a ValueError then; a thread's error fails a test."""
    looking, closed = threading.Event(), threading.Event()
    absence = remote._absence

    def late() -> tuple[str, bool]:
        looking.set()
        closed.wait(HANG_S)
        return absence()

    monkeypatch.setattr(remote, "_absence", late)
    told = losses(remote)
    assert looking.wait(HANG_S)
    remote.close()
    closed.set()
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "remote server"])
    assert told.empty()


def test_a_generation_that_takes_too_long_is_ended(far: FarServer, remote: RemoteServer) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(generation(remote, seconds=0.2))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    if far.asked:
        assert not far.generation_ends.get(timeout=HANG_S), "it hears of it"
