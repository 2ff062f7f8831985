"""The conversion as a whole: its files, its limits, its script."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from llm_model import merge_tiny
from paths import PROJECT
from safetensors.torch import load_file, save_file
from trtllm_reader import convert, read_checkpoint, write_source

from tritone.errors import EnvironmentProblem, ModelDirectoryError
from tritone.llm.trtllm.checkpoint import Conversion
from tritone.llm.trtllm.checkpoint_config import CheckpointOptions
from tritone.llm.trtllm.source_checkpoint import open_llm

SCRIPT = "scripts/convert_checkpoint.py"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 450575567\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("source") / "qwen2")


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """A model directory as far as its language model goes."""
    merge_tiny(tmp_path / "voice" / "llm")
    (tmp_path / "voice" / "config.json").write_text("{}")
    return tmp_path / "voice"


def test_parallel_ranks_are_the_same(source: Path, tmp_path: Path) -> None:
    told: list[int] = []
    one = convert(source, tmp_path / "one", tp_size=2)
    conversion = Conversion(open_llm(source), tmp_path / "two", CheckpointOptions(tp_size=2))
    files = conversion.run(2, told.append)
    assert sum(told) == conversion.nbytes
    for path in files:
        assert path.read_bytes() == (one / path.name).read_bytes()


def test_progress_reaches_the_total(source: Path, tmp_path: Path) -> None:
    told: list[int] = []
    conversion = Conversion(open_llm(source), tmp_path / "out", CheckpointOptions(tp_size=4))
    conversion.run(progress=told.append)
    assert sum(told) == conversion.nbytes
    size = sum(p.stat().st_size for p in (tmp_path / "out").glob("*.safetensors"))
    assert conversion.nbytes < size


def test_large_tensors_are_converted_piece_by_piece(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = convert(source, tmp_path / "whole", tp_size=2)
    monkeypatch.setattr("tritone.llm.trtllm.checkpoint._BLOCK_VALUES", 20)
    pieces = convert(source, tmp_path / "pieces", tp_size=2)
    name = "rank1.safetensors"
    assert (whole / name).read_bytes() == (pieces / name).read_bytes()


def test_an_earlier_checkpoint_is_replaced_whole(source: Path, tmp_path: Path) -> None:
    output = convert(source, tmp_path / "out", tp_size=4)
    (output / "rank9.partial.safetensors").write_bytes(b"broken off")
    convert(source, output, tp_size=2)
    names = {path.name for path in output.iterdir()}
    assert names == {"config.json", "rank0.safetensors", "rank1.safetensors"}


def test_other_directories_are_not_written_to(source: Path, tmp_path: Path) -> None:
    before = (source / "config.json").read_bytes()
    with pytest.raises(ModelDirectoryError, match=r"holds model\.safetensors: give an empty or"):
        convert(source, source)
    assert (source / "config.json").read_bytes() == before
    (tmp_path / "file").touch()
    with pytest.raises(ModelDirectoryError, match="is a file; give a directory"):
        convert(source, tmp_path / "file")


def test_too_little_disk_is_said_before_writing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(EnvironmentProblem, match=r"needs 0\.00 GB and 0\.00 GB are free: make ro"):
        convert(source, tmp_path / "deep" / "out")
    assert not (tmp_path / "deep").exists()


def refusal(directory: Path) -> str:
    with pytest.raises(ModelDirectoryError) as refused:
        open_llm(directory)
    return str(refused.value)


def test_wrong_directories_are_named(tmp_path: Path) -> None:
    assert "nowhere is not a directory; give a model directory" in refusal(tmp_path / "nowhere")
    assert "config.json does not exist; give a model directory (`tritone" in refusal(tmp_path)
    for name in ("model.yaml", "llm.pt"):
        (tmp_path / name).touch()
    assert f"is a release: run `tritone convert {tmp_path} MODEL_DIR`" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_files_and_pointers_are_named(tmp_path: Path, name: str) -> None:
    directory = write_source(tmp_path / "qwen2")
    (directory / name).write_bytes(LFS)
    assert f"{name} is a Git LFS pointer, not the file itself: run" in refusal(directory)
    (directory / name).unlink()
    assert f"{name} does not exist; give a model directory" in refusal(directory)


def test_half_and_divided_weights_are_named(tmp_path: Path, model_dir: Path) -> None:
    directory = write_source(tmp_path / "qwen2")
    for folder, advice in ((directory, "download it again"), (model_dir / "llm", "convert the")):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-9])
        assert "is cut short" in refusal(folder) and advice in refusal(folder)
    (directory / "model.safetensors.index.json").touch()
    assert "in several files; save them as one model.safetensors" in refusal(directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.norm.weight": None}, "model.norm.weight is missing"),
        ({"lm_head.weight": None}, "lm_head.weight is missing"),
        ({"lm_head.bias": (9,)}, "lm_head.bias has shape (9,), expected (13,)"),
        ({"model.norm.weight": (17,)}, "model.norm.weight has shape (17,), expected (16,)"),
        (
            {"model.layers.0.self_attn.q_norm.weight": (4,)},
            "q_norm.weight has no place in a Qwen2",
        ),
    ],
    ids=str,
)
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, change: dict, message: str) -> None:
    path = write_source(tmp_path / "qwen2") / "model.safetensors"
    tensors = load_file(path)
    for name, shape in change.items():
        tensors.pop(name, None)
        if shape is not None:
            tensors[name] = torch.zeros(shape)
    save_file(tensors, path)
    assert message in refusal(path.parent)


def test_integers_are_no_weights(tmp_path: Path) -> None:
    path = write_source(tmp_path / "qwen2") / "model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"] = torch.zeros(16, dtype=torch.int32)
    save_file(tensors, path)
    assert "model.norm.weight is I32, expected one of BF16, F16, F32" in refusal(path.parent)


def test_other_models_are_named(tmp_path: Path) -> None:
    assert "model_type is 'qwen3'" in refusal(write_source(tmp_path / "a", model_type="qwen3"))
    assert "rope_theta: Field required" in refusal(write_source(tmp_path / "b", rope_theta=None))


def test_a_buffer_of_old_exports_is_no_weight(tmp_path: Path) -> None:
    path = write_source(tmp_path / "qwen2") / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(2)
    save_file(tensors, path)
    _, (rank,) = read_checkpoint(convert(path.parent, tmp_path / "out"))
    assert not any("inv_freq" in name for name in rank)


def test_a_lost_bias_is_refused(tmp_path: Path, model_dir: Path) -> None:
    path = model_dir / "llm" / "model.safetensors"
    assert open_llm(model_dir).biased_rows == 6564
    tensors = load_file(path)
    del tensors["lm_head.bias"]
    save_file(tensors, path)
    assert "lm_head.bias is missing" in refusal(model_dir)
    # config.json of the merged checkpoint says so too, wherever it lies
    shutil.copytree(model_dir / "llm", tmp_path / "elsewhere")
    assert "text ids would be spoken without it" in refusal(tmp_path / "elsewhere")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_bias_that_bans_nothing_sensible_is_refused(model_dir: Path, value: float) -> None:
    path = model_dir / "llm" / "model.safetensors"
    tensors = load_file(path)
    tensors["lm_head.bias"][0] = value
    save_file(tensors, path)
    assert "lm_head.bias has values that are NaN or infinite" in refusal(model_dir)


def run_script(
    *arguments: str, blocked: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    """Run the script where the blocked modules cannot be imported."""
    block = f"import runpy, sys; sys.modules.update(dict.fromkeys({blocked!r}))"
    code = f"{block}; sys.argv[0] = {SCRIPT!r}; runpy.run_path({SCRIPT!r}, run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_script_needs_neither_torch_nor_tensorrt_llm(model_dir: Path) -> None:
    done = run_script("--model_dir", str(model_dir), blocked=("torch", "tensorrt_llm"))
    assert done.returncode == 0, done.stderr
    output = model_dir / "llm" / "trtllm" / "bfloat16"
    config, (rank,) = read_checkpoint(output)
    assert config["vocab_size"] == len(rank["lm_head.weight"]) == 6912
    assert "lm_head.bias" not in rank
    said = done.stdout.splitlines()
    assert said[0] == str(output)
    assert said[1].split()[0] == "config.json" and said[2].split()[0] == "rank0.safetensors"
    assert "6564 of 6912 ids" in said[3] and "as embedding_bias" in said[3]
    assert said[4].endswith(f"tritone engines {model_dir}")
    assert "100%" in done.stderr


def test_script_on_a_plain_qwen2_names_the_build_command(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = ["--model_dir", str(source), "--output_dir", str(output), "--tp_size", "2"]
    done = run_script(*arguments, "--use_weight_only", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert json.loads((output / "config.json").read_text())["mapping"]["tp_size"] == 2
    assert "The head has no bias" in done.stdout
    assert f"trtllm-build --checkpoint_dir {output} --output_dir {output}-engine" in done.stdout
    assert "--max_seq_len 64" in done.stdout


def test_script_says_what_is_wrong_and_fails(tmp_path: Path) -> None:
    done = run_script("--model_dir", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
