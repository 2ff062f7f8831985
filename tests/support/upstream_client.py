"""What a client written for the upstream runtime does, independent of the package `client`.

It sends exactly the four inputs of that runtime, padded reference and all, asks for `waveform`
alone over tritonclient's gRPC stream, and waits for the empty final response.
"""

import queue
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.grpc as grpcclient


def padded(wav: np.ndarray, seconds: float = 10.0, rate: int = 16000) -> np.ndarray:
    """(1, N) zero-padded to a multiple of `seconds`."""
    size = int(np.ceil(wav.size / (seconds * rate)) * seconds * rate)
    samples = np.zeros((1, size), dtype=np.float32)
    samples[0, : wav.size] = wav
    return samples


def infer_inputs(wav: np.ndarray, reference_text: str, target_text: str) -> list[Any]:
    arrays = [
        ("reference_wav", padded(wav), "FP32"),
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
