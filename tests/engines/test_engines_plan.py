"""Building plans, judging them and running them, on a stand-in for TensorRT."""

import logging
from pathlib import Path

import fake_tensorrt
import onnx
import pytest
import torch
from engine_models import export_of, exported, inputs_of, model_directory, sources_of, tasks_of
from fake_gpu import H200, plug_in

from tritone.engines.export import ONNX_DIR, reference
from tritone.engines.plan import Plan, open_plan
from tritone.engines.plans import WORKSPACE_BYTES, build_plan
from tritone.engines.precision import to_half
from tritone.engines.record import RECORD, Verdict, engine_folder, plan_path, read_record
from tritone.engines.tasks import Outcome, run_tasks
from tritone.errors import EnvironmentProblem, ModelDirectoryError, StageFailed

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch)


def step_model(dtype: str = "float16") -> onnx.ModelProto:
    graph = exported().graph("flow", "estimator_step")
    return to_half(onnx.load(export_of("estimator_step")), dtype, graph.caches)


def step_plan(tmp_path: Path) -> Plan:
    graph = exported().graph("flow", "estimator_step")
    data = build_plan("estimator_step", step_model(), graph.profile(), tmp_path / "cache")
    (tmp_path / "estimator_step.plan").write_bytes(data)
    return Plan(tmp_path / "estimator_step.plan", CPU)


def test_a_network_is_strongly_typed_and_has_the_profile(tmp_path: Path) -> None:
    graph = exported().graph("flow", "estimator_step")
    build_plan("estimator_step", step_model("bfloat16"), graph.profile(), tmp_path / "cache")
    (built,) = fake_tensorrt.built
    assert built.flags == 1 << int(fake_tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert built.config.flags == set()  # no FP16 or BF16, which would let it choose; no TF32
    assert built.config.pools == {fake_tensorrt.MemoryPoolType.WORKSPACE: WORKSPACE_BYTES}
    (profile,) = built.config.profiles
    assert profile.shapes == graph.profile()
    assert profile.shapes["x"] == ((2, 1, 320), (2, 50, 320), (8, 50, 320))
    assert {value.name for value in built.model.graph.input} == set(profile.shapes)


def test_timings_are_kept_for_the_next_build(tmp_path: Path) -> None:
    profile = exported().graph("flow", "estimator_step").profile()
    for _ in range(2):
        build_plan("estimator_step", step_model(), profile, tmp_path / "cache")
    assert [build.config.cache.data for build in fake_tensorrt.built] == [b"", b"+"]
    assert (tmp_path / "cache").read_bytes() == b"++"


def test_what_the_parser_does_not_take_is_said(tmp_path: Path) -> None:
    model = step_model()
    model.graph.node[3].op_type = "Loop"
    with pytest.raises(StageFailed, match="does not take the graph: no importer for Loop"):
        build_plan("estimator_step", model, {}, tmp_path / "cache")


def test_a_build_that_fails_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake_tensorrt.break_next.append("Could not find any implementation for node 7")
    profile = exported().graph("flow", "estimator_step").profile()
    with caplog.at_level(logging.ERROR), pytest.raises(StageFailed, match="for node 7"):
        build_plan("estimator_step", step_model(), profile, tmp_path / "cache")
    assert "Could not find any implementation for node 7" in caplog.text


def test_a_plan_takes_and_gives_torch_tensors(tmp_path: Path) -> None:
    plan, inputs = step_plan(tmp_path), inputs_of("estimator_step")
    assert plan.inputs["cache"] == torch.float16 and plan.inputs["visible"] == torch.bool
    assert plan.outputs["new_frames"] == torch.float16
    transposed = inputs["x"].mT.contiguous().mT  # not contiguous
    outputs = plan({**inputs, "x": transposed, "cache": inputs["cache"].half()})
    expected = reference(exported().graph("flow", "estimator_step"), inputs)
    for name, wanted in expected.items():
        torch.testing.assert_close(outputs[name].float(), wanted, rtol=0.02, atol=0.02)


def test_a_shape_outside_the_profile_is_named(tmp_path: Path) -> None:
    plan, inputs = step_plan(tmp_path), inputs_of("estimator_step")
    inputs = {**inputs, "cache": inputs["cache"].half(), "x": torch.zeros(4, 51, 320)}
    with pytest.raises(StageFailed, match=r"x has shape \(4, 51, 320\); the plan takes \(2, 1, 32"):
        plan(inputs)


def test_a_file_that_is_no_plan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.plan").write_bytes(b"no plan")
    with pytest.raises(ModelDirectoryError, match=r"broken\.plan is not a plan for this GPU"):
        Plan(tmp_path / "broken.plan", CPU)


def vocoder_model(folder: Path) -> Path:
    """A model directory with the exports of its vocoder."""
    model = model_directory(folder / "model")
    (model / ONNX_DIR).mkdir()
    for path in (exported().model_dir / ONNX_DIR).iterdir():
        if path.stem in ("vocoder", "f0_predictor", "exports"):
            (model / ONNX_DIR / path.name).write_bytes(path.read_bytes())
    return model


def build(model: Path, *, force: bool = False, dtype: str = "float16") -> list[Outcome]:
    tasks = tasks_of(sources_of(model), ("vocoder",), dtype, H200)
    return list(run_tasks(tasks, force=force))


def test_plans_are_built_judged_and_opened(tmp_path: Path) -> None:
    model = vocoder_model(tmp_path)
    assert [o.state for o in build(model)] == ["there", "there", "built", "built"]
    folder = engine_folder(model, H200, "float16")
    record = read_record(folder)
    assert record.machine == H200 and set(record.parts) == {"vocoder", "f0_predictor"}
    gate = record.parts["vocoder"].gate
    assert gate is not None and gate.passed and 0 < gate.error < gate.bound == 0.01
    pitch = record.parts["f0_predictor"].gate
    assert pitch is not None and pitch.bound == 0.001  # in float32
    plan = open_plan(sources_of(model), "vocoder", "vocoder", torch.float16, CPU)
    assert plan(inputs_of("vocoder", "vocoder"))["bins"].isfinite().all()
    assert [o.state for o in build(model)] == ["there"] * 4
    assert folder.name == "nvidia-h200-sm90-driver570.124.06-trt10.10.0.31-float16"


def test_a_refused_plan_is_recorded_removed_and_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = vocoder_model(tmp_path)
    refusal = Verdict(float("inf"), 0.02, 0.0, "100% of bins is NaN or infinite")
    monkeypatch.setattr("tritone.engines.plans.judge_graph", lambda *a: refusal)
    states = build(model)
    assert [o.state for o in states] == ["there", "there", "failed", "failed"]
    assert states[-1].said == "vocoder: its plan was refused: 100% of bins is NaN or infinite"
    folder = engine_folder(model, H200, "float16")
    assert not list(folder.glob("*.plan")) and not plan_path(folder, "vocoder").exists()
    assert read_record(folder).parts["vocoder"].gate == refusal
    with pytest.raises(ModelDirectoryError, match="vocoder was refused: 100% of bins is NaN"):
        open_plan(sources_of(model), "vocoder", "vocoder", torch.float16, CPU)


def test_a_plan_follows_its_weights(tmp_path: Path) -> None:
    model = vocoder_model(tmp_path)
    build(model)
    config = model / "config.json"
    config.write_text(config.read_text().replace('"audio_limit": 0.99', '"audio_limit": 0.98'))
    with pytest.raises(ModelDirectoryError, match=r"vocoder was made from \w{12}, the weights and"):
        open_plan(sources_of(model), "vocoder", "vocoder", torch.float16, CPU)
    assert [o.state for o in build(model)] == ["built"] * 4


def test_without_its_record_a_plan_is_not_there(tmp_path: Path) -> None:
    model = vocoder_model(tmp_path)
    build(model)
    (engine_folder(model, H200, "float16") / RECORD).unlink()
    with pytest.raises(ModelDirectoryError, match="has no engines for this machine"):
        open_plan(sources_of(model), "vocoder", "vocoder", torch.float16, CPU)


def test_another_tensorrt_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fake_tensorrt, "__version__", "11.4.0.106")
    with pytest.raises(EnvironmentProblem, match=r"TensorRT 11\.4\.0\.106 is installed; plans are"):
        build_plan("x", step_model(), {}, tmp_path / "cache")
