"""A flow's solver on its exported estimator: the frames that it gives on torch."""

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from engine_models import runner
from token2wav_model import some_prompt, some_tokens, tiny_flow, tiny_network
from torch import Tensor

from tritone.engines.export import export
from tritone.engines.plan import PlanSolver
from tritone.engines.sources import Profiles
from tritone.errors import Overloaded
from tritone.families.cosyvoice2.graphs import EstimatorStepGraph

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@cache
def tiny_step() -> Path:
    """The exported estimator step of the tiny flow."""
    folder = Path(tempfile.mkdtemp(prefix="step"))
    atexit.register(shutil.rmtree, folder)
    export(EstimatorStepGraph(tiny_network(), Profiles()), folder / "step.onnx")
    return folder / "step.onnx"


def stream_solver(most_frames: int = 3000) -> tuple[PlanSolver, list[int]]:
    """A tiny flow's solver on its exported estimator, and the frames of each call."""
    session, calls = runner(tiny_step()), []

    def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        calls.append(inputs["x"].shape[1])
        return session(inputs)

    solver = PlanSolver(
        run,
        tiny_flow().euler,
        device=torch.device("cpu"),
        cache_dtype=torch.float32,
        most_frames=most_frames,
    )
    return solver, calls


def test_a_stream_through_the_exported_estimator_is_flow_step() -> None:
    """Prompt, several chunks that outgrow the first cache, a fork, and a short last chunk."""
    flow, prompt = tiny_flow(), some_prompt(60)
    tokens = [some_tokens(40), some_tokens(70, seed=5), some_tokens(9, seed=6)]
    expected, state = [], flow.start(prompt).fork()
    for index, part in enumerate(tokens):
        mel, state = flow.step(part, state, finalize=index == 2)
        expected.append(mel)
    flow.solver, calls = stream_solver()
    voice = flow.start(prompt)
    for _ in range(2):  # a voice's state serves any number of streams
        state = voice.fork()
        for index, part in enumerate(tokens):
            mel, state = flow.step(part, state, finalize=index == 2)
            assert mel.shape == expected[index].shape
            torch.testing.assert_close(mel, expected[index], rtol=0, atol=2e-5)
    assert sorted(set(calls)) == [8, 50]  # 179 tokens: 4 in the last chunk


def test_a_stream_beyond_the_plan_is_refused() -> None:
    flow = tiny_flow()
    flow.solver, _ = stream_solver(most_frames=120)
    state = flow.start(some_prompt(0))
    _, state = flow.step(some_tokens(50), state, finalize=False)
    with pytest.raises(
        Overloaded, match="a stream of 100 mel frames goes on; the estimator's plan takes 120"
    ):
        flow.step(some_tokens(60), state, finalize=True)
