"""Trained stages to a checkpoint to a model directory: the same numbers come out at the end."""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from released_checkpoint import released_shapes
from trained_work import shared_work, tiny_voice

import tritone
from benchmarks.full_size import FLOW, VOCODER
from training.config import VoiceConfig
from training.dataset import WHISPER_PER_TOKEN, Track
from training.export import YAML_TEMPLATE, export, load_language_model
from training.loop import START
from training.sequences import Example, collate, plain
from training.speech import pronouncer
from training.text_tokens import TextTokens
from training.train_flow import load_flow
from training.train_polish import load_polished
from training.train_speaker_encoder import fbank_of, load_speaker_encoder
from training.upstream_weights import flow_state, vocoder_state
from training.voices import LONGEST_SECONDS, SHORTEST_SECONDS
from tritone.checkpoints.conversion import ConvertOptions
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.families.cosyvoice2.acoustics import load_hift, load_network, start_noise
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.convert import Conversion
from tritone.families.cosyvoice2.flow import Flow, FlowNetwork, FlowPrompt
from tritone.families.cosyvoice2.hift import HiFT
from tritone.families.cosyvoice2.released_files import open_source
from tritone.families.cosyvoice2.vocoder import Vocoder
from tritone.families.cosyvoice2.voice import Voice
from tritone.frontend.audio.encoders import SpeechTokenizer
from tritone.frontend.voices import VoiceStore
from tritone.llm.checkpoint import EmbeddingTable
from tritone.llm.onnx.slots import OnnxSlots

pytestmark = pytest.mark.slow

HALF = 2**-10  # what storing weights in float16 may change, relative


@pytest.fixture(scope="module")
def voice() -> VoiceConfig:
    return tiny_voice()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_work(tmp_path_factory)


@pytest.fixture(scope="module")
def checkpoint(voice: VoiceConfig, work: Path) -> Path:
    return export(work, voice, work / "checkpoint")


@pytest.fixture(scope="module")
def converted(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("converted") / "model"
    Conversion(open_source(checkpoint), target, ConvertOptions(graphs=("fp32",))).run()
    return target


@pytest.fixture(scope="module")
def config(converted: Path) -> CosyVoice2Config:
    return CosyVoice2Config.read(converted)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def test_names_and_shapes_are_the_release_s() -> None:
    with torch.device("meta"):
        states = {
            "flow_keys.tsv": flow_state(FlowNetwork(FLOW)),
            "hift_keys.tsv": vocoder_state(HiFT(VOCODER)),
        }
    for name, state in states.items():
        wanted = {key: value.shape for key, value in released_shapes(name).items()}
        assert {key: value.shape for key, value in state.items()} == wanted


def test_every_size_comes_back_from_the_yaml(voice: VoiceConfig, config: CosyVoice2Config) -> None:
    assert config.flow == voice.flow.model
    assert config.vocoder == voice.vocoder.model
    assert config.vocoder.samples_per_frame == 480
    assert "$" in YAML_TEMPLATE.read_text(encoding="utf-8")


def test_settings_of_the_voice(voice: VoiceConfig, work: Path, config: CosyVoice2Config) -> None:
    assert config.default_voice == "heart" and config.text.pronunciation == "hibari"
    assert config.llm.max_position_embeddings == 2048
    sampling, tokens = config.sampling, TextTokens(work / "tokenizer.json")
    assert sampling.top_k == 1
    track = Track(work, "heart")
    for text, ends, length in zip(track.texts, track.ends, track.lengths, strict=True):
        count = len(tokens.encode(text, ends)[0])
        low, high = sampling.min_tokens_per_text_token, sampling.max_tokens_per_text_token
        assert low * count < length < sampling.tokens_beside + high * count


def test_language_model_gives_the_same_logits(
    voice: VoiceConfig, work: Path, converted: Path, config: CosyVoice2Config
) -> None:
    model, llm = load_language_model(work, voice.language_model), config.llm
    rng = np.random.default_rng(0)
    text, codes = rng.integers(0, llm.speech_offset, 9), rng.integers(0, 6561, 12)
    example = Example(text, np.zeros(12, np.int64), codes, silent=0)
    wanted = model.scores(collate([plain(example)]))
    ids = np.array([llm.sos_id, *text, llm.task_id, *(codes + llm.speech_offset)], np.int32)
    embeds = EmbeddingTable(Checkpoint(converted / "llm" / "model.safetensors"))(ids)
    session = OnnxSlots(converted / "llm", llm, precision="fp32", slots=1, slot_length=64)
    starts = range(len(text) + 2, len(ids) + 1)
    found = [torch.from_numpy(session.prefill(0, embeds[:count])) for count in starts]
    assert len(found) == len(wanted) == 13
    assert relative(torch.stack(found), wanted) < 2 * HALF


def test_flow_and_vocoder_give_the_same_sound(
    voice: VoiceConfig, work: Path, converted: Path, config: CosyVoice2Config
) -> None:
    generator = torch.Generator().manual_seed(0)
    mel = torch.randn(30, 80, generator=generator)
    prompt = FlowPrompt(
        tokens=torch.randint(0, 6561, (15,), generator=generator),
        mel=mel,
        embedding=torch.randn(192, generator=generator),
        noise=start_noise(config.flow),
    )
    tokens = torch.randint(0, 6561, (40,), generator=generator)
    networks = load_flow(work, voice), load_network(converted, config)
    flows = map(Flow.of, networks)
    trained, served = (flow(tokens, prompt, chunked=True, finalize=True) for flow in flows)
    assert trained.shape == (80, 80) and relative(served, trained) < 4 * HALF
    noise = torch.randn(1, 80 * 480, 9, generator=generator)
    vocoder = load_polished(work, voice)
    vocoders = vocoder, Vocoder(load_hift(converted, config), config.sample_rate)
    trained, served = (vocoder(trained, noise) for vocoder in vocoders)
    assert trained.shape == (80 * 480,) and relative(served, trained) < 4 * HALF


def test_weights_survive_the_round_trip(
    voice: VoiceConfig, work: Path, converted: Path, config: CosyVoice2Config
) -> None:
    """Weight norm is folded back to the very bits; nothing is stored wider than half precision."""
    pairs = (
        (load_flow(work, voice), load_network(converted, config)),
        (load_polished(work, voice).network, load_hift(converted, config)),
    )
    for trained, served in pairs:
        state = served.state_dict()
        assert all(torch.equal(state[k], v.half().float()) for k, v in trained.state_dict().items())
    for name in ("flow.safetensors", "vocoder.safetensors"):
        file = Checkpoint(converted / name)
        assert {file.spec(key).dtype for key in file} == {"F16"}


def test_speech_tokenizer_has_the_official_interface(checkpoint: Path) -> None:
    path = checkpoint / "speech_tokenizer_v2.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = [(i.name, i.type, i.shape) for i in session.get_inputs()]
    assert inputs == [
        ("feats", "tensor(float)", [1, 128, "time"]),
        ("feats_length", "tensor(int32)", [1]),
    ]
    (output,) = session.get_outputs()
    assert (output.name, output.type) == ("indices", "tensor(int32)")


@pytest.mark.parametrize("frames", [50, 51, 52, 53, 1201, 3000])
def test_speech_tokenizer_takes_any_length(
    frames: int, voice: VoiceConfig, work: Path, checkpoint: Path
) -> None:
    path = checkpoint / "speech_tokenizer_v2.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feats = np.random.default_rng(0).normal(0, 1, (1, 128, frames)).astype(np.float32)
    length = np.array([frames], np.int32)
    (codes,) = session.run(None, {"feats": feats, "feats_length": length})
    assert codes.shape == (1, math.ceil(math.ceil(frames / 2) / 2))
    assert codes.min() >= 0 and codes.max() < 6561
    padded = np.concatenate([feats, feats], axis=2)
    (same,) = session.run(None, {"feats": padded, "feats_length": length})
    assert np.array_equal(codes, same)


def test_speech_tokenizer_gives_the_codes_of_training(
    voice: VoiceConfig, work: Path, converted: Path
) -> None:
    path = converted / "speech_tokenizer.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    track = Track(work, "heart")
    agreed = 0
    for begin, end in zip(track.starts[:-1], track.starts[1:], strict=True):
        crop = track.whisper[begin * WHISPER_PER_TOKEN : end * WHISPER_PER_TOKEN]
        feats = np.ascontiguousarray(crop.astype(np.float32).T[None])
        length = np.array([feats.shape[2]], np.int32)
        (codes,) = session.run(None, {"feats": feats, "feats_length": length})
        agreed += int((codes[0] == track.codes[begin:end]).sum())
    assert len(np.unique(track.codes)) >= 10  # the random encoder does tell sounds apart
    assert agreed > 0.95 * track.tokens


def test_speech_tokenizer_reads_audio(converted: Path) -> None:
    wav = np.random.default_rng(1).normal(0, 0.1, 16000).astype(np.float32)
    assert SpeechTokenizer(converted / "speech_tokenizer.onnx", 6561)(wav).shape == (25,)


def test_speaker_encoder_gives_the_same_vectors(
    voice: VoiceConfig, work: Path, checkpoint: Path
) -> None:
    path = checkpoint / "campplus.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs, outputs = session.get_inputs(), session.get_outputs()
    assert [(i.name, i.type, i.shape[2:]) for i in inputs] == [("input", "tensor(float)", [80])]
    assert [(o.name, o.shape[1:]) for o in outputs] == [("output", [192])]
    encoder = load_speaker_encoder(work, voice.speaker_encoder)
    for index in range(3):
        fbank = fbank_of(Track(work, "joe"), index, 1.0)[None]
        (found,) = session.run(None, {"input": fbank})
        wanted = encoder(torch.from_numpy(fbank))
        assert torch.cosine_similarity(torch.from_numpy(found), wanted) > 0.999


def test_voices(voice: VoiceConfig, work: Path, converted: Path) -> None:
    store = VoiceStore(converted)
    assert store.names() == ["heart", "joe"]
    heart, joe = (store.load(name, Voice) for name in store.names())
    assert heart.transcript == "" and len(heart.prompt_tokens) == 0
    track = Track(work, "joe")
    index = track.texts.index(pronouncer()(joe.transcript).text)
    begin, end = track.starts[index], track.starts[index + 1]
    assert SHORTEST_SECONDS * 25 <= end - begin <= LONGEST_SECONDS * 25
    assert np.array_equal(joe.prompt_tokens, track.codes[begin:end])
    assert np.array_equal(joe.prompt_mel, track.mel[2 * begin : 2 * end].astype(np.float32))
    assert np.abs(heart.embedding - joe.embedding).max() > 1e-3


def test_the_model_directory_speaks(converted: Path) -> None:
    hum = 0.1 * np.sin(np.arange(24000) * 0.05).astype(np.float32)
    cloned = {"reference_wav": hum, "reference_rate": 24000, "reference_text": "the cat sat."}
    options: list[dict[str, Any]] = [{}, {"voice": "joe"}, cloned]
    with tritone.load(converted, language_model={"precision": "fp32"}) as tts:
        for option in options:
            wave = tts.synthesize("the cat sat on the mat.", **option)
            assert len(wave) > 2400 and np.isfinite(wave).all()


def test_a_stage_that_is_missing_is_named(voice: VoiceConfig, work: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.mkdir()
    (part / "tokenizer.json").write_bytes((work / "tokenizer.json").read_bytes())
    with pytest.raises(SystemExit, match=r"lm.state\.pt does not exist: run the stage"):
        export(part, voice, tmp_path / "target")


def test_a_share_of_what_was_known_before_is_kept(
    work: Path, voice: VoiceConfig, tmp_path: Path
) -> None:
    shutil.copytree(work / "lm", tmp_path / "lm")
    shutil.copyfile(work / "tokenizer.json", tmp_path / "tokenizer.json")
    trained = load_language_model(tmp_path, voice.language_model)
    begun = {name: torch.ones_like(value) for name, value in trained.state_dict().items()}
    torch.save(begun, tmp_path / "lm" / START)
    mixed = load_language_model(tmp_path, voice.language_model.model_copy(update={"kept": 0.25}))
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(mixed.state_dict()[name], 0.75 * value + 0.25)
