"""The models and streams that the benchmarks run, on a small model."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from paths import PROJECT
from small_models import small_cosyvoice2, small_cosyvoice3
from toy_stage import Counting, broken

from benchmarks import gpu
from benchmarks.full_size import AnyConfig
from benchmarks.random_model import write_model
from benchmarks.stage_processes import StageProcess
from benchmarks.streams import BenchStages, decode_rate, run_streams
from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.placement import FlowSettings
from tritone.errors import Overloaded, StageFailed
from tritone.families import open_model
from tritone.synthesis.pipeline import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[small_cosyvoice2, small_cosyvoice3])
def config(request: pytest.FixtureRequest) -> AnyConfig:
    return request.param()


@pytest.fixture(scope="module")
def model(config: AnyConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory of random weights."""
    folder = tmp_path_factory.mktemp("random")
    write_model(folder, config)
    return folder


ONE = pytest.mark.parametrize("config", [small_cosyvoice3], indirect=True)
ALONE = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ModuleNotFoundError(name + " is not installed", name=name)
sys.meta_path.insert(0, Blocker())
from benchmarks import gpu
sys.argv[1:] = {arguments}
sys.exit(gpu.main(processes=False))
"""
BLOCKED = {
    *("onnx", "onnxruntime", "grpc", "tritonclient", "soundfile", "sentencepiece", "wetext"),
    *("kaldifst", "markdown_it", "defusedxml", "hibari", "tqdm", "typer", "rich", "psutil"),
    *("prometheus_client", "tritone_client", "google", "scipy", "matplotlib", "transformers"),
}


def arguments(out: Path, model: Path, *options: str) -> list[str]:
    usual = "--device cpu --streams 1 --llm-streams 2 --rounds 1 --seconds 1 --cache-mb 200"
    return ["--model", str(model), "--out", str(out), *usual.split(), *options]


@ONE
def test_the_gpu_benchmark_needs_torch_alone(model: Path, tmp_path: Path) -> None:
    """It runs to its end where nothing else can be imported."""
    code = ALONE.format(blocked=BLOCKED, arguments=arguments(tmp_path, model))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    figures = found["figures"]
    assert 0 < figures["bf16 logits, error"] < 0.1
    assert 0 < figures["bf16 mel, error"] < 0.1
    assert figures["LLM tokens/s, 2 streams"] > 0 < figures["first packet, 1 stream, p50, ms"]
    assert figures["times real time, 1 stream"] > 0 == figures["refused, 1 stream"]
    assert "at most 60" in done.stdout and not found["problems"]


def test_stages_are_processes() -> None:
    stage = StageProcess(Counting).ready()
    number = stage.number()
    stage.begin(number, "count", 3)
    assert [stage.answer(number) for _ in range(4)] == [1, 2, 3, None]
    assert stage.call("count", 1) == 1
    with pytest.raises(Overloaded, match="no room"):
        stage.call("full", None)
    with pytest.raises(StageFailed, match="lost"):
        stage.call("fail", None)
    with pytest.raises(StageFailed, match="its process has ended"):
        stage.call("end", None)
    with pytest.raises(StageFailed, match="its process has ended"):
        stage.call("count", 1)
    stage.close()
    with pytest.raises(StageFailed, match="no such model"):
        StageProcess(broken).ready()


def served(model: Path) -> list[StageProcess]:
    """The stages in threads."""
    makers = [
        partial(gpu.language_model, model, "cpu", 4),
        partial(gpu.flow, model, FlowSettings()),
        partial(gpu.vocoder, model, "cpu"),
    ]
    return [StageProcess(maker, process=False).ready() for maker in makers]


def test_every_stream_speaks_its_length(model: Path, config: AnyConfig) -> None:
    stages = served(model)
    try:
        bench = BenchStages(config, *stages, seconds=2.0)
        runs = run_streams(bench, 2, Settings())
        assert decode_rate(bench.llm, config, 2, 10) > 0
    finally:
        for stage in stages:
            stage.close()
    assert runs.values("audio_s") == [2.0, 2.0] and not runs.refused
    assert all(packets > 1 for packets in runs.values("packets"))


def run(monkeypatch: pytest.MonkeyPatch, *given: Any) -> int:
    monkeypatch.setattr(sys, "argv", ["gpu", *arguments(*given)])
    return gpu.main(processes=False)


@ONE
def test_a_device_that_is_not_there(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, tmp_path, model, "--device", "cuda:9") == 2


@ONE
def test_what_was_measured_stays_whatever_comes_after(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for no second stream, and the language model's process breaks."""
    opening, written, opened = FlowStage.open, [], []

    def full(stage: FlowStage, voice: Any) -> Any:
        opened.append(voice)
        if len(opened) > 2:  # of the warm-up, and of the first stream
            raise Overloaded("no page is free")
        return opening(stage, voice)

    def breaks(*given: Any) -> float:
        raise StageFailed("llm", "out of memory")

    real = gpu.write_json
    monkeypatch.setattr(FlowStage, "open", full)
    monkeypatch.setattr(gpu, "decode_rate", breaks)
    monkeypatch.setattr(gpu.Bench, "parity", lambda bench: {"bf16 mel, error": 0.5})
    monkeypatch.setattr(
        gpu, "write_json", lambda *given: (written.append(len(given[1]["figures"])), real(*given))
    )
    assert run(monkeypatch, tmp_path, model) == 1
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["figures"] == {"refused, 1 stream": 1.0, "bf16 mel, error": 0.5}
    assert found["problems"] == {"language model, 2 streams": "StageFailed: llm: out of memory"}
    assert written == [1, 1, 1, 2], "after each part"


@ONE
def test_what_comes_too_late_is_left_out(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, tmp_path, model, "--minutes", "0") == 1
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["figures"] == {} and found["problems"]["parity"] == "left out: time was over"


def test_a_model_of_random_weights_has_the_given_configuration(
    model: Path, config: AnyConfig
) -> None:
    assert open_model(model).config == config
