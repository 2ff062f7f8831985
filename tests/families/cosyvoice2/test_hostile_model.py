"""Weights and numbers of a model directory that make no model, and states that no vocoder gave."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from paths import EMBEDDED
from safetensors.torch import load, save, save_file
from token2wav_model import tiny_vocoder
from torch import Tensor, nn
from voice_copy import change_section, voice_copy

from tritone.acoustic.placement import VocoderSettings
from tritone.acoustic.vocoder_stage import MOST_FRAMES, VocoderStage
from tritone.acoustic.weights import load_network
from tritone.errors import InvalidRequest, ModelDirectoryError, StageFailed
from tritone.families import open_model
from tritone.families.cosyvoice2.transcript import Listener
from tritone.frontend.audio.encoders import SpeakerEncoder

SECTION = json.loads((EMBEDDED / "config.json").read_text())["cosyvoice2"]


def network() -> nn.Linear:
    return nn.Linear(2, 1)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.tensor([[0.0, torch.nan]]), "weight has values that are NaN"),
        (torch.zeros(1 << 10, 2), r"has weight \[1024, 2\] where"),
        (None, "lacks weight"),
    ],
    ids=["nan", "shape", "missing"],
)
def test_weights_that_do_not_do_are_named(
    tmp_path: Path, weight: Tensor | None, message: str
) -> None:
    path = tmp_path / "a.safetensors"
    state = {"bias": torch.zeros(1)} | ({} if weight is None else {"weight": weight})
    save_file(state, path)
    with pytest.raises(ModelDirectoryError, match=rf"a\.safetensors.* {message}"):
        load_network(network, path)


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, (2**60).to_bytes(8, "little") + bytes(99)])
def test_weights_of_no_format_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ModelDirectoryError, match=r"a\.safetensors is not a safetensors file"):
        load_network(network, tmp_path / "a.safetensors")


def test_a_network_that_the_file_is_not_of_takes_no_memory(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1, 2), "bias": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelDirectoryError, match="where the configuration wants"):
        load_network(lambda: nn.Linear(1 << 20, 1 << 20), tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("flow", "vocab_size", 10**12, "flow.vocab_size: .* less than or equal to"),
        ("flow", "chunk_size", 0, "flow.chunk_size: .* greater than or equal to 1"),
        ("flow", "input_size", -1, "flow.input_size"),
        ("vocoder", "istft_hop", 0, "vocoder.istft_hop"),
        ("vocoder", "nsf_alpha", float("nan"), "vocoder.nsf_alpha: .* finite"),
        ("sampling", "top_k", 0, "sampling.top_k"),
        ("llm", "num_attention_heads", 0, "llm.num_attention_heads"),
        ("llm", "num_hidden_layers", 10**9, "llm.num_hidden_layers"),
        ("llm", "stop_ids", [], "llm.stop_ids"),
        ("llm", "stop_ids", [1, 2, 3], "llm: .* stop_ids are not the 3 ids from"),
        ("llm", "speech_codes", 100_000, "speech and stop ids end at .* vocab_size is"),
    ],
)
def test_numbers_of_no_model_are_named(
    tmp_path: Path, section: str, key: str, value: object, message: str
) -> None:
    target = voice_copy(tmp_path)
    change_section(target, **{section: {**SECTION[section], key: value}})
    with pytest.raises(ModelDirectoryError, match=message):
        open_model(target.model_dir)


def test_numbers_of_no_network_are_named(tmp_path: Path) -> None:
    target = voice_copy(tmp_path)
    change_section(target, vocoder={**SECTION["vocoder"], "upsample_kernel_sizes": [16]})
    model = open_model(target.model_dir)
    with pytest.raises(ModelDirectoryError, match=r"make no network for .*vocoder\.safetensors"):
        model.family.load_vocoder(model.folder, model.config, VocoderSettings())


def test_a_reader_that_breaks_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelDirectoryError, match=r"listener\.onnx: gives scores of \[\d+\]"):
        Listener(EMBEDDED / "listener.onnx", "ab")
    encoder = SpeakerEncoder(EMBEDDED / "listener.onnx", 192)
    with pytest.raises(StageFailed, match=r"frontend: .*listener\.onnx cannot be run"):
        encoder(np.zeros(16000, np.float32))


@pytest.fixture(scope="module")
def stage() -> VocoderStage:
    return VocoderStage(tiny_vocoder())


@pytest.fixture(scope="module")
def state(stage: VocoderStage) -> bytes:
    """Of a stream that has begun, at another tempo."""
    begun = stage.start(seed=1, speed=1.25)
    return stage.step(np.zeros((stage.bins, 30), np.float32), begun, finalize=False)[1].to_bytes()


def changed(name: str, value: Callable[[Tensor], Tensor]) -> Callable[[bytes], bytes]:
    def of(data: bytes) -> bytes:
        tensors = load(data)
        return save({**tensors, name: value(tensors[name]).contiguous()})

    return of


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: data[:100],
        lambda data: save({"numbers": torch.zeros(2, dtype=torch.int64)}),
        changed("speed", lambda t: t * 0),
        changed("speed", lambda t: t * torch.nan),
        changed("numbers", lambda t: t + torch.tensor([1 << 40, 0])),
        changed("numbers", lambda t: -t - 1),
        changed("numbers", lambda t: t.float()),
        changed("kept", lambda t: t[:1]),
        changed("vocoder.mel", lambda t: t * torch.nan),
        changed("vocoder.mel", lambda t: t[:, :0]),
        changed("vocoder.turns", lambda t: t[:1]),
        changed("vocoder.tail", lambda t: torch.zeros(10_000)),
        changed("vocoder.numbers", lambda t: t + torch.tensor([0, 1 << 40])),
        changed("vocoder.f0", lambda t: torch.zeros(500)),
        changed("vocoder.seed", lambda t: t.float()),
    ],
)
def test_a_state_that_the_vocoder_never_gave_is_refused(
    stage: VocoderStage, state: bytes, change: Callable[[bytes], bytes]
) -> None:
    stage.unpack(state)
    with pytest.raises(InvalidRequest, match="state: is none that this vocoder gave"):
        stage.unpack(change(state))


def test_frames_and_speeds_without_sense_are_refused(stage: VocoderStage) -> None:
    for speed in (0.0, 0.4, 2.1, float("nan"), float("inf")):
        with pytest.raises(InvalidRequest, match=r"speed: is .*; the limits are 0\.5 and 2\.0"):
            stage.start(seed=0, speed=speed)
    begun = stage.start(seed=0, speed=1.0)
    with pytest.raises(InvalidRequest, match="frames: have values that are NaN"):
        stage.step(np.full((stage.bins, 2), np.nan, np.float32), begun, finalize=True)
    endless = np.broadcast_to(np.float32(0), (stage.bins, MOST_FRAMES + 1))
    with pytest.raises(InvalidRequest, match="frames: are 15001; at most 15000"):
        stage.step(endless, begun, finalize=True)
