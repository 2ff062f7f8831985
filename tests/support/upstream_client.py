"""What a client written for the upstream runtime does, independent of the package `client`.

It sends exactly the four inputs of that runtime, padded reference and all, and asks for `waveform`
alone: over the gRPC stream of tritonclient, whose empty final response it waits for, in one call of
gRPC, or as JSON over HTTP.
"""

import asyncio
import json
import queue
import urllib.request
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.grpc.aio as grpcclient_aio


def padded(wav: np.ndarray, seconds: float = 10.0, rate: int = 16000) -> np.ndarray:
    """(1, N) zero-padded to a multiple of `seconds`."""
    size = int(np.ceil(wav.size / (seconds * rate)) * seconds * rate)
    samples = np.zeros((1, size), dtype=np.float32)
    samples[0, : wav.size] = wav
    return samples


def infer_inputs(
    wav: np.ndarray, reference_text: str, target_text: str, padding: float = 10.0
) -> list[Any]:
    arrays = [
        ("reference_wav", padded(wav, padding), "FP32"),
        ("reference_wav_len", np.array([[wav.size]], dtype=np.int32), "INT32"),
        ("reference_text", np.array([[reference_text]], dtype=object), "BYTES"),
        ("target_text", np.array([[target_text]], dtype=object), "BYTES"),
    ]
    inputs = []
    for name, array, datatype in arrays:
        tensor = grpcclient.InferInput(name, array.shape, datatype)
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    return inputs


def speak(
    url: str,
    wav: np.ndarray,
    reference_text: str,
    target_text: str,
    *,
    timeout: float = 200.0,
    model: str = "cosyvoice2",
) -> list[np.ndarray]:
    """The waveform of every response until the final one; the server's error is raised."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    callback: Callable[..., None] = lambda result, error: answers.put((result, error))  # noqa: E731
    chunks = []
    with grpcclient.InferenceServerClient(url) as client:
        client.start_stream(callback=callback)
        client.async_stream_infer(
            model_name=model,
            inputs=infer_inputs(wav, reference_text, target_text),
            outputs=[grpcclient.InferRequestedOutput("waveform")],
            request_id="1",
            enable_empty_final_response=True,
        )
        while True:
            result, error = answers.get(timeout=timeout)
            if error is not None:
                raise error
            final = result.get_response().parameters["triton_final_response"].bool_param
            if final:
                return chunks
            chunks.append(result.as_numpy("waveform").reshape(-1))


def speak_offline(
    url: str, wav: np.ndarray, reference_text: str, target_text: str, *, model: str
) -> np.ndarray:
    """`client_grpc.py --mode offline`: the waveform of one ModelInfer."""

    async def infer() -> np.ndarray:
        async with grpcclient_aio.InferenceServerClient(url) as client:
            response = await client.infer(
                model,
                infer_inputs(wav, reference_text, target_text, padding=1.0),
                request_id="100000000",
                outputs=[grpcclient_aio.InferRequestedOutput("waveform")],
            )
            return response.as_numpy("waveform").reshape(-1)

    return asyncio.run(infer())


def speak_http(
    url: str, wav: np.ndarray, reference_text: str, target_text: str, *, model: str
) -> np.ndarray:
    """`client_http.py`: the first output of the answer; no output is asked for by name."""
    samples = wav.reshape(1, -1)

    def tensor(name: str, shape: Any, datatype: str, data: Any) -> dict[str, Any]:
        return {"name": name, "shape": shape, "datatype": datatype, "data": data}

    inputs = [
        tensor("reference_wav", samples.shape, "FP32", samples.tolist()),
        tensor("reference_wav_len", (1, 1), "INT32", [[wav.size]]),
        tensor("reference_text", [1, 1], "BYTES", [reference_text]),
        tensor("target_text", [1, 1], "BYTES", [target_text]),
    ]
    request = urllib.request.Request(
        f"{url}/v2/models/{model}/infer?request_id=0",
        json.dumps({"inputs": inputs}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return np.array(json.loads(answer.read())["outputs"][0]["data"], np.float32)
