"""A request with the same seed, alone and in company, in float32: the same to the last bit."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from paths import EMBEDDED
from serving import SENTENCE, SHORT
from toy_server import free_ports

from tritone.launcher import ServerSettings, TritonServer
from tritone_client import SpeechClient, Utterance

pytestmark = pytest.mark.server
TEXTS = (SHORT, SENTENCE, "Four five six.", f"{SENTENCE} It is easy to tell the depth of a well.")
EXACT = {
    "cosyvoice2": {"max_first_audio_seconds": "0", "playback_reserve": "0"},
    "token2wav": {"dtype": "fp32"},
    "vocoder": {"dtype": "fp32"},
}


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpeechClient]:
    settings = ServerSettings(
        model_dir=EMBEDDED,
        cache_dir=tmp_path_factory.mktemp("exact"),
        parameters=EXACT,
        **free_ports(),
    )
    with TritonServer(settings) as server:
        server.wait_ready()
        with SpeechClient(server.urls.grpc) as client:
            yield client


@pytest.mark.parametrize("speed", [1.0, 1.3])
def test_company_changes_no_sample(exact: SpeechClient, speed: float) -> None:
    """Hops follow the load, and rows of a batch the company."""
    every = [
        Utterance(text, voice=voice, seed=seed, speed=speed)
        for text in TEXTS
        for voice, seed in (("heart", 1), ("joe", 2))
    ]
    alone = [exact.speak(utterance) for utterance in every]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(exact.speak, every))
    assert all(map(np.array_equal, alone, together))
