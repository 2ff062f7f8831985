"""What `tensorrt_llm` passes on to another server and back, over gRPC."""

import gc
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
from backend_fakes import NAME, backend
from fake_server import listening
from far_server import FarServer, Silence, answer_with
from paths import PROJECT
from waiting import HANG_S, wait_until

from tritone.serving import cancellation, remote_server
from tritone.serving.remote_server import RemoteServer
from tritone.serving.remote_settings import RemoteSettings

NOTHING_YET = {"sequence_length": np.zeros((1, 1), np.int32)}
TOKENS = {
    "output_ids": np.array([[[7, 8]]], np.int32),
    "sequence_length": np.array([[2]], np.int32),
    "latents": np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3),
}
OUTPUTS = list(TOKENS)
PARAMETERS = {"tritone_inner_key": "of-this-server", "tritone_place": 3, "a": 5, "b": "word"}


class Sender:
    """gone: whether its caller has."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, int]] = []
        self.gone = False

    def send(self, response: Any = None, flags: int = 0) -> None:
        self.sent.append((response, flags))

    def is_cancelled(self) -> bool:
        return self.gone

    def wait(self) -> list[tuple[Any, int]]:
        """All that was sent, once the last response was."""
        wait_until(lambda: self.sent and self.sent[-1][1])
        return self.sent


def request(**inputs: np.ndarray) -> SimpleNamespace:
    """As Triton gives it."""

    def tensor(name: str, values: np.ndarray) -> SimpleNamespace:
        return SimpleNamespace(name=lambda: name, as_numpy=lambda: values)

    return SimpleNamespace(
        inputs=lambda: [tensor(*pair) for pair in inputs.items()],
        request_id=lambda: "5",
        requested_output_names=lambda: OUTPUTS,
        parameters=lambda: json.dumps(PARAMETERS),
    )


IDS = request(input_ids=np.array([[1, 2]], np.int32))


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    monkeypatch.setattr(cancellation, "_LOOK_S", 0.0)
    for limit in ("ANSWER_S", "MODEL_S"):
        monkeypatch.setattr(remote_server, limit, HANG_S)
    with backend(monkeypatch, "messages", "remote_generations") as modules:
        yield modules


@pytest.fixture
def ends(modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of the process; whoever ends it comes no further."""
    seen: list[int] = []

    def end(status: int) -> None:
        seen.append(status)
        threading.Event().wait()

    monkeypatch.setattr(modules.remote_generations.os, "_exit", end)
    return seen


@pytest.fixture
def far() -> FarServer:
    return FarServer(answer_with(NOTHING_YET), answer_with(TOKENS))


@pytest.fixture
def address(far: FarServer) -> Iterator[str]:
    with listening(far) as address:
        yield address


@pytest.fixture
def generations(modules: SimpleNamespace, address: str, ends: list[int]) -> Iterator[Any]:
    generations = modules.remote_generations.RemoteGenerations(
        RemoteServer(RemoteSettings(address))
    )
    yield generations
    generations.close()


def test_tensors_go_through_as_they_are(far: FarServer, generations: Any) -> None:
    sender, stopper = Sender(), Sender()
    embeddings = np.arange(6, dtype=np.float32)[None]
    length, seed = np.array([2], np.int32), np.array([1 << 63], np.uint64)
    generations.start(
        request(prompt_embeddings=embeddings, input_lengths=length, random_seed=seed), sender
    )
    wait_until(lambda: len(sender.sent) == 2)
    generations.start(request(stop=np.array([True])), stopper)
    (asked, stop), sent = (wait_until(lambda: len(far.asked) == 2 and far.asked), sender.wait())
    given = {one.name: (one.datatype, [*one.shape]) for one in asked.inputs}
    assert asked.model_name == "tensorrt_llm" and asked.id == stop.id == "5"
    assert given == {
        "prompt_embeddings": ("FP32", [1, 6]),
        "input_lengths": ("INT32", [1, 1]),  # Triton has taken the leading one
        "random_seed": ("UINT64", [1, 1]),
    }
    contents = [embeddings.tobytes(), length.tobytes(), seed.tobytes()]
    assert list(asked.raw_input_contents) == contents
    parameters = asked.parameters
    assert (parameters["a"].int64_param, parameters["b"].string_param) == (5, "word")
    assert not {"tritone_inner_key", "tritone_place"} & set(parameters), "they are of this server"
    assert [output.name for output in asked.outputs] == OUTPUTS
    for (tensors, flags), expected in zip(sent, (NOTHING_YET, TOKENS), strict=False):
        assert not flags and [name for name, _ in tensors] == list(expected)
        for name, values in tensors:
            np.testing.assert_array_equal(values, expected[name])
            assert values.dtype == expected[name].dtype
    assert sent[2:] == [(None, 1)] and stopper.wait()[-1] == (None, 1)


def words_of(reply: Any) -> str:
    """Of an error, Triton's own or as an output."""
    if not isinstance(reply, tuple):
        return str(reply.message)
    ((name, words),) = reply
    assert name == "failure"
    return str(words.item().decode())


def test_an_error_that_is_an_output_goes_through(far: FarServer, generations: Any) -> None:
    words = np.array([[b"StageFailed: llm: the largest logit is nan"]], np.object_)
    far.answers = (*far.answers, answer_with({"failure": words}))
    sender = Sender()
    generations.start(IDS, sender)
    wait_until(lambda: len(sender.sent) == 3)
    generations.start(request(stop=np.array([True])), Sender())
    *_, (reply, flags), last = sender.wait()
    assert words_of(reply) == words.item().decode() and (flags, last) == (0, (None, 1))


@pytest.mark.parametrize(
    "words",
    [
        "Overloaded: 2 generations run or wait; retry later",
        "InvalidRequest: random_seed: is -1",
        "StageFailed: tensorrt_llm: the largest logit is nan",
    ],
)
@pytest.mark.parametrize("answers", [0, 1])
def test_an_error_keeps_its_kind(
    far: FarServer, generations: Any, words: str, answers: int
) -> None:
    """As the first response it is the last one too, later it is an output of one that is apart:
    Triton 2.51 has readers wait for ever otherwise, or end without it."""
    far.answers = (*far.answers[:answers], answer_with(error=words))
    sender, errors = Sender(), []
    generations.start(IDS, sender)
    wait_until(lambda: far.asked)
    generations.start(request(stop=np.array([True])), Sender())
    for reply, flags in sender.wait()[answers:]:
        errors.append((reply and words_of(reply), flags))
    assert errors == ([(words, 0), (None, 1)] if answers else [(words, 1)])


@pytest.mark.parametrize("why", [" is not ready.", " has no available versions"])
def test_a_model_that_is_loaded_again_there_is_asked_later(
    far: FarServer, generations: Any, why: str
) -> None:
    far.answers = (answer_with(error=f"Request for unknown model: 'tensorrt_llm'{why}"),)
    sender = Sender()
    generations.start(IDS, sender)
    wait_until(lambda: far.asked)
    generations.start(request(stop=np.array([True])), Sender())
    ((error, _),) = sender.wait()
    assert error.message.startswith("Overloaded: tensorrt_llm is being started again; retry")


def test_a_generation_that_nobody_wants_is_stopped_and_not_torn_off(
    far: FarServer, generations: Any
) -> None:
    sender = Sender()
    sender.gone = True
    generations.start(IDS, sender)
    assert [flags for _, flags in sender.wait()] == [0, 1], "nothing after the first"
    assert far.generation_ends.get(timeout=HANG_S), "its call was read to the end"
    assert any(given.name == "stop" for given in far.asked[-1].inputs)


@pytest.mark.parametrize(("answers", "flags"), [(0, [1]), (2, [0, 0, 0, 1])])
def test_the_deadline_of_a_generation(
    far: FarServer, generations: Any, address: str, ends: list, answers: int, flags: list
) -> None:
    """A reader that has had a response would wait for ever for an error that is the last one."""
    far.answers, far.breaks = far.answers[:answers], grpc.StatusCode.DEADLINE_EXCEEDED
    sender = Sender()
    generations.start(IDS, sender)
    assert [flag for _, flag in sender.wait()] == flags
    error = next(reply for reply, _ in reversed(sender.sent) if reply)
    assert words_of(error).startswith(f"StageFailed: tensorrt_llm: {address}: DEADLINE_EXCEEDED")
    assert not ends


@pytest.mark.parametrize("answers", [0, 2])
def test_a_request_that_is_refused_ends_alone(
    far: FarServer, generations: Any, ends: list, answers: int
) -> None:
    """As a proxy may refuse one that is too large."""
    far.answers, far.breaks = far.answers[:answers], grpc.StatusCode.RESOURCE_EXHAUSTED
    sender = Sender()
    generations.start(IDS, sender)
    error = next(reply for reply, _ in reversed(sender.wait()) if reply)
    assert "RESOURCE_EXHAUSTED: as it was told to" in words_of(error) and not ends


@pytest.fixture
def collector() -> Iterator[ModuleType]:
    yield gc
    gc.enable()


def test_what_cannot_be_read_is_an_error_before_the_last_response(
    far: FarServer, generations: Any, ends: list, collector: ModuleType
) -> None:
    """Its reader would wait for ever for one that is both."""
    damaged = answer_with(TOKENS)
    damaged.infer_response.raw_output_contents[0] = b"no int32"[:5]
    far.answers, sender = (answer_with(NOTHING_YET), damaged), Sender()
    collector.disable()  # which would end the call too, some time
    generations.start(IDS, sender)
    assert [flag for _, flag in sender.wait()] == [0, 0, 1]
    assert words_of(sender.sent[1][0]).startswith("StageFailed: tensorrt_llm: ValueError: ")
    assert not far.generation_ends.get(timeout=HANG_S), "nobody reads on"
    assert not ends


def test_a_stop_that_is_not_heard_is_said_again(
    far: FarServer, generations: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, silences = generations._server.stop, [Silence()]

    def say(name: str) -> str:
        if silences:
            raise silences.pop()
        return str(stop(name))

    monkeypatch.setattr(generations._server, "stop", say)
    sender = Sender()
    sender.gone = True
    generations.start(IDS, sender)
    sender.wait()
    assert far.generation_ends.get(timeout=HANG_S), "its call was read to the end"


def test_answers_that_end_before_the_last_one_are_a_loss(
    far: FarServer, generations: Any, ends: list[int]
) -> None:
    far.whole, sender = False, Sender()
    generations.start(IDS, sender)
    wait_until(lambda: len(sender.sent) == 2)
    generations.start(request(stop=np.array([True])), Sender())
    wait_until(lambda: ends)
    assert not any(flags for _, flags in sender.sent)


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
def test_with_the_connection_this_process_ends(
    far: FarServer, generations: Any, ends: list[int], status: grpc.StatusCode
) -> None:
    far.breaks, sender = status, Sender()
    generations.start(IDS, sender)
    wait_until(lambda: ends)
    assert ends == [1] and not any(flags for _, flags in sender.sent)


def test_it_ends_when_no_message_is_under_way(
    far: FarServer, generations: Any, modules: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever dies in the middle of one leaves a lock of the server's memory closed."""
    speaking: list[bool] = []
    monkeypatch.setattr(
        modules.remote_generations.os,
        "_exit",
        lambda _: speaking.append(generations._speaking.locked()),
    )
    generations._lost("it is away")
    assert speaking == [True]


def test_what_is_closed_is_not_lost(far: FarServer, generations: Any, ends: list[int]) -> None:
    sender = Sender()
    generations.start(IDS, sender)
    wait_until(lambda: len(sender.sent) == 2)
    generations.close()
    sender.wait()
    assert not ends


@pytest.fixture
def args(address: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Of `initialize`, with what the launcher was told to change."""

    def changed(**changes: str) -> dict[str, str]:
        monkeypatch.setenv("TRITONE_SETTINGS", json.dumps({"tensorrt_llm": changes}))
        written = {"precision": {"string_value": "int8"}}
        config = json.dumps({"parameters": written})
        return {"model_name": "tensorrt_llm", "model_config": config}

    return changed


def test_without_an_address_the_model_runs_here_and_needs_no_grpc() -> None:
    code = f"""
import json, runpy, sys
from types import ModuleType
sys.modules["{NAME}"] = ModuleType("{NAME}")
model = runpy.run_path("{PROJECT}/model_repo/tensorrt_llm/1/model.py")
assert model["_elsewhere"]({{"model_config": json.dumps({{}})}}) is None
assert "tritone.llm.runtimes" in sys.modules and "grpc" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_with_one_it_is_there_that_is_waited_for(
    modules: SimpleNamespace, args: Any, address: str, far: FarServer
) -> None:
    far.looks = [False, True]
    modules.remote_generations.opened(args(url=address)).close()
    assert far.looked >= 2
