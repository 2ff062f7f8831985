"""Whole utterances for clients that cannot stream, of the real server."""

import json
import struct
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
import upstream_client
from google.protobuf import text_format
from paths import PROJECT, SUPPORT
from serving import (
    LONGEST,
    RATE,
    SENTENCE,
    SHORT,
    cancelled,
    ended,
    gauges,
    is_speech,
    reference,
    tensors,
    wait_until_free,
)
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException
from waiting import wait_until

from tritone.launcher import TritonServer
from tritone_client import SpeechClient, Utterance

MODEL = "cosyvoice2_unary"


def text(said: str) -> np.ndarray:
    return np.array([[said.encode()]], object)


@pytest.fixture
def caller(server: TritonServer) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.urls.grpc) as speaking:
        yield speaking


def infer(server: TritonServer, body: bytes, **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and body of what HTTP's `infer` answers."""
    url = f"{server.urls.http}/v2/models/{MODEL}/infer"
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, body, headers))
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers, answer.read()


@pytest.mark.server
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_upstream_s_client_without_streaming(
    server: TritonServer, client: SpeechClient, protocol: str
) -> None:
    """The same voice says the same as in one packet of the stream."""
    wav, transcript = reference(), "A buzz."
    before = ended(server, "ok")
    if protocol == "grpc":
        speak, url = upstream_client.speak_offline, server.urls.grpc
    else:
        speak, url = upstream_client.speak_http, server.urls.http
    samples = speak(url, wav, transcript, SENTENCE, model=MODEL)
    assert is_speech(samples) and len(samples) > RATE
    wait_until(lambda: ended(server, "ok") > before)
    assert ended(server, "ok") == before + 1, "counted once"


@pytest.mark.server
def test_it_is_what_the_public_model_says(
    client: SpeechClient, caller: triton.InferenceServerClient
) -> None:
    for streaming in (None, True):
        more = {} if streaming is None else {"streaming": np.array([[streaming]])}
        inputs = tensors({"target_text": text(SHORT), "seed": np.array([[3]], np.uint64), **more})
        answer = caller.infer(MODEL, inputs, request_id="whole")
        wanted = Utterance(SHORT, seed=3, streaming=bool(streaming))
        assert np.array_equal(answer.as_numpy("waveform")[0], client.speak(wanted))
        record = json.loads(answer.as_numpy("timing").item())
        assert (record["id"], record["outcome"]) == ("whole", "ok")
        assert record["audio_s"] == len(answer.as_numpy("waveform")[0]) / RATE


@pytest.mark.server
def test_http_with_binary_tensors(server: TritonServer) -> None:
    """As tritonclient.http sends and reads them."""
    said = struct.pack("<I", len(SHORT)) + SHORT.encode()
    size = {"binary_data_size": len(said)}
    spoken = {"name": "target_text", "shape": [1, 1], "datatype": "BYTES", "parameters": size}
    wanted = {"name": "waveform", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [spoken], "outputs": [wanted]}).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    status, headers, body = infer(server, head + said, **length)
    assert status == 200
    split = int(headers["Inference-Header-Content-Length"])
    (output,) = json.loads(body[:split])["outputs"]
    samples = np.frombuffer(body[split:], "<f4")
    assert output["shape"] == [1, len(samples)] and is_speech(samples)


@pytest.mark.server
@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("", "INVALID_ARGUMENT: target_text: is empty; give at least one word to speak"),
        ("😀", "INVALID_ARGUMENT: NOTHING_TO_SAY: target_text: has nothing that this voice can"),
    ],
)
def test_errors_have_their_codes(
    server: TritonServer, caller: triton.InferenceServerClient, said: str, message: str
) -> None:
    with pytest.raises(InferenceServerException) as raised:
        caller.infer(MODEL, tensors({"target_text": text(said)}))
    assert raised.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert raised.value.message().startswith(message)
    given = {"name": "target_text", "shape": [1, 1], "datatype": "BYTES", "data": [said]}
    status, _, body = infer(server, json.dumps({"inputs": [given]}).encode())
    assert status == 400 and json.loads(body)["error"].startswith(message)


@pytest.mark.server
def test_callers_do_not_wait_for_each_other_and_one_that_goes_is_noticed(
    server: TritonServer, caller: triton.InferenceServerClient
) -> None:
    before, over = cancelled(server), []
    inputs = tensors({"target_text": text(LONGEST)})
    call = caller.async_infer(MODEL, inputs, callback=lambda *ended: over.append(ended))
    wait_until(lambda: gauges(server)["tritone_streams"] == 1)
    with ThreadPoolExecutor(3) as pool:
        short = [
            pool.submit(caller.infer, MODEL, tensors({"target_text": text(SHORT)}))
            for _ in range(3)
        ]
        assert all(is_speech(answer.result().as_numpy("waveform")) for answer in short)
    assert not over
    call.cancel()
    wait_until_free(server)
    wait_until(lambda: cancelled(server) == before + 1)


@pytest.mark.server
def test_a_client_cannot_say_what_models_say_to_each_other(
    server: TritonServer, caller: triton.InferenceServerClient
) -> None:
    """It would never get an answer, as one that waits for `ENDED` reads nothing before."""
    said = {f"tritone_{word}": "1" for word in ("call", "ended", "stop", "caller", "model")}
    answer = caller.infer(MODEL, tensors({"target_text": text(SHORT)}), parameters=said)
    assert is_speech(answer.as_numpy("waveform"))


def config(folder: Path) -> Any:
    written = (folder / "config.pbtxt").read_text()
    return text_format.Parse(written, model_config_pb2.ModelConfig())


TOY = SUPPORT / "toy_family" / "toy"


@pytest.mark.parametrize(
    ("public", "unary"),
    [
        *((PROJECT / "model_repo" / n, PROJECT / "model_repo" / f"{n}_unary")
          for n in ("cosyvoice2", "cosyvoice3", "indextts2")),
        (TOY / "endpoint", TOY / "unary"),
    ],
    ids=lambda folder: folder.name,
)  # fmt: skip
def test_both_declare_the_same_tensors(public: Path, unary: Path) -> None:
    one, other = config(public), config(unary)
    speech = [output for output in one.output if output.name != "voices"]  # asked for alone
    assert list(one.input) == list(other.input) and speech == list(other.output)
    assert one.max_batch_size == other.max_batch_size
    assert not other.model_transaction_policy.decoupled
    assert other.parameters["public_model"].string_value == one.name
    assert "sample_rate" not in other.parameters, "a client would take it for the public model"
