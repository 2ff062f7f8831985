"""A release by its commands to everything that a GPU is given, held against upstream's numbers."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cosyvoice3_release import cosyvoice3_release
from parity.golden import Golden, prompt_of
from paths import PROJECT
from released_checkpoint import GOLDEN, change_state, released_checkpoint
from safetensors.torch import load_file
from torch import Tensor
from trtllm_reader import logits

from tritone.engines.export import onnx_path, run, session_of
from tritone.engines.plan import PlanSolver
from tritone.engines.sources import Profiles
from tritone.families import open_model
from tritone.families.cosyvoice2 import acoustics as cosyvoice2
from tritone.families.cosyvoice2.flow import Flow
from tritone.families.cosyvoice3 import acoustics as cosyvoice3
from tritone.families.cosyvoice3.graphs import turn_input

pytestmark = pytest.mark.slow

COSYVOICE3 = GOLDEN / "cosyvoice3"
RELEASED_TEXT_IDS = 151924  # of CosyVoice3; the tiny release has fewer
EMBEDDING = "llm.model.model.embed_tokens.weight"
CASES = ("c0", "c1", "c2")


def command(script: str, *arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, f"scripts/{script}.py", *map(str, arguments)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module", params=["cosyvoice2", "cosyvoice3"])
def model(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path_factory.mktemp("release")
    release = folder / "tiny"
    if request.param == "cosyvoice2":
        released_checkpoint(release)
    else:
        cosyvoice3_release(release)
        table = torch.load(release / "llm.pt", weights_only=True)[EMBEDDING].clone()
        table[: len(text_ids())] = table[text_ids().long()]
        change_state(release / "llm.pt", **{EMBEDDING.replace(".", "__"): table})
    command("convert", release, folder / "model")
    command("convert_checkpoint", "--model_dir", folder / "model", "--dtype", "float32")
    command("build_engines", folder / "model", "--export-only", "--parts", "flow,vocoder")
    return folder / "model"


def golden_logits(folder: str) -> dict[str, Tensor]:
    return load_file(GOLDEN / folder / "llm_logits.safetensors")


def text_ids() -> Tensor:
    """Those of CosyVoice3's golden prompts, sorted: the first rows of the tiny release."""
    golden = golden_logits("cosyvoice3")
    every = torch.cat([golden[f"{case}.merged_input_ids"][0] for case in CASES])
    return every[every < RELEASED_TEXT_IDS].unique()


def exported(model: Path, name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return partial(run, session_of(onnx_path(model, name)))


@pytest.mark.parametrize("case", CASES)
def test_the_checkpoint_gives_upstreams_logits(model: Path, case: str) -> None:
    opened = open_model(model)
    llm = opened.language_model.llm
    third = opened.family.name == "cosyvoice3"
    golden = golden_logits("cosyvoice3" if third else "llm_frontend")
    ids = golden[f"{case}.merged_input_ids"][0]
    if third:
        codes = ids - RELEASED_TEXT_IDS + llm.speech_offset
        ids = torch.where(ids < RELEASED_TEXT_IDS, torch.searchsorted(text_ids(), ids), codes)
    rows = slice(llm.speech_offset, llm.speech_offset + llm.speech_head_size)
    bias = load_file(model / "llm" / "model.safetensors")["lm_head.bias"]
    checkpoint = model / "llm" / "trtllm" / "float32"
    last = (logits(checkpoint, ids.numpy())[-1:] + bias)[:, rows]
    torch.testing.assert_close(last, golden[f"{case}.logits_last"], atol=1e-4, rtol=0)


def test_the_exported_estimator_gives_upstreams_mel(model: Path) -> None:
    opened = open_model(model)
    placed: dict[str, Any] = {}
    if opened.family.name == "cosyvoice3":
        golden = Golden(COSYVOICE3, "flow_stream")
        flow = Flow.of(cosyvoice3.load_network(model, opened.config))
        placed["placed"] = partial(turn_input, head_dim=flow.euler.estimator.head_dim)
    else:
        golden = Golden(GOLDEN / "token2wav", "flow_stream")
        flow = Flow.of(cosyvoice2.load_network(model, opened.config))
    flow.solver = PlanSolver(
        exported(model, "estimator_step"),
        flow.euler,
        device=torch.device("cpu"),
        cache_dtype=torch.float32,
        most_frames=Profiles().past_frames.most,
        **placed,
    )
    prompt = prompt_of(golden)
    missing = opened.config.flow.spk_embed_dim - len(prompt.embedding)
    prompt = replace(prompt, embedding=F.pad(prompt.embedding, (0, missing)))
    parts = torch.split(golden["token"][0].long(), 31)
    with torch.inference_mode():
        state, mels = flow.start(prompt), []
        for index, part in enumerate(parts):
            mel, state = flow.step(part, state, finalize=index == len(parts) - 1)
            mels.append(mel)
    upstream = golden["mel_final_stream_true"][0]
    torch.testing.assert_close(torch.cat(mels, dim=1), upstream, atol=1e-4, rtol=0)


def test_the_exported_vocoder_gives_upstreams_waveform(model: Path) -> None:
    opened = open_model(model)
    if opened.family.name == "cosyvoice3":
        golden, name = Golden(COSYVOICE3, "hift_decode"), "vocoder_opening"
        network: Any = cosyvoice3.load_hift(model, opened.config)
        mel = F.pad(golden["mel"], (0, network.look_right))
    else:
        golden, name = Golden(GOLDEN / "token2wav", "hift_decode"), "vocoder"
        network, mel = cosyvoice2.load_hift(model, opened.config), golden["mel"]
    with torch.inference_mode():
        spectrum = network.analyse(golden["source"][:, 0])
        bins = exported(model, name)({"mel": mel, "spectrum": spectrum})["bins"]
        waveform = network.synthesise(bins)
    torch.testing.assert_close(waveform, golden["wav"], atol=1e-4, rtol=0)
