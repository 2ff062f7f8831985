"""A build: what it refuses beforehand, what it plans, builds and skips."""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from engine_models import exported, model_directory, sources_of, tasks_of
from fake_gpu import H200, plug_in
from paths import EMBEDDED, SUPPORT

from tritone.engines import llm_build
from tritone.engines.build import problems
from tritone.engines.export import ONNX_DIR
from tritone.engines.record import check_language_model, engine_folder, read_record
from tritone.engines.tasks import Outcome, Task, run_tasks
from tritone.errors import ModelDirectoryError, StageFailed
from tritone.llm.torch.opening import open_torch
from tritone.llm.trtllm.engine_folder import find_engine

pytestmark = pytest.mark.slow

FAKE_BUILD = SUPPORT / "fake_trtllm_build.py"
GRAPHS = ["flow_encoder", "estimator_step", "estimator", "estimator_masked"]
GRAPHS += ["f0_predictor", "vocoder"]


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
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A GPU with TensorRT and TensorRT-LLM, whose engine is float32 torch on the CPU."""
    plug_in(monkeypatch)
    program = tmp_path / "bin" / "trtllm-build"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{FAKE_BUILD.read_text()}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr("tritone.engines.build.installed_version", lambda: "0.20.0")

    def executor(model_dir: Path, config: Any, *, engine_dir: str, **settings: Any) -> Any:
        assert (Path(engine_dir) / "rank0.engine").is_file()
        assert settings["repetition_penalty"] == 1.0  # it would choose other tokens
        return open_torch(model_dir, config, device="cpu", dtype="fp32", slots=2, max_tokens=64)

    monkeypatch.setattr("tritone.engines.llm_build.open_executor", executor)


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def build(model: Path, *parts: str) -> list[Outcome]:
    sources = sources_of(model)
    return list(run_tasks(tasks_of(sources, parts or sources.parts, "float16", H200), force=False))


def states(outcomes: Iterable[Outcome]) -> dict[str, str]:
    return {outcome.name: outcome.state for outcome in outcomes}


def test_a_plan_shows_every_command_and_profile(model: Path) -> None:
    before = listing(model)
    sources = sources_of(model)
    tasks = {task.name: task.plan for task in tasks_of(sources, sources.parts, "float16", H200)}
    assert listing(model) == before
    assert list(tasks)[:2] == ["llm checkpoint", "llm engine"]
    assert set(tasks) == {
        *list(tasks)[:2],
        *(f"{what} {name}" for what in ("export", "plan") for name in GRAPHS),
    }
    folder = engine_folder(model, H200, "float16")
    weights, checkpoint = model / "llm" / "model.safetensors", model / "llm" / "trtllm" / "float16"
    assert tasks["llm checkpoint"] == (f"{weights} in float16 -> {checkpoint}",)
    command = tasks["llm engine"][0]
    assert command.startswith(f"trtllm-build --checkpoint_dir {checkpoint}")
    assert "--gemm_plugin float16" in command
    assert "cache    5x2x2x4x1x32  5x2x2x4x500x32  5x2x8x4x3000x32" in tasks["plan estimator_step"]
    pitch = f"onnx/f0_predictor.onnx, products in float32 -> {folder / 'f0_predictor.plan'}"
    assert pitch in tasks["plan f0_predictor"]
    assert "onnx/vocoder.onnx, products in float16" in tasks["plan vocoder"][0]


def test_parts_are_chosen_and_exports_need_no_machine(model: Path) -> None:
    sources = sources_of(model)
    assert sources.parts == ("llm", "flow", "vocoder")
    named = [task.name for task in tasks_of(sources, ("vocoder",), "float16", H200)]
    assert named == [f"{what} {name}" for what in ("export", "plan") for name in GRAPHS[4:]]
    named = [task.name for task in tasks_of(sources, ("vocoder", "flow"), "float16")]
    assert named == [f"export {name}" for name in GRAPHS]


def test_without_a_gpu_everything_that_is_missing_is_named(model: Path) -> None:
    said = found(model)
    for missing in ("GPU", "driver version", "package tensorrt ", "tensorrt_llm"):
        assert missing in said


def test_exports_alone_need_no_gpu(model: Path) -> None:
    assert not problems(sources_of(model), ("flow", "vocoder"), "float16", export_only=True)


def test_everything_is_built_once(model: Path, gpu: None) -> None:
    assert states(build(model)) == {
        "llm checkpoint": "built",
        "llm engine": "built",
        **{f"export {name}": "there" for name in GRAPHS},
        **{f"plan {name}": "built" for name in GRAPHS},
    }
    record = read_record(engine_folder(model, H200, "float16"))
    assert set(record.parts) == {"llm", *GRAPHS}
    verdict = record.parts["llm"].gate
    assert verdict is not None and verdict.passed and verdict.error < 1e-3 and verdict.level == 1.0
    assert set(states(build(model)).values()) == {"there"}


def test_a_refused_engine_is_reported_and_built_again(
    model: Path, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that gives another model's tokens, here those of other weights."""
    other = model.parent / "other"
    shutil.copytree(model, other)
    weights = other / "llm" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-200_000:-100_000] = data[-300_000:-200_000]
    weights.write_bytes(data)
    real = llm_build.open_executor
    monkeypatch.setattr(llm_build, "open_executor", lambda m, c, **s: real(other, c, **s))
    *_, refused = build(model, "llm")
    assert refused.state == "failed"
    assert "its engine was refused: it chose a token" in refused.said
    engine, config = find_engine(model), sources_of(model).config
    with pytest.raises(ModelDirectoryError, match=r"llm was refused: it chose .* Build it again"):
        check_language_model(model, config, engine)
    monkeypatch.setattr(llm_build, "open_executor", real)
    assert states(build(model, "llm")) == {"llm checkpoint": "there", "llm engine": "built"}
    check_language_model(model, config, engine)
    (model / "llm" / "model.safetensors").write_bytes(data)
    with pytest.raises(ModelDirectoryError, match=r"llm was made from .*, the weights .* here are"):
        check_language_model(model, config, engine)


def found(model: Path, dtype: str = "bfloat16") -> str:
    sources = sources_of(model)
    return " | ".join(map(str, problems(sources, ("llm", "flow"), dtype, export_only=False)))


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
    monkeypatch.setattr("tritone.engines.build.installed_version", lambda: "1.0.0")
    said = found(model)
    assert "flow.safetensors: missing; run `tritone convert` again" in said
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
