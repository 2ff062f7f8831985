"""Released checkpoints to model directories: what comes out, and that it is done once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conversions import changed, convert, times
from parity.golden import Golden, prompt_of
from paths import PROJECT
from released_checkpoint import GOLDEN, change_state, released_checkpoint
from safetensors.torch import load_file

from tritone.checkpoints.conversion import ConvertOptions
from tritone.errors import ModelDirectoryError
from tritone.families import open_model
from tritone.families.cosyvoice2 import FAMILY
from tritone.families.cosyvoice2.acoustics import load_hift, load_network, start_noise
from tritone.families.cosyvoice2.flow import Flow
from tritone.families.cosyvoice2.self_check import self_check
from tritone.families.cosyvoice2.voice import Voice
from tritone.frontend.voices import VoiceStore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released_checkpoint(tmp_path_factory.mktemp("released") / "CosyVoice2-tiny")


@pytest.fixture(scope="module")
def converted(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(release, tmp_path_factory.mktemp("converted"), ConvertOptions())


@pytest.fixture
def copies(release: Path, converted: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A source and its finished model directory, free to be changed."""
    source, target = tmp_path / "source", tmp_path / "target"
    return shutil.copytree(release, source), shutil.copytree(converted, target)


def test_the_model_directory_is_whole(converted: Path) -> None:
    config = open_model(converted).config
    assert (config.family, config.sample_rate, config.default_voice) == (
        "cosyvoice2",
        24000,
        "my_spk",
    )
    assert config.text.instruct_end == "<|endofprompt|>"
    assert (config.llm.speech_offset, config.llm.speech_codes) == (284, 6561)
    assert (config.flow.vocab_size, config.flow.chunk_size) == (97, 25)
    assert config.flow.encoder.num_up_blocks == 4 and config.flow.solver.n_timesteps == 10
    assert config.vocoder.samples_per_frame == 480
    assert (converted / "llm" / "onnx" / "int8.onnx").is_file()
    assert not list(converted.rglob("*.partial*"))
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in converted.rglob("*.*"))
    voice = VoiceStore(converted).load("my_spk", Voice)
    assert len(voice.prompt_mel) == 2 * len(voice.prompt_tokens) > 0


def test_converted_weights_give_golden_mel(converted: Path) -> None:
    config = open_model(converted).config
    golden = Golden(GOLDEN / "token2wav", "flow_full_noprompt")
    with torch.inference_mode():
        flow = Flow.of(load_network(converted, config))
        mel = flow(golden["token"][0].long(), prompt_of(golden), chunked=False, finalize=True)
    assert (mel - golden["mel"][0]).abs().max() < 1e-4
    noise = start_noise(config.flow)
    assert noise.shape == (15000, 80)
    assert torch.equal(noise[:64], prompt_of(golden).noise[:64])


def test_self_check_says_what_holds(converted: Path) -> None:
    lines = list(self_check(converted, FAMILY, ("int8",)))
    starts = ["config.json", "tokenizer.json", "llm", "llm/onnx/int8.onnx", "flow", "cloning"]
    assert [line.split(":")[0] for line in lines] == [*starts, "voices"]
    assert "user text makes no control id" in lines[1]
    assert "6564-row head" in lines[2] and "generated 40 speech codes" in lines[3]
    # The tiny flow and the tiny language model were not made for each other.
    assert (
        "1.60 s of finite audio (warning: the language model has 6561 codes, the flow 97"
        in (lines[4])
    )
    assert "25 codes, 50 mel frames and a speaker vector of 192 (warning: the flow t" in lines[5]
    assert lines[6] == "voices: my_spk"


def test_self_check_finds_damage(converted: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(converted, tmp_path / "damaged")
    (damaged / "flow.safetensors").unlink()
    with pytest.raises(ModelDirectoryError, match=r"flow\.safetensors does not exist; run"):
        list(self_check(damaged, FAMILY, ()))


@pytest.mark.parametrize("kind", ["hift_legacy_names.pt", "generator."])
def test_every_spelling_of_the_vocoder_gives_the_same(
    kind: str, converted: Path, copies: tuple[Path, Path]
) -> None:
    source, target = copies
    if kind == "generator.":
        state = torch.load(source / "hift.pt", weights_only=True)
        torch.save({f"generator.{k}": v for k, v in state.items()}, source / "hift.pt")
    else:
        shutil.copy(GOLDEN / "token2wav" / "tiny_checkpoint" / kind, source / "hift.pt")
    before = times(target)
    convert(source, target)
    assert changed(before, target) == {"vocoder.safetensors"}
    ours, theirs = (load_file(d / "vocoder.safetensors") for d in (target, converted))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_a_merged_language_model_takes_the_place_of_llm_pt(converted: Path, tmp_path: Path) -> None:
    source = released_checkpoint(tmp_path / "merged", merged=True)
    target = convert(source, tmp_path / "target")
    assert open_model(target).config.llm == open_model(converted).config.llm
    ours, theirs = (load_file(d / "llm" / "model.safetensors") for d in (target, converted))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k].to(ours[k].dtype)) for k in ours)


def test_a_finished_conversion_is_not_done_again(copies: tuple[Path, Path]) -> None:
    source, target = copies
    before = times(target)
    convert(source, target, ConvertOptions())
    assert changed(before, target) == set()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("flow.pt", {"flow.safetensors"}),
        ("hift.pt", {"vocoder.safetensors"}),
        ("campplus.onnx", {"speaker_encoder.onnx", "speech_tokenizer.onnx"}),
        ("spk2info.pt", set()),
    ],
)
def test_a_changed_input_is_converted_again(
    name: str, expected: set[str], copies: tuple[Path, Path]
) -> None:
    source, target = copies
    before = times(target)
    os.utime(source / name, ns=(1, 1))
    convert(source, target)
    assert changed(before, target) == expected


def test_a_changed_language_model_takes_what_was_built_along(copies: tuple[Path, Path]) -> None:
    source, target = copies
    (target / "llm" / "trtllm" / "bfloat16").mkdir(parents=True)
    os.utime(source / "llm.pt", ns=(1, 1))
    convert(source, target)
    assert not (target / "llm" / "onnx").exists() and not (target / "llm" / "trtllm").exists()


@pytest.mark.parametrize("name", ["speaker_encoder.onnx", "flow.safetensors", "voices"])
def test_what_was_lost_is_made_again(name: str, copies: tuple[Path, Path]) -> None:
    source, target = copies
    lost = target / name
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    convert(source, target)
    assert list(VoiceStore(target).names()) == ["my_spk"] and lost.exists()


def test_a_run_that_broke_off_goes_on(copies: tuple[Path, Path]) -> None:
    source, target = copies
    shutil.rmtree(target)
    change_state(source / "hift.pt", conv_pre__bias=None)
    with pytest.raises(ModelDirectoryError):
        convert(source, target)
    assert not (target / "config.json").exists()
    before = times(target)
    shutil.copy(GOLDEN / "token2wav" / "tiny_checkpoint" / "hift.pt", source / "hift.pt")
    convert(source, target)
    done = changed(before, target)
    assert "vocoder.safetensors" in done and not done & {"flow.safetensors", "tokenizer.json"}


def test_stored_precision_can_be_chosen(copies: tuple[Path, Path], converted: Path) -> None:
    source, target = copies
    convert(source, target, ConvertOptions(dtype="bf16", graphs=()))
    for name in ("flow.safetensors", "vocoder.safetensors", "llm/model.safetensors"):
        half, full = load_file(target / name), load_file(converted / name)
        assert {value.dtype for value in half.values()} == {torch.bfloat16}
        assert all(torch.equal(half[k], full[k].bfloat16()) for k in full)


def run_script(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(PROJECT / "scripts" / "convert.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=PROJECT)


def test_the_command_converts_and_checks(copies: tuple[Path, Path]) -> None:
    source, target = copies
    done = run_script(str(source), str(target))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok  ") == 7 and f"{target} is ready" in done.stdout


def test_the_command_says_plainly_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "cosyvoice2.yaml").write_text("")
    done = run_script(str(tmp_path), str(tmp_path / "target"))
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert "cosyvoice2.yaml is empty" in done.stderr and "flow.pt is missing" in done.stderr
    assert not (tmp_path / "target").exists()


def test_waveforms_are_the_release_s_own(converted: Path) -> None:
    golden = Golden(GOLDEN / "token2wav", "hift_decode")
    with torch.inference_mode():
        network = load_hift(converted, open_model(converted).config)
        wave = network.decode(golden["mel"], golden["source"][:, 0])
    assert np.abs((wave - golden["wav"]).numpy()).max() < 1e-4
