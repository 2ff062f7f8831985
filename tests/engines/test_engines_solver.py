"""A flow's solver on its exported estimator: the frames that it gives on torch."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import cosyvoice3_flow
import pytest
import token2wav_model
import torch
from engine_models import runner
from token2wav_model import some_prompt, some_tokens
from torch import Tensor

from tritone.engines.export import export
from tritone.engines.plan import PlanSolver
from tritone.engines.sources import Graph, Profiles
from tritone.errors import Overloaded
from tritone.families.cosyvoice2.flow import Flow
from tritone.families.cosyvoice2.graphs import EstimatorStepGraph
from tritone.families.cosyvoice3 import graphs as cosyvoice3

pytestmark = pytest.mark.slow

FAMILIES = ["cosyvoice2", "cosyvoice3"]


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def tiny_flow(family: str) -> Flow:
    models: dict[str, Callable[[], Flow]] = {
        "cosyvoice2": token2wav_model.tiny_flow,
        "cosyvoice3": cosyvoice3_flow.tiny_flow,
    }
    return models[family]()


def step_graph(family: str) -> Graph:
    if family == "cosyvoice2":
        return EstimatorStepGraph(token2wav_model.tiny_network(), Profiles())
    return cosyvoice3.EstimatorStepGraph(cosyvoice3_flow.tiny_network(), Profiles())


@cache
def tiny_step(family: str) -> Path:
    """The exported estimator step of the tiny flow."""
    folder = Path(tempfile.mkdtemp(prefix="step"))
    atexit.register(shutil.rmtree, folder)
    export(step_graph(family), folder / "step.onnx")
    return folder / "step.onnx"


def stream_solver(
    family: str, most_frames: int = 3000, flow: Flow | None = None
) -> tuple[PlanSolver, list[int]]:
    """A tiny flow's solver on its exported estimator, and the frames of each call."""
    session, calls = runner(tiny_step(family)), []
    flow, places = flow or tiny_flow(family), dict[str, Any]()
    if family == "cosyvoice3":
        head_dim = flow.euler.estimator.head_dim
        places["placed"] = partial(cosyvoice3.turn_input, head_dim=head_dim)

    def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        calls.append(inputs["x"].shape[1])
        return session(inputs)

    solver = PlanSolver(
        run,
        flow.euler,
        device=torch.device("cpu"),
        cache_dtype=torch.float32,
        most_frames=most_frames,
        **places,
    )
    return solver, calls


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stream_through_the_exported_estimator_is_flow_step(family: str) -> None:
    """Prompt, several chunks that outgrow the first cache, a fork, and a short last chunk."""
    flow, prompt = tiny_flow(family), some_prompt(60)
    tokens = [some_tokens(40), some_tokens(70, seed=5), some_tokens(9, seed=6)]
    expected, state = [], flow.start(prompt).fork()
    for index, part in enumerate(tokens):
        mel, state = flow.step(part, state, finalize=index == 2)
        expected.append(mel)
    flow.solver, calls = stream_solver(family)
    voice = flow.start(prompt)
    for _ in range(2):  # a voice's state serves any number of streams
        state = voice.fork()
        for index, part in enumerate(tokens):
            mel, state = flow.step(part, state, finalize=index == 2)
            assert mel.shape == expected[index].shape
            torch.testing.assert_close(mel, expected[index], rtol=0, atol=2e-5)
    assert sorted(set(calls)) == [8, 50]  # 179 tokens: 4 in the last chunk


def test_steps_that_remember_and_are_not_guided_are_flow_step() -> None:
    network = token2wav_model.tiny_network(5, solver="dpm2m", guided_from=2)
    flow, prompt, parts = Flow.of(network), some_prompt(30), [some_tokens(40), some_tokens(33)]
    expected = token2wav_model.streamed(flow, prompt, parts)
    flow.solver, _ = stream_solver("cosyvoice2", flow=flow)
    for mel, wanted in zip(token2wav_model.streamed(flow, prompt, parts), expected, strict=True):
        torch.testing.assert_close(mel, wanted, rtol=0, atol=2e-5)


def test_a_stream_beyond_the_plan_is_refused() -> None:
    flow = tiny_flow("cosyvoice2")
    flow.solver, _ = stream_solver("cosyvoice2", most_frames=120)
    state = flow.start(some_prompt(0))
    _, state = flow.step(some_tokens(50), state, finalize=False)
    with pytest.raises(
        Overloaded, match="a stream of 100 mel frames goes on; the estimator's plan takes 120"
    ):
        flow.step(some_tokens(60), state, finalize=True)
