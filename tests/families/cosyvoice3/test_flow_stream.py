"""The flow chunk by chunk: equal to one pass with the chunk mask, alone, together and in pages."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from cosyvoice3_flow import tiny_flow, tiny_network
from token2wav_model import (
    CODES,
    assert_equals_one_pass,
    one_pass,
    placed,
    some_codes,
    some_noise,
    some_prompt,
    some_tokens,
    some_voice,
    streamed,
)
from torch import Tensor

from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.paged_solver import PagedSolver
from tritone.acoustic.placement import FlowSettings, PoolSettings
from tritone.errors import InvalidRequest, Overloaded
from tritone.families.cosyvoice2.acoustics import CodeFlow
from tritone.families.cosyvoice2.flow import Flow, FlowPrompt, FlowStep
from tritone.llm.contract import Increment

CLOSE = 1e-4


@pytest.fixture(scope="module")
def flow() -> Flow:
    return tiny_flow()


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def paged_flow(left_chunks: int = 0) -> Flow:
    flow = tiny_flow(left_chunks=left_chunks)
    return Flow(flow.network, flow.euler, PagedSolver(flow.euler, pages=60, streams=20, batch=4))


@pytest.mark.parametrize("prompt_tokens", [0, 1, 24, 25, 27, 28, 53])
def test_any_prompt_equals_one_pass(flow: Flow, prompt_tokens: int) -> None:
    assert_equals_one_pass(flow, some_prompt(prompt_tokens), torch.split(some_tokens(54), 28))


@pytest.mark.parametrize("call", [1, 25, 54])
@pytest.mark.parametrize("prompt_tokens", [0, 27])
def test_any_call_size_equals_one_pass(flow: Flow, prompt_tokens: int, call: int) -> None:
    assert_equals_one_pass(flow, some_prompt(prompt_tokens), torch.split(some_tokens(54), call))


@pytest.mark.parametrize("seed", range(4))
def test_random_splits_of_trimmed_prompts_equal_one_pass(flow: Flow, seed: int) -> None:
    choose = random.Random(seed)
    sizes = [choose.randint(0, 40) for _ in range(choose.randint(1, 6))]
    prompt, trim = some_prompt(choose.randint(24, 90), seed), choose.randint(0, 24)
    prompt = replace(prompt, tokens=prompt.tokens[trim:], mel=prompt.mel[2 * trim :])
    assert_equals_one_pass(
        flow, prompt, torch.split(some_tokens(1 + sum(sizes), seed), [1, *sizes])
    )


@pytest.mark.parametrize(("left_chunks", "prompt_tokens"), [(1, 0), (1, 130), (2, 53), (3, 26)])
def test_bounded_context_equals_its_mask(left_chunks: int, prompt_tokens: int) -> None:
    """Positions count on where frames of the ring are overwritten."""
    prompt, parts = some_prompt(prompt_tokens), torch.split(some_tokens(215), 41)
    bounded = tiny_flow(left_chunks=left_chunks)
    assert_equals_one_pass(bounded, prompt, parts)
    tokens = torch.cat(parts)
    apart = one_pass(bounded, tokens, prompt) - one_pass(tiny_flow(), tokens, prompt)
    assert apart.abs().max() > 20 * CLOSE


@pytest.mark.parametrize("left_chunks", [0, 2])
def test_streams_together_equal_each_alone(left_chunks: int) -> None:
    """At other positions in one step, and the last with a short chunk."""
    flow = tiny_flow(left_chunks=left_chunks)
    prompts = [some_prompt(0), some_prompt(30), some_prompt(97)]
    parts = [torch.split(some_tokens(n), 28) for n in (90, 84, 61)]
    alone = [streamed(flow, p, own) for p, own in zip(prompts, parts, strict=True)]
    assert_together(flow, prompts, parts, alone)


def assert_together(
    flow: Flow,
    prompts: Sequence[FlowPrompt],
    parts: Sequence[Sequence[Tensor]],
    alone: Sequence[Sequence[Tensor]],
) -> None:
    """Each call of streams that step together gives what it gave alone."""
    states = [flow.start(prompt).fork() for prompt in prompts]
    for turn in range(1 + max(map(len, parts))):
        running = [n for n, own in enumerate(parts) if turn <= len(own)]
        steps = []
        for n in running:
            last = turn == len(parts[n])
            tokens = some_tokens(0) if last else parts[n][turn]
            steps.append(FlowStep(tokens, states[n], finalize=last))
        for n, result in zip(running, flow.step_all(steps), strict=True):
            assert not isinstance(result, Overloaded)
            mel, states[n] = result
            torch.testing.assert_close(mel, alone[n][turn], atol=CLOSE, rtol=0)


@pytest.mark.parametrize("left_chunks", [0, 2])
def test_pages_equal_growing_caches(left_chunks: int) -> None:
    """Five streams, four at a time, of which two share a voice; one outgrows its bound."""
    plain = tiny_flow(left_chunks=left_chunks)
    prompts = [some_prompt(n) for n in (0, 30, 75, 75, 3)]
    parts = [torch.split(some_tokens(n, n), 40) for n in (200, 45, 80, 99, 64)]
    alone = [streamed(plain, p, own) for p, own in zip(prompts, parts, strict=True)]
    assert_together(paged_flow(left_chunks), prompts, parts, alone)


@pytest.mark.parametrize("left_chunks", [0, 1])
def test_chunks_at_once_equal_one_pass(left_chunks: int) -> None:
    flow = tiny_flow(left_chunks=left_chunks, most_chunks=3)
    lengths, solve = [], flow.euler.solve
    flow.euler.solve = lambda chunks: lengths.append(len(chunks[0].noise)) or solve(chunks)
    assert_equals_one_pass(
        flow, some_prompt(53), torch.split(some_tokens(240), [28, 60, 30, 100, 22])
    )
    assert max(lengths) == 150 and min(lengths) < 50


def test_two_streams_of_a_voice_share_its_memory_and_nothing_else(flow: Flow) -> None:
    prompt = some_prompt(75)
    voice = flow.start(prompt)
    states = [voice.fork(), voice.fork()]
    assert voice.nbytes > 0 and [state.nbytes for state in states] == [0, 0]
    mels: list[list[Tensor]] = [[], []]
    tokens = [some_tokens(60, seed) for seed in (3, 4)]
    for part in range(3):
        for stream in (0, 1):
            more = tokens[stream][20 * part : 20 * part + 20]
            mel, states[stream] = flow.step(more, states[stream], finalize=part == 2)
            mels[stream].append(mel)
    for stream in (0, 1):
        alone = one_pass(flow, tokens[stream], prompt)
        assert (torch.cat(mels[stream], dim=1) - alone).abs().max() < CLOSE


@pytest.mark.parametrize("most_chunks", [1, 4])
def test_bfloat16_stays_near(flow: Flow, most_chunks: int) -> None:
    settings = FlowSettings(dtype=torch.bfloat16, most_chunks=most_chunks)
    prompt, tokens = some_prompt(40), some_tokens(150)
    mel = torch.cat(streamed(placed(tiny_network(), settings), prompt, [tokens]), dim=1)
    exact = one_pass(flow, tokens, prompt)
    error = (mel - exact).pow(2).mean().sqrt() / exact.std()
    assert 1e-3 < error < 0.02


def test_a_stage_speaks_and_says_what_is_wrong(flow: Flow) -> None:
    stage = FlowStage(CodeFlow(flow, some_noise()), FlowSettings())
    stage.warm_up()
    voice, tokens = some_voice(30), some_codes(40)
    mel, _ = stage.step(tokens, stage.open(voice), finalize=True)
    prompt = replace(some_prompt(30), noise=some_noise())
    assert (torch.from_numpy(mel) - one_pass(flow, some_tokens(40), prompt)).abs().max() < CLOSE
    assert stage.whole(tokens, voice).shape == mel.shape == (80, 80)
    wrong = Increment(np.full(1, CODES, np.int32))
    with pytest.raises(InvalidRequest, match=r"holds 97; codes are 0\.\.96"):
        stage.step(wrong, stage.open(voice), finalize=True)


def test_a_pooled_stage_equals_the_model(flow: Flow) -> None:
    settings = FlowSettings(pool=PoolSettings(cache_mb=64, streams=8, batch=2), dtype=torch.float32)
    stage = FlowStage(CodeFlow(placed(tiny_network(), settings), some_noise()), settings)
    stage.warm_up()
    mel, _ = stage.step(some_codes(40), stage.open(some_voice(30)), finalize=True)
    expected = one_pass(flow, some_tokens(40), some_prompt(30))
    assert (torch.from_numpy(mel) - expected).abs().max() < CLOSE
