"""Stages on plans of this machine, on a stand-in for TensorRT: near those on torch, or refused."""

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_models import exported, sources_of, tasks_of
from fake_gpu import H200, plug_in

from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.placement import FlowSettings, VocoderSettings
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.arrays import Float32
from tritone.engines.tasks import run_tasks
from tritone.errors import EnvironmentProblem, ModelDirectoryError
from tritone.families import open_model
from tritone.families.cosyvoice2.voice import Voice
from tritone.llm.contract import Increment

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch)


def served(folder: Path) -> set[str]:
    sources = sources_of(folder)
    graphs = [graph for part in sources.parts for graph in sources.outlines(part)]
    return {graph.name for graph in graphs if graph.served}


@pytest.fixture
def model(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A flow and a vocoder with the plans that `tritone engines` builds by itself."""
    folder, family = tmp_path / "model", getattr(request, "param", "cosyvoice2")
    shutil.copytree(exported(family).model_dir, folder)
    tasks = tasks_of(sources_of(folder), ("flow", "vocoder"), "float16", H200)
    wanted = [task for task in tasks if task.name.split()[-1] in served(folder)]
    states = [o.state for o in run_tasks(wanted, force=False) if o.name.startswith("plan")]
    assert states == ["built"] * len(served(folder))
    return folder


def flow_stage(folder: Path, settings: FlowSettings) -> FlowStage:
    model = open_model(folder)
    return model.family.load_flow(folder, model.config, settings)


def vocoder_stage(folder: Path, settings: VocoderSettings) -> VocoderStage:
    model = open_model(folder)
    return model.family.load_vocoder(folder, model.config, settings)


def mel_of(stage: FlowStage, voice: Voice) -> Float32:
    tokens = np.arange(60, dtype=np.int32) * 31 % 6561
    state, mels = stage.open(voice), []
    for part, finalize in ((tokens[:40], False), (tokens[40:], True)):
        mel, state = stage.step(Increment(part), state, finalize=finalize)
        mels.append(mel)
    return np.concatenate(mels, axis=1)


def relative(found: Float32, exact: Float32) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("model", ["cosyvoice2", "cosyvoice3"], indirect=True)
def test_a_stage_on_plans_is_near_one_on_torch(model: Path) -> None:
    voice = Voice(
        np.zeros(0, np.int32), np.zeros((0, 80), np.float32), np.ones(192, dtype=np.float32)
    )
    exact = mel_of(flow_stage(model, FlowSettings()), voice)
    mel = mel_of(flow_stage(model, FlowSettings(plans=True, dtype=torch.float16)), voice)
    assert mel.shape == exact.shape == (80, 120)
    assert 0 < relative(mel, exact) < 0.02

    waves = []
    for plans in (False, True):
        stage = vocoder_stage(model, VocoderSettings(plans=plans, dtype=torch.float16))
        state, parts = stage.start(seed=0, speed=1.0), []
        for begin, end in pairwise((0, 24, 72, 120)):
            wave, state = stage.step(exact[:, begin:end], state, finalize=end == 120)
            parts.append(wave)
        waves.append(np.concatenate(parts))
    assert waves[0].shape == waves[1].shape == (120 * 480,)
    assert 0 < relative(waves[1], waves[0]) < 0.1


def test_plans_of_another_precision_are_refused(model: Path) -> None:
    with pytest.raises(ModelDirectoryError, match="bfloat16"):
        flow_stage(model, FlowSettings(plans=True, dtype=torch.bfloat16))


def test_a_plan_does_not_bound_the_past(model: Path) -> None:
    settings = FlowSettings(plans=True, dtype=torch.float16, left_chunks=4)
    with pytest.raises(EnvironmentProblem, match="left_context_chunks is 4"):
        flow_stage(model, settings)
