"""What the tests of the real server share."""

import time

import numpy as np
import tritonclient.grpc as triton
from metrics_scrape import Scrape, text_of
from tritonclient.utils import np_to_triton_dtype

from tritone.launcher import TritonServer
from tritone.synthesis.deadlines import STAGES

RATE = 24000
SHORT = "Hello there."
SENTENCE = "The birch canoe slid on the smooth planks."
LONG = " ".join([SENTENCE, "Glue the sheet to the dark blue background."] * 4)
GAUGES = ("tritone_streams", "tritone_llm_generations", "tritone_flow_sequences")


def reference(seconds: float = 1.5, rate: int = 16000) -> np.ndarray:
    """A buzz with the harmonics of a voice."""
    t = np.arange(int(seconds * rate)) / rate
    return sum(np.sin(2 * np.pi * 120 * h * t) / h for h in range(1, 8)).astype(np.float32) * 0.2


def gauges(server: TritonServer) -> dict[str, float]:
    """What is held now; all are zero when nothing is spoken."""
    scrape = Scrape(text_of(server.urls.metrics))
    waiting = {stage: scrape.of("tritone_stage_waiting", stage=stage) for stage in STAGES}
    return {**{name: scrape[name] for name in GAUGES}, **waiting}


def tensors(arrays: dict[str, np.ndarray]) -> list[triton.InferInput]:
    inputs = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    return inputs


def is_speech(samples: np.ndarray) -> bool:
    return bool(np.isfinite(samples).all() and 0.01 < samples.std() < 0.5)


def wait_until_free(server: TritonServer, within: float) -> dict[str, float]:
    deadline = time.monotonic() + within
    while any(gauges(server).values()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return gauges(server)
