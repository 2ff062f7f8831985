"""Shared by all tests: the real server, started once, on the embedded voice.

The embedded voice has no speech tokenizer and no speaker encoder. So that cloning can be driven
through the server, its model directory is completed here with random stand-ins of the released
interfaces; what a cloned voice sounds like is therefore not tested.
"""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from client import SpeechClient
from tritone.server import ServerSettings, TritonServer
from tritone.server.ports import free_ports
from tritone.types import Voice
from tritone.voices import load_voice, save_voice

PROJECT = Path(__file__).resolve().parents[1]
EMBEDDED = PROJECT / "checkpoints" / "embedded"
STAND_INS = Path(__file__).parent / "golden" / "tiny_onnx"

# A shell's background job ignores this signal, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cloning_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded voice, able to clone, with a second registered voice that has a prompt."""
    model = tmp_path_factory.mktemp("model") / "embedded"
    shutil.copytree(EMBEDDED, model, ignore=shutil.ignore_patterns("onnx"))
    shutil.copy(STAND_INS / "speech_tokenizer_v2.onnx", model / "speech_tokenizer.onnx")
    shutil.copy(STAND_INS / "campplus.onnx", model / "speaker_encoder.onnx")
    default = load_voice(model / "voices" / "default.safetensors")
    random = np.random.default_rng(7)
    prompted = Voice(
        prompt_tokens=random.integers(0, 6561, 60).astype(np.int32),
        prompt_mel=random.normal(-6, 2, (120, 80)).astype(np.float32),
        embedding=default.embedding,
    )
    save_voice(model / "voices" / "prompted.safetensors", prompted)
    return model


@pytest.fixture(scope="session")
def server(cloning_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    http, grpc, metrics = free_ports()
    settings = ServerSettings(
        PROJECT / "model_repo",
        PROJECT / ".triton",
        model_dir=cloning_model,
        http_port=http,
        grpc_port=grpc,
        metrics_port=metrics,
        cache_dir=tmp_path_factory.mktemp("server"),
    )
    with TritonServer(settings) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="session")
def client(server: TritonServer) -> Iterator[SpeechClient]:
    with SpeechClient(server.urls.grpc) as speaking:
        yield speaking
