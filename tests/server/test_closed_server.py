"""What a server of ours keeps from its clients: other machines, administrative protocols, inner
models, its keys; and its log from what clients say."""

import json
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from serving import SHORT, reference, tensors
from toy_server import toy_settings
from tritonclient.utils import InferenceServerException
from waiting import HANG_S, wait_until

from tritone.launcher import TritonServer
from tritone.launcher.admin_key import HEADER
from tritone.triton_models import INNER
from tritone_client import SpeechClient, SpeechError, Utterance

pytestmark = pytest.mark.server

GRPC_HEADER = f"triton-grpc-protocol-{HEADER}"
KEY = "of-the-operator-0123456789"
REGION = {"key": "/tritone_test", "offset": 0, "byte_size": 4}
CLOSED = {
    "/v2/repository/index": {},
    "/v2/repository/models/vocoder/unload": {},
    "/v2/systemsharedmemory/status": None,
    "/v2/systemsharedmemory/region/r/register": REGION,
    "/v2/systemsharedmemory/unregister": {},
    "/v2/cudasharedmemory/status": None,
    "/v2/cudasharedmemory/region/r/register": REGION,
    "/v2/trace/setting": {"trace_level": ["TENSORS"]},
    "/v2/models/vocoder/trace/setting": {"trace_level": ["TENSORS"]},
    "/v2/logging": {"log_verbose_level": 2},
}
OPEN = (
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/cosyvoice2",
    "/v2/models/cosyvoice2/config",
    "/v2/models/stats",
)


def status(url: str, body: dict | None = None, **headers: str) -> int:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url, data, headers), timeout=HANG_S) as answer:
            return answer.status
    except HTTPError as error:
        with error:
            return error.code


def test_it_listens_on_loopback_alone(server: TritonServer) -> None:
    found = [
        (connection.laddr.port, connection.laddr.ip)
        for connection in psutil.Process(server.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {port for port, _ in found} == set(server.settings.ports.values())
    assert {ip.removeprefix("::ffff:") for _, ip in found} == {"127.0.0.1"}


@pytest.mark.parametrize("path", CLOSED)
def test_closed_over_http(server: TritonServer, path: str) -> None:
    url, body = f"{server.urls.http}{path}", CLOSED[path]
    assert status(url, body) == 403
    assert status(url, body, **{HEADER: "a-wrong-key-0123456789"}) == 403


def test_open_over_http(server: TritonServer) -> None:
    assert {path: status(f"{server.urls.http}{path}") for path in OPEN} == dict.fromkeys(OPEN, 200)


def closed_calls(raw: triton.InferenceServerClient, headers: dict[str, str]) -> list[str]:
    """What gRPC's closed protocols answer: "" where they do as they are told."""
    calls = {
        "index": raw.get_model_repository_index,
        "system": raw.get_system_shared_memory_status,
        "cuda": raw.get_cuda_shared_memory_status,
        "trace": raw.get_trace_settings,
        "log": raw.get_log_settings,
    }
    answers = []
    for call in calls.values():
        try:
            call(headers=headers)
            answers.append("")
        except InferenceServerException as error:
            answers.append(error.message())
    return answers


def test_closed_over_grpc(server: TritonServer) -> None:
    with triton.InferenceServerClient(server.urls.grpc) as raw:
        answers = closed_calls(raw, {GRPC_HEADER: "a-wrong-key-0123456789"})
        with pytest.raises(InferenceServerException, match="restricted"):
            raw.register_system_shared_memory("r", "/tritone_test", 4)
        assert raw.get_inference_statistics().model_stats
        assert raw.get_model_config("cosyvoice2").config.name == "cosyvoice2"
    assert all("This protocol is restricted" in answer for answer in answers)


def test_the_operator_can_open_them_and_the_inner_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITONE_INNER_KEY", "left over from another server")
    file = tmp_path / "admin.key"
    file.write_text(f"{KEY}\n")
    settings = toy_settings(tmp_path, admin_key_file=file, open_inner_models=True)
    with TritonServer(settings) as toy:
        toy.wait_ready()
        assert psutil.Process(toy.pid).environ()["TRITONE_INNER_KEY"] == ""
        assert status(f"{toy.urls.http}/v2/logging", **{HEADER: KEY}) == 200
        with triton.InferenceServerClient(toy.urls.grpc) as raw:
            assert closed_calls(raw, {GRPC_HEADER: KEY}) == [""] * 5


@pytest.mark.parametrize("model", INNER)
@pytest.mark.parametrize("key", [None, "a wrong one"])
def test_inner_models_refuse_clients(server: TritonServer, model: str, key: str | None) -> None:
    inputs = {
        "frontend": {"target_text": np.array([SHORT.encode()], np.object_)},
        "tensorrt_llm": {"input_ids": np.ones((1, 2), np.int32)},
        "token2wav": {"finalize": np.array([[True]])},
        "vocoder": {"finalize": np.array([True])},
    }[model]
    inputs |= {"input_lengths": np.array([[2]], np.int32)} if model == "tensorrt_llm" else {}
    inputs |= {"request_output_len": np.array([[9]], np.int32)} if model == "tensorrt_llm" else {}
    sequence = {"sequence_id": 7, "sequence_start": True, "sequence_end": True}
    answers: list = []
    with triton.InferenceServerClient(server.urls.grpc) as raw:
        raw.start_stream(lambda result, error: answers.append(error))
        raw.async_stream_infer(
            model,
            tensors(inputs),
            parameters={"tritone_inner_key": key} if key else None,
            **(sequence if model == "token2wav" else {}),
        )
        wait_until(lambda: answers)
    assert "is that of an inner model, which takes no requests of clients" in str(answers[0])


def test_no_key_and_no_text_is_in_the_log(server: TritonServer, client: SpeechClient) -> None:
    words = ["Quixotic", "zephyrs", "vexed", "jumbled"]
    assert list(client.packets(Utterance(" ".join(words), seed=1), request_id="closed-spoken"))
    refused = [
        Utterance(f"<speak>{words[0]} {words[1]}</spek>"),
        Utterance(f"{words[0]}\0"),
        Utterance(SHORT, voice=" ".join(words)),
        Utterance(SHORT, instruct_text=words[2]),
        Utterance(SHORT, reference_wav=reference(), reference_text=words[3], voice="joe"),
    ]
    for number, utterance in enumerate(refused):
        with pytest.raises(SpeechError) as caught:
            list(client.packets(utterance, request_id=f"closed-{number}"))
        assert caught.value.status == "INVALID_ARGUMENT"

    def log() -> str:
        return server.settings.log_path.read_text(encoding="utf-8")

    # a line is written after the last response
    wait_until(lambda: log().count('"id": "closed-') == 1 + len(refused))
    written = log()
    assert not [word for word in words if word in written]
    keys = [server.inner_key, *server._repository._key.headers.values()]
    assert all(keys) and not [key for key in keys if key in written]
