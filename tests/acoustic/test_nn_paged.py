"""Several streams solved together in a pool of pages: equal to each alone, and nothing leaks."""

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import numpy as np
import pytest
import torch
from paged_flow import CLOSE, paged_flow, places, spoken
from token2wav_model import (
    placed,
    some_codes,
    some_noise,
    some_prompt,
    some_tokens,
    some_voice,
    tiny_flow,
    tiny_network,
    tiny_stage,
)
from torch import Tensor

from tritone.acoustic.flow_stage import FlowStage, StageStep
from tritone.acoustic.paged_solver import PagedSolver
from tritone.acoustic.placement import FlowSettings, PoolSettings
from tritone.acoustic.presets import Method
from tritone.errors import Cancelled, EnvironmentProblem, InvalidRequest, Overloaded
from tritone.families.cosyvoice2.acoustics import CodeFlow
from tritone.families.cosyvoice2.flow import Flow, FlowPrompt, FlowStep
from tritone.llm.contract import Increment

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("prompt_tokens", [0, 3, 25, 53, 75])
@pytest.mark.parametrize("left_chunks", [0, 2])
def test_a_stream_equals_the_euler_solver(prompt_tokens: int, left_chunks: int) -> None:
    prompt, parts = some_prompt(prompt_tokens), torch.split(some_tokens(190), 40)
    plain = tiny_flow(left_chunks=left_chunks)
    expected = spoken(plain, plain.start(prompt).fork(), parts)
    paged = paged_flow(left_chunks=left_chunks)
    found = spoken(paged, paged.start(prompt).fork(), parts)
    assert found.shape == expected.shape == (80, 380)
    assert (found - expected).abs().max() < CLOSE


@pytest.mark.parametrize("solver", get_args(Method))
@pytest.mark.parametrize("guided", [{}, {"guided_from": 2}, {"guided_steps": 2}])
def test_any_solver_equals_that_of_caches(solver: Method, guided: dict[str, int]) -> None:
    """Of a prompt of two chunks, which go together, and of steps without guidance."""
    network = tiny_network(5, solver=solver, **guided)
    prompt, parts = some_prompt(53), torch.split(some_tokens(90), 40)
    plain, paged = Flow.of(network), paged_flow(network=network)
    expected = spoken(plain, plain.start(prompt).fork(), parts)
    found = spoken(paged, paged.start(prompt).fork(), parts)
    assert (found - expected).abs().max() < CLOSE


def test_streams_of_all_lengths_step_together() -> None:
    """Seven streams, four at a time, join late, end apart, and two share a voice."""
    plain, paged = tiny_flow(), paged_flow(pages=60, streams=20)
    prompts: list[FlowPrompt] = [some_prompt(n) for n in (0, 30, 75)]
    lengths, seeds = (20, 45, 80, 130, 31, 99, 64), range(7)
    texts = [some_tokens(n, seed) for n, seed in zip(lengths, seeds, strict=True)]
    voices = [paged.start(prompt) for prompt in prompts]
    states = [voices[seed % 3].fork() for seed in seeds]
    mels: list[list[Tensor]] = [[] for _ in seeds]
    for turn in range(6):
        running = [i for i in seeds if i <= turn + 2 and len(texts[i])]
        steps = []
        for i in running:
            part, texts[i] = texts[i][:40], texts[i][40:]
            steps.append(FlowStep(part, states[i], finalize=not len(texts[i])))
        for i, result in zip(running, paged.step_all(steps), strict=True):
            assert not isinstance(result, Overloaded)
            mels[i].append(result[0])
            states[i] = result[1]
    for i in seeds:
        alone = spoken(plain, plain.start(prompts[i % 3]).fork(), [some_tokens(lengths[i], i)])
        together = torch.cat(mels[i], dim=1)
        assert together.shape == alone.shape
        assert (together - alone).abs().max() < CLOSE


def test_what_a_stream_held_is_free_when_it_is_dropped() -> None:
    flow = paged_flow()
    before = places(flow)
    voice = flow.start(some_prompt(53))  # two chunks depend on the voice alone
    assert places(flow) == (before[0] - 2, before[1] - 1)
    stream = voice.fork()
    assert stream.nbytes == 0
    _, stream = flow.step(some_tokens(60), stream, finalize=False)
    assert places(flow)[0] == before[0] - 4
    assert isinstance(flow.solver, PagedSolver)
    assert stream.solution.nbytes == 2 * flow.solver.page_bytes
    del voice
    assert places(flow) == (before[0] - 4, before[1] - 1)  # the stream still reads the prompt
    del stream, _
    assert places(flow) == before


def test_bounded_context_bounds_the_pages() -> None:
    flow = paged_flow(pages=8, left_chunks=2)
    state = flow.start(some_prompt(53)).fork()
    for part in torch.split(some_tokens(500), 25):
        _, state = flow.step(part, state, finalize=False)
    assert len(state.solution.pages) == 2 + 3


def test_a_stream_is_admitted_with_all_the_pages_it_will_need() -> None:
    """The last one is refused before it says a word, and no other in mid-sentence."""
    flow = paged_flow(pages=8, left_chunks=2)
    voice = flow.start(some_prompt(53))
    states = [voice.fork() for _ in range(2)]
    with pytest.raises(Overloaded, match="8 pages of the flow's cache are in use"):
        voice.fork()
    for part in torch.split(some_tokens(200), 50):
        for index, result in enumerate(
            flow.step_all([FlowStep(part, state, finalize=False) for state in states])
        ):
            assert not isinstance(result, Overloaded)
            states[index] = result[1]
    assert places(flow)[0] == 0
    del states, result
    assert places(flow)[0] == 6


def test_voices_that_nobody_uses_make_room_for_streams() -> None:
    flow, settings = paged_flow(pages=8, left_chunks=2), FlowSettings(pool=PoolSettings(1))
    stage = FlowStage(CodeFlow(flow, some_noise()), settings)
    for seed in range(5):  # each of two pages, and three for a stream
        stage.open(some_voice(53, seed))
    kept = stage.open(some_voice(53, 4))
    with pytest.raises(Overloaded, match="8 pages"):
        stage.open(some_voice(53, 9))
    del kept
    stage.open(some_voice(53, 9))


def test_a_voice_that_is_used_stays_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Giving it up would free nothing, and its next stream would compute the prompt again."""
    flow, settings = paged_flow(pages=12, left_chunks=2), FlowSettings(pool=PoolSettings(1))
    stage = FlowStage(CodeFlow(flow, some_noise()), settings)
    streams = [stage.open(some_voice(53, seed)) for seed in (1, 2)]
    before, passes = places(flow), list[object]()
    monkeypatch.setattr(flow, "start", lambda prompt: passes.append(prompt))
    for seed in (1, 2, 1):
        with pytest.raises(Overloaded, match="12 pages"):
            stage.open(some_voice(53, seed))
    assert (places(flow), passes) == (before, [])
    streams.clear()
    stage.open(some_voice(53, 1))
    assert passes == []


def test_a_prompt_that_got_part_of_its_pages_gives_them_back() -> None:
    flow, settings = paged_flow(pages=13, left_chunks=1), FlowSettings(pool=PoolSettings(1))
    stage = FlowStage(CodeFlow(flow, some_noise()), settings)
    gc.disable()
    try:
        for seed in range(3):
            stage.open(some_voice(78, seed))
        stage.open(some_voice(178, 9))  # needs what the three have, which nobody uses
    finally:
        gc.enable()


def test_a_prompt_is_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The streams that are open wait for a new voice no longer than for each other."""
    flow, passes = paged_flow(batch=4), list[object]()
    assert isinstance(flow.solver, PagedSolver)
    advance = flow.solver._advance
    monkeypatch.setattr(flow.solver, "_advance", lambda *k: passes.append(k) or advance(*k))
    flow.start(some_prompt(103))
    assert passes == [(4, 4, True)]
    flow.start(some_prompt(153))
    assert passes[1:] == [(4, 4, True), (2, 8, True)]


@pytest.mark.parametrize(("given", "kept"), [(None, 6), (0, 0), (3, 3)])
def test_a_pool_bounds_the_past_unless_it_is_told_otherwise(given: int | None, kept: int) -> None:
    settings = FlowSettings(given, pool=PoolSettings(cache_mb=64, streams=4, batch=2))
    assert placed(tiny_network(), settings).euler.settings.left_chunks == kept
    assert placed(tiny_network(), FlowSettings(given)).euler.settings.left_chunks == (given or 0)


def test_a_full_pool_refuses_one_stream_and_harms_no_other() -> None:
    flow = paged_flow(pages=5)
    first, second = flow.start(some_prompt(0)).fork(), flow.start(some_prompt(0)).fork()
    tokens = some_tokens(28)
    _, first = flow.step(tokens, first, finalize=False)
    greedy = FlowStep(some_tokens(90), first, finalize=True)
    refused, served = flow.step_all([greedy, FlowStep(tokens, second, finalize=True)])
    assert isinstance(refused, Overloaded) and "5 pages" in str(refused)
    assert isinstance(served, tuple)
    plain = tiny_flow()
    alone = spoken(plain, plain.start(some_prompt(0)).fork(), [tokens])
    assert (served[0] - alone).abs().max() < CLOSE
    with pytest.raises(Overloaded, match="5 pages of the flow's cache are in use"):
        flow.step(some_tokens(120), flow.start(some_prompt(0)).fork(), finalize=False)


def test_a_full_pool_opens_no_stream() -> None:
    flow = paged_flow(streams=2)
    voice = flow.start(some_prompt(0))
    stream = voice.fork()
    with pytest.raises(Overloaded, match="2 streams of the flow are in use"):
        voice.fork()
    del stream
    assert voice.fork().nbytes == 0


@pytest.fixture(scope="module")
def stage() -> FlowStage:
    settings = FlowSettings(0, pool=PoolSettings(cache_mb=64, streams=40, batch=4))
    stage = tiny_stage(settings)
    stage.warm_up()  # leaves nothing behind that a stream would see
    return stage


def test_the_stage_answers_each_stream_of_a_step(stage: FlowStage) -> None:
    tokens = some_codes(40)
    wrong = Increment(np.array([3, 97], np.int32))
    voice = some_voice(30)
    opened = [stage.open(voice) for _ in range(3)]
    good, bad, other = stage.step_all(
        [
            StageStep(t, s, finalize=True)
            for t, s in zip((tokens, wrong, tokens), opened, strict=True)
        ]
    )
    assert isinstance(bad, InvalidRequest) and "97" in str(bad)
    plain = tiny_stage()
    expected, _ = plain.step(tokens, plain.open(voice), finalize=True)
    for result in (good, other):
        assert isinstance(result, tuple)
        np.testing.assert_allclose(result[0], expected, atol=CLOSE)


def test_a_pooled_stage_serves_several_threads(stage: FlowStage) -> None:
    texts = [some_codes(30 + 7 * n, n) for n in range(6)]

    def speak(tokens: Increment) -> np.ndarray:
        return stage.step(tokens, stage.open(some_voice(30)), finalize=True)[0]

    alone = [speak(tokens) for tokens in texts]
    with ThreadPoolExecutor(6) as pool:
        for together, single in zip(pool.map(speak, texts), alone, strict=True):
            np.testing.assert_allclose(together, single, atol=CLOSE)


def test_a_pool_too_small_to_speak_is_refused() -> None:
    with pytest.raises(EnvironmentProblem, match=r"cache has 1 MB and needs \d+ MB for 10 chunks"):
        placed(tiny_network(), FlowSettings(pool=PoolSettings(cache_mb=1)))


def test_what_nobody_wants_ends_between_two_chunks_and_gives_its_pages_back(
    stage: FlowStage,
) -> None:
    flow = stage.flow.flow
    stage.open(some_voice(30))  # which keeps its own
    before = places(flow)
    looks = iter([False, False, True])
    step = StageStep(some_codes(120), stage.open(some_voice(30)), True, lambda: next(looks))
    (result,) = stage.step_all([step])
    assert isinstance(result, Cancelled) and next(looks, None) is None
    del step
    assert places(flow) == before
