"""The models and streams that the benchmarks run, on a small model."""

import json
import sys
from pathlib import Path

import pytest
from small_models import small_cosyvoice2, small_cosyvoice3

from benchmarks import gpu
from benchmarks.full_size import AnyConfig
from benchmarks.random_model import write_model
from benchmarks.streams import BenchStages, decode_rate, run_streams
from tritone.acoustic.placement import FlowSettings, VocoderSettings
from tritone.families import open_model
from tritone.llm.torch.opening import open_torch
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


def test_every_stream_speaks_its_length(model: Path, config: AnyConfig) -> None:
    llm = open_torch(model, config, device="cpu", dtype="fp32", slots=2)
    family = open_model(model).family
    flow = family.load_flow(model, config, FlowSettings())
    vocoder = family.load_vocoder(model, config, VocoderSettings())
    stages = BenchStages(config, llm, flow, vocoder, seconds=2.0)
    try:
        runs = run_streams(stages, 2, Settings())
        assert decode_rate(llm, config, 2, 10) > 0
    finally:
        llm.close()
    assert [run.audio_s for run in runs] == [2.0, 2.0]
    assert all(run.first_packet_s and run.packets > 1 for run in runs)


def test_the_gpu_benchmark_runs_on_a_cpu(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = "--device cpu --streams 1 --llm-streams 1 2 --rounds 1 --seconds 1 --cache-mb 200"
    command = ["bench_gpu", "--model", str(model), "--out", str(tmp_path), *arguments.split()]
    monkeypatch.setattr(sys, "argv", command)
    assert gpu.main() == 0
    figures = json.loads((tmp_path / "gpu.json").read_text())["figures"]
    assert 0 < figures["bf16 logits, error"] < 0.1
    assert 0 < figures["bf16 mel, error"] < 0.1
    assert figures["LLM tokens/s, 2 streams"] > 0 < figures["first packet, 1 stream, p50, ms"]
    assert "at most 90" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*command, "--device", "cuda:9"])
    assert gpu.main() == 2


def test_a_model_of_random_weights_has_the_given_configuration(
    model: Path, config: AnyConfig
) -> None:
    assert open_model(model).config == config
