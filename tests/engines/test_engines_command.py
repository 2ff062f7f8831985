"""`tritone engines`: what it refuses before it starts, what it shows, builds and skips."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_models import exported, model_directory
from paths import EMBEDDED, SUPPORT

from tritone import cli
from tritone.engines.export import ONNX_DIR

FAKE_BUILD = SUPPORT / "fake_trtllm_build.py"
GRAPHS = ["flow_encoder", "estimator_step", "estimator", "estimator_masked"]
GRAPHS += ["f0_predictor", "vocoder"]
STEPS = ("export", "plan")

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
        status = cli.main(["engines", *map(str, arguments)])
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_dry_run_shows_every_command_and_profile(script: Script, model: Path) -> None:
    before = listing(model)
    named = ("--parts", "llm,flow,vocoder")
    status, out, _ = script(model, "--dry-run", "--dtype", "float16", *named)
    assert status == 0 and listing(model) == before
    assert "trtllm-build --checkpoint_dir" in out and "--gemm_plugin float16" in out
    for name in GRAPHS:
        assert f"\nexport {name}\n" in out and f"\nplan {name}\n" in out
    assert "cache    5x2x2x4x1x32  5x2x2x4x500x32  5x2x8x4x3000x32" in out
    assert "onnx/f0_predictor.onnx, products in float32" in out
    assert "onnx/vocoder.onnx, products in float16" in out
    assert "Here the build would stop:" in out
    assert "tensorrt-cu12==10.10.0.31" in out


def shown(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith(("llm", "export", "plan"))]


def test_what_a_server_runs_is_built_and_the_rest_by_name(script: Script, model: Path) -> None:
    _, out, _ = script(model, "--dry-run")
    plans = [f"{what} {name}" for name in ("estimator_step", "vocoder") for what in STEPS]
    assert shown(out) == ["llm checkpoint", "llm engine", *plans]
    _, out, _ = script(model, "--dry-run", "--parts", "llm, flow_encoder,f0_predictor")
    plans = [f"{what} {name}" for name in ("flow_encoder", "f0_predictor") for what in STEPS]
    assert shown(out) == ["llm checkpoint", "llm engine", *plans]
    _, out, _ = script(model, "--dry-run", "--export-only")
    assert shown(out) == ["export estimator_step", "export vocoder"]


def test_parts_are_chosen(script: Script, model: Path) -> None:
    _, out, _ = script(model, "--dry-run", "--parts", "vocoder")
    assert shown(out) == [f"{what} {name}" for what in STEPS for name in GRAPHS[4:]]
    status, _, err = script(model, "--parts", "vocoder,frontend")
    assert status == 2 and "unknown part 'frontend'; parts are llm, flow, vocoder" in err
    status, _, err = script(model, "--parts", "llm", "--export-only")
    assert status == 2 and "--export-only exports flow and vocoder" in err


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
    assert status == 2 and "must name a model family" in err


def test_exports_need_no_gpu(script: Script, model: Path) -> None:
    shutil.rmtree(model / ONNX_DIR)
    status, out, _ = script(model, "--export-only", "--parts", "vocoder")
    assert status == 0
    assert (model / ONNX_DIR / "vocoder.onnx").is_file() and not (model / "engines").exists()
    assert "export vocoder       built" in out and "from torch" in out
    assert out.endswith(f"machine with the GPU: tritone engines {model}\n")
