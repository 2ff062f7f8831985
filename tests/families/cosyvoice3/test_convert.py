"""Released CosyVoice3 files to a model directory: what comes out, and that it is done once."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conversions import changed, convert, times
from cosyvoice3_llm import published
from cosyvoice3_release import FOLDER, cosyvoice3_release
from parity.cosyvoice3_vocoder import recorded_noise
from parity.golden import Golden, prompt_of
from safetensors.torch import load_file

from tritone.checkpoints.conversion import ConvertOptions
from tritone.errors import ModelDirectoryError
from tritone.families import open_model
from tritone.families.cosyvoice2.acoustics import start_noise
from tritone.families.cosyvoice2.flow import Flow
from tritone.families.cosyvoice2.self_check import self_check
from tritone.families.cosyvoice3 import FAMILY
from tritone.families.cosyvoice3.acoustics import load_hift, load_network
from tritone.families.cosyvoice3.source_noise import SourceNoise
from tritone.families.cosyvoice3.vocoder import Noise, Vocoder
from tritone.families.cosyvoice3.voice import Voice
from tritone.frontend.voices import VoiceStore

pytestmark = pytest.mark.slow

OFFSET = 545  # text ids of the tiny tokenizer
WEIGHTS = ("flow.safetensors", "vocoder.safetensors", "llm/model.safetensors")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("released") / "CosyVoice3-tiny"
    return cosyvoice3_release(folder, fits=False)


@pytest.fixture(scope="module")
def converted(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(release, tmp_path_factory.mktemp("converted"), ConvertOptions())


@pytest.fixture
def copies(release: Path, converted: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A source and its finished model directory, free to be changed."""
    source, target = tmp_path / "source", tmp_path / "target"
    return shutil.copytree(release, source), shutil.copytree(converted, target)


def same(ours: Path, theirs: Path) -> bool:
    one, two = load_file(ours), load_file(theirs)
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_the_model_directory_is_whole(converted: Path) -> None:
    config = open_model(converted).config
    assert (config.family, config.sample_rate, config.default_voice) == (
        "cosyvoice3",
        24000,
        "my_spk",
    )
    assert config.text.instruct_end == "<|endofprompt|>"
    assert config.text.system == "You are a helpful assistant."
    assert (config.sampling.top_p, config.sampling.top_k) == (0.8, 25)
    llm, flow, vocoder = config.llm, config.flow, config.vocoder
    assert (llm.speech_offset, llm.speech_codes, len(llm.stop_ids)) == (OFFSET, 6561, 200)
    assert (llm.sos_id, llm.stop_ids[0], llm.task_id) == (
        OFFSET + 6561,
        OFFSET + 6562,
        OFFSET + 6563,
    )
    assert llm.all_stops_wait
    assert (flow.vocab_size, flow.chunk_size, flow.lookahead_channels) == (97, 25, 24)
    assert (flow.estimator.dim_head, flow.solver.n_timesteps) == (12, 10)
    assert (vocoder.conv_pre_look_right, vocoder.samples_per_frame) == (4, 480)
    assert (converted / "llm" / "onnx" / "int8.onnx").is_file()
    assert not list(converted.rglob("*.partial*"))
    voice = VoiceStore(converted).load("my_spk", Voice)
    assert len(voice.prompt_mel) == 2 * len(voice.prompt_tokens) > 0


def test_self_check_says_what_holds(converted: Path) -> None:
    lines = list(self_check(converted, FAMILY, ("int8",)))
    starts = ["config.json", "tokenizer.json", "llm", "llm/onnx/int8.onnx", "flow", "cloning"]
    assert [line.split(":")[0] for line in lines] == [*starts, "voices"]
    assert lines[0] == "config.json: family cosyvoice3, 24000 Hz"
    assert f"{OFFSET} text ids; user text makes no control id" in lines[1]
    assert "6761-row head, bias 0.000 to 0.000" in lines[2]
    assert "generated 40 speech codes" in lines[3]
    # The tiny flow and the tiny language model were not made for each other.
    assert "1.60 s of finite audio (warning: the language model has 6561 codes, the" in lines[4]
    assert "a speaker vector of 192 (warning: the flow takes one of 24)" in lines[5]


def test_converted_weights_give_golden_mel(converted: Path) -> None:
    config, golden = open_model(converted).config, Golden(FOLDER, "flow_full")
    with torch.inference_mode():
        flow = Flow.of(load_network(converted, config))
        mel = flow(golden["token"][0].long(), prompt_of(golden), chunked=False, finalize=True)
    assert (mel - golden["mel"][0]).abs().max() < 5e-5
    noise = start_noise(config.flow)
    assert noise.shape == (15000, 80)
    assert torch.equal(noise[:64], prompt_of(golden).noise[:64])


@pytest.mark.parametrize("case", ["hift_inference", "checkpoint_noise"])
def test_converted_weights_give_golden_waveforms(converted: Path, case: str) -> None:
    """checkpoint_noise: with the noise that upstream draws for a checkpoint of these numbers."""
    config, golden = open_model(converted).config, Golden(FOLDER, case)
    noise: Noise = SourceNoise(config) if case == "checkpoint_noise" else recorded_noise(golden)
    with torch.inference_mode():
        vocoder = Vocoder(load_hift(converted, config), config.sample_rate, noise)
        wave = vocoder(golden["mel"][0])
    assert (wave - golden["wav"][0]).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["legacy names", "generator."])
def test_every_spelling_of_the_vocoder_gives_the_same(
    kind: str, converted: Path, copies: tuple[Path, Path]
) -> None:
    source, target = copies
    state = torch.load(source / "hift.pt", weights_only=True)
    if kind == "generator.":
        state = {f"generator.{key}": value for key, value in state.items()}
    else:
        for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
            new = f"parametrizations.weight.{new}"
            state = {key.replace(new, old): value for key, value in state.items()}
        assert "conv_pre.weight_g" in state
    torch.save(state, source / "hift.pt")
    before = times(target)
    convert(source, target)
    assert changed(before, target) == {"vocoder.safetensors"}
    assert same(target / "vocoder.safetensors", converted / "vocoder.safetensors")


def test_a_published_language_model_takes_the_place_of_llm_pt(
    release: Path, converted: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(release, tmp_path / "source")
    (source / "llm.pt").unlink()
    weights = load_file(converted / "llm" / "model.safetensors")
    config = json.loads((converted / "llm" / "config.json").read_text())
    speech = {"speech_token_offset": OFFSET, "base_speech_token_size": 6561}
    numbers: dict[str, Any] = {**speech, "embedding_size": 6761, "eos_token_id": OFFSET + 6562}
    published(source / "cosyvoice3_llm", weights, config, numbers)
    target = convert(source, tmp_path / "target")
    assert open_model(target).config.llm == open_model(converted).config.llm
    assert same(target / "llm" / "model.safetensors", converted / "llm" / "model.safetensors")


def test_a_finished_conversion_is_not_done_again(copies: tuple[Path, Path]) -> None:
    source, target = copies
    before = times(target)
    convert(source, target, ConvertOptions())
    assert changed(before, target) == set()


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_stored_precision_can_be_chosen(
    copies: tuple[Path, Path], converted: Path, dtype: Any
) -> None:
    source, target = copies
    convert(source, target, ConvertOptions(dtype=dtype, graphs=()))
    wanted = {"fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
    for name in WEIGHTS:
        half, full = load_file(target / name), load_file(converted / name)
        assert {value.dtype for value in half.values()} == {wanted}
        assert all(torch.equal(half[key], full[key].to(wanted)) for key in full)


def test_a_solver_of_our_own_is_taken(copies: tuple[Path, Path]) -> None:
    source, target = copies
    (source / "tritone.json").write_text('{"solver": {"n_timesteps": 4}}')
    convert(source, target)
    assert open_model(target).config.flow.solver.n_timesteps == 4


def test_numbers_of_the_other_generation_are_refused(copies: tuple[Path, Path]) -> None:
    source, target = copies
    (source / "tritone.json").write_text('{"free_phase": true}')
    with pytest.raises(ModelDirectoryError, match=r"tritone\.json has free_phase, which is"):
        convert(source, target)


def test_a_prompt_without_an_end_is_refused(copies: tuple[Path, Path]) -> None:
    source, target = copies
    (source / "tritone.json").write_text('{"text": {"instruct_end": ""}}')
    with pytest.raises(ModelDirectoryError, match=r"(?s)tritone\.json: .*text\.instruct_end"):
        convert(source, target)
