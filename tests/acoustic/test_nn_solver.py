"""The solver: several streams in one step, and cheaper ways through the ODE."""

from collections.abc import Iterator
from typing import get_args

import pytest
import torch
from token2wav_model import (
    assert_equals_one_pass,
    some_prompt,
    some_tokens,
    streamed,
    tiny_flow,
    tiny_network,
)

from tritone.acoustic.presets import Method
from tritone.errors import Overloaded
from tritone.families.cosyvoice2.flow import Flow, FlowStep

pytestmark = pytest.mark.slow

CLOSE = 1e-4


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("left_chunks", [0, 2])
def test_streams_together_equal_each_alone(left_chunks: int) -> None:
    """Streams of other prompts, at other places, one of which ends with a short chunk."""
    flow = tiny_flow(left_chunks=left_chunks)
    prompts = [some_prompt(0), some_prompt(30), some_prompt(47)]
    parts = [torch.split(some_tokens(n), 28) for n in (90, 84, 61)]
    alone = [streamed(flow, p, own) for p, own in zip(prompts, parts, strict=True)]
    states = [flow.start(prompt).fork() for prompt in prompts]
    nothing = some_tokens(0)
    for turn in range(5):
        steps = [
            FlowStep(own[turn] if turn < len(own) else nothing, state, finalize=turn == len(own))
            for own, state in zip(parts, states, strict=True)
        ]
        for stream, result in enumerate(flow.step_all(steps)):
            assert not isinstance(result, Overloaded)
            mel, states[stream] = result
            expected = alone[stream][turn] if turn <= len(parts[stream]) else mel[:, :0]
            assert mel.shape == expected.shape
            torch.testing.assert_close(mel, expected, atol=CLOSE, rtol=0)


@pytest.mark.parametrize("left_chunks", [0, 1, 3])
@pytest.mark.parametrize("prompt_tokens", [0, 53])
def test_chunks_at_once_equal_one_pass(left_chunks: int, prompt_tokens: int) -> None:
    """Up to three at once, the last one short, past the end of the longest ring."""
    flow = tiny_flow(left_chunks=left_chunks, most_chunks=3)
    lengths, solve = [], flow.euler.solve
    flow.euler.solve = lambda chunks: lengths.append(len(chunks[0].noise)) or solve(chunks)
    prompt, tokens = some_prompt(prompt_tokens), some_tokens(240)
    mel = torch.cat(streamed(flow, prompt, torch.split(tokens, [28, 60, 30, 100, 22])), dim=1)
    whole = flow(tokens, prompt, chunked=True, finalize=True)
    torch.testing.assert_close(mel, whole, atol=CLOSE, rtol=0)
    assert max(lengths) == 150 and min(lengths) < 50


def test_fewer_guided_steps_leave_the_others_unguided() -> None:
    """Without guidance the rows without conditions are not computed, and chunks stay exact."""
    guided, partly = tiny_flow(), Flow.of(tiny_network(guided_steps=1))
    prompt, parts = some_prompt(30), torch.split(some_tokens(60), 28)
    tokens = torch.cat(parts)
    whole = [flow(tokens, prompt, chunked=True, finalize=True) for flow in (partly, guided)]
    assert (whole[0] - whole[1]).abs().max() > CLOSE
    mel = torch.cat(streamed(partly, prompt, parts), dim=1)
    torch.testing.assert_close(mel, whole[0], atol=CLOSE, rtol=0)
    assert partly.start(prompt).nbytes < 0.8 * guided.start(prompt).nbytes


@pytest.mark.parametrize("solver", get_args(Method))
@pytest.mark.parametrize("guided_from", [1, 2])
def test_a_stream_of_any_solver_equals_one_pass(solver: Method, guided_from: int) -> None:
    """What a step remembers is of its own chunk."""
    flow = Flow.of(tiny_network(5, solver=solver, guided_from=guided_from))
    assert_equals_one_pass(flow, some_prompt(30), torch.split(some_tokens(84), 28))
