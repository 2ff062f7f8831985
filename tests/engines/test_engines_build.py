"""`tritone engines`: what it refuses at the door, what it shows, builds and skips."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from engine_models import exported, model_directory
from fake_gpu import H200, plug_in
from paths import EMBEDDED, SUPPORT

from tritone.cli import engines
from tritone.config import read_config
from tritone.engines import llm_build as llm_engine
from tritone.engines.exports import ONNX_DIR
from tritone.engines.preflight import problems
from tritone.engines.record import check_language_model, engine_folder, read_record
from tritone.engines.tasks import Task, run_tasks
from tritone.errors import ModelDirectoryError, StageFailed
from tritone.llm.slots.opening import open_torch
from tritone.llm.trtllm.engine_folder import find_engine

FAKE_BUILD = SUPPORT / "fake_trtllm_build.py"
GRAPHS = ["flow_encoder", "estimator_step", "estimator", "estimator_masked"]
GRAPHS += ["f0_predictor", "vocoder"]

Script = Callable[..., tuple[int, str, str]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The embedded voice with all its exports and its language model, no engine."""
    folder = model_directory(tmp_path / "model")
    shutil.copytree(exported().model_dir / ONNX_DIR, folder / ONNX_DIR)
    (folder / "llm").mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(EMBEDDED / "llm" / name, folder / "llm" / name)
    return folder


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str]) -> Script:
    def run(*arguments: object) -> tuple[int, str, str]:
        status = engines.main([*map(str, arguments)])
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A GPU with TensorRT and TensorRT-LLM, whose engine is float32 torch on the CPU."""
    plug_in(monkeypatch)
    program = tmp_path / "bin" / "trtllm-build"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{FAKE_BUILD.read_text()}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr("tritone.engines.preflight.installed_version", lambda: "0.20.0")

    def executor(model_dir: Path, config: Any, *, engine_dir: str, **settings: Any) -> Any:
        assert (Path(engine_dir) / "rank0.engine").is_file()
        assert settings["repetition_penalty"] == 1.0  # it would choose other tokens
        return open_torch(model_dir, config, device="cpu", dtype="fp32", slots=2, max_tokens=64)

    monkeypatch.setattr("tritone.engines.llm_build.open_executor", executor)


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_dry_run_shows_every_command_and_profile(script: Script, model: Path) -> None:
    before = listing(model)
    status, out, _ = script(model, "--dry-run", "--dtype", "float16")
    assert status == 0 and listing(model) == before
    assert f"python scripts/convert_checkpoint.py --model_dir {model} --dtype float16" in out
    assert "trtllm-build --checkpoint_dir" in out and "--gemm_plugin float16" in out
    for name in GRAPHS:
        assert f"\nexport {name}\n" in out and f"\nplan {name}\n" in out
    assert "cache    5x2x2x4x1x32  5x2x2x4x500x32  5x2x8x4x3000x32" in out
    assert "onnx/f0_predictor.onnx, products in float32" in out
    assert "onnx/vocoder.onnx, products in float16" in out
    assert "Here the build would stop:" in out
    assert "tensorrt-cu12==10.10.0.31" in out


def test_parts_are_chosen(script: Script, model: Path) -> None:
    _, out, _ = script(model, "--dry-run", "--parts", "vocoder")
    shown = [line for line in out.splitlines() if line.startswith(("llm", "export", "plan"))]
    assert shown == [f"{what} {name}" for what in ("export", "plan") for name in GRAPHS[4:]]
    status, _, said = script(model, "--parts", "vocoder,frontend")
    assert status == 2 and "unknown part 'frontend'; parts are llm, flow, vocoder" in said
    status, _, said = script(model, "--parts", "llm", "--export-only")
    assert status == 2 and "--export-only exports flow and vocoder" in said


def test_without_a_gpu_everything_that_is_missing_is_named(script: Script, model: Path) -> None:
    before = listing(model)
    status, out, err = script(model)
    assert status == 2 and not out and listing(model) == before
    for missing in ("GPU", "driver version", "package tensorrt ", "tensorrt_llm"):
        assert missing in err, err


def test_a_directory_that_is_no_model_is_named(script: Script, tmp_path: Path) -> None:
    status, _, err = script(tmp_path, "--dry-run")
    assert status == 2 and "is not a Tritone model directory" in err
    (tmp_path / "config.json").write_text("{}")
    status, _, err = script(tmp_path, "--export-only")
    assert status == 2 and "llm: Field required" in err


def test_exports_need_no_gpu(script: Script, model: Path) -> None:
    shutil.rmtree(model / ONNX_DIR)
    status, out, _ = script(model, "--export-only", "--parts", "vocoder")
    assert status == 0
    assert (model / ONNX_DIR / "vocoder.onnx").is_file() and not (model / "engines").exists()
    assert "export vocoder       built" in out and "from torch" in out
    assert out.endswith(f"machine with the GPU: tritone engines {model}\n")


def test_everything_is_built_once(script: Script, model: Path, gpu: None) -> None:
    status, out, _ = script(model, "--dtype", "float16")
    assert status == 0, out
    rows = [line.split() for line in out.splitlines() if " s  " in line]
    states = {" ".join(row[:2]): row[2] for row in rows}
    assert states == {
        "llm checkpoint": "built",
        "llm engine": "built",
        **{f"export {name}": "there" for name in GRAPHS},
        **{f"plan {name}": "built" for name in GRAPHS},
    }
    assert out.endswith(f"Next: tritone serve --model {model} --profile gpu\n")
    record = read_record(engine_folder(model, H200, "float16"))
    assert set(record.parts) == {"llm", *GRAPHS}
    gate = record.parts["llm"].gate
    assert gate is not None and gate.passed and gate.error < 1e-3 and gate.level == 1.0

    status, out, _ = script(model, "--dtype", "float16")
    assert status == 0 and " built " not in out

    status, out, _ = script(model, "--dtype", "float16", "--dry-run")
    assert status == 0 and "would stop" not in out
    assert f"{engine_folder(model, H200, 'float16')}/estimator.plan" in out


def test_a_refused_engine_is_reported_and_built_again(
    script: Script, model: Path, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that gives another model's tokens, here those of other weights."""
    other = model.parent / "other"
    shutil.copytree(model, other)
    weights = other / "llm" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-200_000:-100_000] = data[-300_000:-200_000]
    weights.write_bytes(data)
    real = llm_engine.open_executor
    monkeypatch.setattr(llm_engine, "open_executor", lambda m, c, **s: real(other, c, **s))
    status, out, _ = script(model, "--dtype", "float16", "--parts", "llm")
    assert status == 1
    assert "its engine was refused: it chose a token" in out
    assert "Not built: llm engine." in out
    engine, config = find_engine(model), read_config(model)
    with pytest.raises(ModelDirectoryError, match=r"llm was refused: it chose .* Build it again"):
        check_language_model(model, config, engine)
    monkeypatch.setattr(llm_engine, "open_executor", real)
    status, out, _ = script(model, "--dtype", "float16", "--parts", "llm")
    assert status == 0 and "llm engine      built" in out
    check_language_model(model, config, engine)
    (model / "llm" / "model.safetensors").write_bytes(data)
    with pytest.raises(ModelDirectoryError, match=r"llm was made from .*, the weights .* here are"):
        check_language_model(model, config, engine)


def found(model: Path, dtype: str = "bfloat16") -> str:
    return " | ".join(map(str, problems(model, ("llm", "flow"), dtype, export_only=False)))


def test_nothing_is_wrong_on_a_machine_with_all_of_it(model: Path, gpu: None) -> None:
    assert found(model) == ""


def test_too_little_gpu_memory(model: Path, gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *a: (2 << 30, 24 << 30))
    assert "NVIDIA H200 has 2.0 of 24.0 GiB free; a build takes up to 6 GiB" in found(model)


def test_too_little_disk(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    assert "has 0.0 GB free; the build takes up to 0.1 GB: make room" in found(model)


def test_a_gpu_without_bfloat16(model: Path, gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *a: (7, 5))
    assert "NVIDIA H200 has 7.5: use --dtype float16" in found(model)
    assert found(model, "float16") == ""


def test_a_missing_file_and_another_tensorrt_llm(
    model: Path, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model / "flow.safetensors").unlink()
    monkeypatch.setattr("tritone.engines.preflight.installed_version", lambda: "1.0.0")
    said = found(model)
    assert "flow.safetensors: missing; run scripts/convert.py again" in said
    assert "TensorRT-LLM 1.0.0 is installed; engines are built and run with" in said


def test_what_fails_stops_what_needs_it_alone() -> None:
    def task(name: str, *needs: str, fails: bool = False) -> Task:
        def run() -> str:
            if fails:
                raise StageFailed(name, "broke")
            return "done"

        return Task(name, needs, (), lambda: False, run)

    tasks = [task("a", fails=True), task("b", "a"), task("c", "b"), task("d")]
    outcomes = list(run_tasks(tasks, force=False))
    assert [o.state for o in outcomes] == ["failed", "skipped", "skipped", "built"]
    assert [o.said for o in outcomes] == ["a: broke", "a failed", "b failed", "done"]
