"""Files that are damaged are named before anything long."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import tritone
from tritone import cli
from tritone.checkpoints.conversion import ConvertOptions
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2 import FAMILY, memory
from tritone.launcher import TritonServer
from tritone.loading.reports import Summary

CODEC, BERT = "semantic_codec.safetensors", "w2v_bert.safetensors"
LOADED = {
    "prompter.safetensors": "prompt tables",
    BERT: "speech features",
    CODEC: "speech features",
    "speaker_encoder.safetensors": "speech features",
    "conditioning.safetensors": "speech features",
    "flow.safetensors": "flow weights",
    "vocoder.safetensors": "vocoder weights",
    "gpt.safetensors": "LLM weights",
}
NAN_STEPS = {
    "gpt.safetensors": "LLM graph",
    CODEC: "speech tokenizer",
    "speaker_encoder.safetensors": "speaker encoder",
    "conditioning.safetensors": "conditioners",
}


Damage = Callable[[Path], None]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def misshape(path: Path) -> None:
    state = load_file(path)
    name = min(state)
    save_file({**state, name: torch.zeros(3, 3, 3)}, path)


def spoil(path: Path) -> None:
    state = load_file(path)
    state[min(state)].view(-1)[0] = torch.nan
    save_file(state, path)


def loaded(model: Path) -> Summary:
    """What was loaded before the fault was told."""
    summary = Summary(model)
    with pytest.raises(ModelDirectoryError) as refused:
        tritone.load(model, report=summary.add).close()
    summary.end(refused.value)
    return summary


@pytest.mark.parametrize("name", LOADED)
@pytest.mark.parametrize("damage", [Path.unlink, cut])
def test_a_file_that_is_not_whole_is_named_before_anything_is_loaded(
    model: Path, name: str, damage: Damage
) -> None:
    if name in memory.CLONING and damage is Path.unlink:
        pytest.skip("registered voices can speak without it")
    damage(model / name)
    summary = loaded(model)
    assert name in summary.problem and {step.step for step in summary.steps} <= {
        "imports",
        "config",
    }


@pytest.mark.parametrize("name", LOADED)
def test_weights_of_another_shape_are_named_before_anything_is_loaded(
    model: Path, name: str
) -> None:
    misshape(model / name)
    summary = loaded(model)
    assert {step.step for step in summary.steps} <= {"imports", "config"}
    assert name in summary.problem and "[3, 3, 3] where the configuration" in summary.problem


def test_weights_of_another_shape_are_named_all_at_once_and_no_server_starts(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {}
    for file in ("gpt.safetensors", "flow.safetensors"):
        wrong[file] = min(load_file(model / file).items(), key=lambda item: item[0])
        misshape(model / file)
    monkeypatch.setattr(TritonServer, "start", lambda self: pytest.fail("a server is started"))
    assert cli.main(["serve", "--model", str(model)]) == 2
    said = capsys.readouterr().err
    for file, (name, value) in wrong.items():
        shapes = f"{name} [3, 3, 3] where the configuration wants {list(value.shape)}"
        assert f"{model / file} has {shapes}" in said


@pytest.mark.parametrize("name", LOADED)
def test_values_that_are_none_are_named_in_their_step(model: Path, name: str) -> None:
    spoil(model / name)
    summary = loaded(model)
    assert summary.failed is not None
    assert summary.failed.step == NAN_STEPS.get(name, LOADED[name])
    assert name in summary.problem and "has values that are NaN" in summary.problem


@pytest.mark.parametrize(
    ("name", "damage", "problem"),
    [
        ("hf_cache/w2v-bert-2.0/model.safetensors", Path.unlink, "model.safetensors is missing"),
        ("hf_cache/w2v-bert-2.0/config.json", Path.unlink, "config.json is missing"),
        ("hf_cache/w2v-bert-2.0/model.safetensors", cut, "model.safetensors"),
        ("hf_cache/semantic_codec_model.safetensors", cut, "semantic_codec_model.safetensors"),
        ("gpt.pth", cut, "gpt.pth"),
        ("hf_cache/campplus_cn_common.bin", cut, "campplus_cn_common.bin"),
    ],
)
def test_a_half_filled_release_is_refused_before_anything_is_written(
    release: Path, tmp_path: Path, name: str, damage: Damage, problem: str
) -> None:
    source = shutil.copytree(release, tmp_path / "released")
    damage(source / name)
    with pytest.raises(ModelDirectoryError, match=f"cannot be converted: .*{problem}"):
        list(FAMILY.convert(source, tmp_path / "model", ConvertOptions()))
    assert not (tmp_path / "model").exists()
