"""Words through CosyVoice3: the small checkpoint that comes along, spoken by the real server."""

from collections.abc import Iterator

import numpy as np
import pytest
from paths import COSYVOICE3
from toy_server import free_ports

from evaluation.recognizer import Recognizer
from evaluation.words import pool
from tritone.launcher import ServerSettings, TritonServer
from tritone_client import SpeechClient, Utterance

pytestmark = pytest.mark.server

SENTENCES = (
    "The committee will meet again next Tuesday to vote on the new budget.",
    "Please bring two tickets, and wait for me near the fountain.",
    "The birch canoe slid on the smooth planks.",
)
WORST = 0.25  # word error rate
LARGEST = 12_000_000  # bytes of the model directory


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpeechClient]:
    settings = ServerSettings(
        model_dir=COSYVOICE3,
        cache_dir=tmp_path_factory.mktemp("cache"),
        # how slow the machine is must not decide which streams are taken
        parameters={"cosyvoice3": {"max_first_audio_seconds": "0", "playback_reserve": "0"}},
        **free_ports(),
    )
    with TritonServer(settings) as running:
        running.wait_ready()
        with SpeechClient(running.urls.grpc) as speaking:
            yield speaking


def test_words_are_heard(client: SpeechClient) -> None:
    assert client.model == "cosyvoice3"
    recognizer, errors = Recognizer(), []
    for text in SENTENCES:
        packets = [packet.samples for packet in client.packets(Utterance(text, seed=1))]
        assert len(packets) >= 2
        errors.append(recognizer.errors(text, np.concatenate(packets), client.sample_rate))
    assert pool(errors).wer <= WORST, [e.heard for e in errors]


def test_the_checkpoint_is_small() -> None:
    built = ("onnx", "trtllm", "engines")  # not part of it: see .gitignore
    files = [path for path in COSYVOICE3.rglob("*") if path.is_file()]
    kept = [path for path in files if not set(built) & set(path.relative_to(COSYVOICE3).parts)]
    assert sum(path.stat().st_size for path in kept) <= LARGEST
