"""Flow and vocoder from a model directory."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from indextts2_acoustic import FLOW, VOCODER, flow_network, vocoder_network
from safetensors.torch import load_file, save_file

from tritone.acoustic.placement import FlowSettings, VocoderSettings
from tritone.errors import EnvironmentProblem, ModelDirectoryError
from tritone.families.indextts2.acoustic_config import FlowConfig, VocoderConfig
from tritone.families.indextts2.acoustics import FLOW_FILE, VOCODER_FILE, load_flow, load_vocoder
from tritone.families.indextts2.pace import frames_of


@dataclass(frozen=True)
class Config:
    flow: FlowConfig = FLOW
    vocoder: VocoderConfig = VOCODER


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_file(flow_network().state_dict(), folder / FLOW_FILE)
    save_file(vocoder_network().state_dict(), folder / VOCODER_FILE)
    return folder


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_it_speaks(model: Path, dtype: torch.dtype | None) -> None:
    flow = load_flow(model, Config(), FlowSettings(dtype=dtype))
    vocoder = load_vocoder(model, Config(), VocoderSettings(dtype=dtype))
    flow.warm_up()
    vocoder.warm_up()
    voice, increment = flow.flow.example()
    mel, state = flow.step(increment, flow.open(voice), finalize=False)
    rest, _ = flow.step(increment, state, finalize=True)
    frames = np.concatenate([mel, rest], axis=1)
    wave, _ = vocoder.step(frames, vocoder.start(seed=0, speed=1.0), finalize=True)
    assert frames.shape == (FLOW.mel, frames_of(100))
    assert wave.shape == (frames_of(100) * VOCODER.samples_per_frame,)
    assert 0.01 < np.abs(wave).max() <= 1


def test_what_cannot_be_is_refused_by_name(model: Path, tmp_path: Path) -> None:
    for settings, problem in (
        (FlowSettings(plans=True), "has no plans; set it to torch"),
        (FlowSettings(left_chunks=3), "left_context_chunks is 3: .* set it to auto"),
        (FlowSettings(device="tpu"), "device 'tpu' is unknown"),
    ):
        with pytest.raises(EnvironmentProblem, match=problem):
            load_flow(model, Config(), settings)
    with pytest.raises(EnvironmentProblem, match="has no plans"):
        load_vocoder(model, Config(), VocoderSettings(plans=True))
    with pytest.raises(ModelDirectoryError, match=r"flow\.safetensors does not exist"):
        load_flow(tmp_path, Config(), FlowSettings())


def test_weights_of_other_numbers_are_refused(model: Path, tmp_path: Path) -> None:
    wide = VOCODER.model_copy(update={"channels": 32})
    with pytest.raises(ModelDirectoryError, match=r"has input\.weight \[16, 8, 7\] where"):
        load_vocoder(model, Config(vocoder=wide), VocoderSettings())
    state = load_file(model / FLOW_FILE)
    state["features.codebook.weight"][3, 3] = torch.nan
    save_file(state, tmp_path / FLOW_FILE)
    with pytest.raises(ModelDirectoryError, match=r"codebook\.weight has values that are NaN"):
        load_flow(tmp_path, Config(), FlowSettings())


@pytest.mark.parametrize(
    ("part", "changes", "problem"),
    [
        ("estimator", {"width": 18}, "width is 18; 2 heads of pairs of channels need a multiple"),
        ("vocoder", {"upsample_rates": (8,)}, "1 rates and 1 block kernels need as many"),
        ("vocoder", {"channels": 18}, "channels is 18; 2 stages halve it"),
        ("vocoder", {"upsample_kernels": (15, 8)}, "a kernel of 15 does not upsample by 8"),
        ("vocoder", {"upsample_kernels": (4, 8)}, "a kernel of 4 does not upsample by 8"),
    ],
)
def test_numbers_that_make_no_network_are_refused(
    part: str, changes: dict[str, object], problem: str
) -> None:
    config = FLOW.estimator if part == "estimator" else VOCODER
    with pytest.raises(ValueError, match=problem):
        type(config).model_validate({**config.model_dump(), **changes})
