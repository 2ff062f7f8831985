"""What the tests of the real server share."""

from contextlib import suppress

import numpy as np
import tritonclient.grpc as triton
from metrics_scrape import Scrape, text_of
from tritonclient.utils import np_to_triton_dtype
from waiting import HANG_S, wait_until

from tritone.launcher import TritonServer
from tritone.synthesis.deadlines import STAGES
from tritone_client import SpeechClient, SpeechError, Utterance

RATE = 24000
SHORT = "Hello there."
SENTENCE = "The birch canoe slid on the smooth planks."
LONG = " ".join([SENTENCE, "Glue the sheet to the dark blue background."] * 4)
LONGEST = " ".join([LONG] * 5)
"""About 90 s of speech: nothing that a test does meanwhile takes as long as speaking it."""
"""Where a request to an inner model brings the server's key."""
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


def wait_until_free(server: TritonServer) -> dict[str, float]:
    """The gauges once nothing is held any more."""

    def free() -> dict[str, float] | None:
        held = gauges(server)
        return None if any(held.values()) else held

    return wait_until(free, lambda: gauges(server))


def ended(server: TritonServer, outcome: str) -> float:
    """Requests that ended so, once nothing is spoken. A request's place is free a little before it
    is counted: once one that is refused has been counted, so have those before it."""
    wait_until_free(server)
    refused = _counted(server, "refused")
    with SpeechClient(server.urls.grpc) as client, suppress(SpeechError):
        client.speak(Utterance(""), timeout=HANG_S)
    wait_until(lambda: _counted(server, "refused") > refused)
    return _counted(server, outcome)


def _counted(server: TritonServer, outcome: str) -> float:
    return Scrape(text_of(server.urls.metrics)).of("tritone_requests_total", outcome=outcome)


def cancelled(server: TritonServer) -> float:
    """Requests that were cancelled so far."""
    return ended(server, "cancelled")
