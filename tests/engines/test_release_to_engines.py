"""A release by its commands to everything that a GPU is given, held against upstream's numbers."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from parity.golden import Golden, prompt_of
from paths import PROJECT
from released_checkpoint import GOLDEN, released_checkpoint
from safetensors.torch import load_file
from torch import Tensor
from trtllm_reader import logits

from tritone.engines.export import onnx_path, run, session_of
from tritone.engines.plan import PlanSolver
from tritone.engines.sources import Profiles
from tritone.families.cosyvoice2.acoustics import load_hift, load_network
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.flow import Flow
from tritone.families.cosyvoice2.merge_llm import read_merged

pytestmark = pytest.mark.slow


def command(script: str, *arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, f"scripts/{script}.py", *map(str, arguments)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    release = released_checkpoint(folder / "CosyVoice2-tiny")
    command("convert", release, folder / "model")
    command("convert_checkpoint", "--model_dir", folder / "model", "--dtype", "float32")
    command("build_engines", folder / "model", "--export-only", "--parts", "flow,vocoder")
    return folder / "model"


def exported(model: Path, name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return partial(run, session_of(onnx_path(model, name)))


@pytest.mark.parametrize("case", ["c0", "c1", "c2"])
def test_the_checkpoint_gives_upstreams_logits(model: Path, case: str) -> None:
    golden = load_file(GOLDEN / "llm_frontend" / "llm_logits.safetensors")
    llm = read_merged(model / "llm")
    rows = slice(llm.speech_offset, llm.speech_offset + llm.speech_head_size)
    bias = load_file(model / "llm" / "model.safetensors")["lm_head.bias"]
    ids = golden[f"{case}.merged_input_ids"][0].numpy()
    last = (logits(model / "llm" / "trtllm" / "float32", ids)[-1:] + bias)[:, rows]
    torch.testing.assert_close(last, golden[f"{case}.logits_last"], atol=1e-4, rtol=0)


def test_the_exported_estimator_gives_upstreams_mel(model: Path) -> None:
    golden = Golden(GOLDEN / "token2wav", "flow_stream")
    flow = Flow.of(load_network(model, CosyVoice2Config.read(model)))
    flow.solver = PlanSolver(
        exported(model, "estimator_step"),
        flow.euler,
        device=torch.device("cpu"),
        cache_dtype=torch.float32,
        most_frames=Profiles().past_frames.most,
    )
    parts = torch.split(golden["token"][0].long(), 31)
    with torch.inference_mode():
        state, mels = flow.start(prompt_of(golden)), []
        for index, part in enumerate(parts):
            mel, state = flow.step(part, state, finalize=index == len(parts) - 1)
            mels.append(mel)
    upstream = golden["mel_final_stream_true"][0]
    torch.testing.assert_close(torch.cat(mels, dim=1), upstream, atol=1e-4, rtol=0)


def test_the_exported_vocoder_gives_upstreams_waveform(model: Path) -> None:
    golden = Golden(GOLDEN / "token2wav", "hift_decode")
    network = load_hift(model, CosyVoice2Config.read(model))
    mel, source = golden["mel"], golden["source"][:, 0]
    with torch.inference_mode():
        spectrum = network.analyse(source)
        bins = exported(model, "vocoder")({"mel": mel, "spectrum": spectrum})["bins"]
        waveform = network.synthesise(bins)
    torch.testing.assert_close(waveform, golden["wav"], atol=1e-4, rtol=0)
