"""The flow chunk by chunk: equal to one pass, each frame once, past frames final."""

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from parity.golden import load_flow
from parity.golden import prompt_of as golden_prompt
from token2wav_model import (
    CODES,
    assert_equals_one_pass,
    case,
    one_pass,
    prompt_of,
    some_codes,
    some_noise,
    some_prompt,
    some_tokens,
    some_voice,
    streamed,
    tiny_flow,
    tiny_stage,
)
from torch import Tensor

from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.placement import FlowSettings
from tritone.errors import InvalidRequest
from tritone.families.cosyvoice2.acoustics import CodeFlow
from tritone.families.cosyvoice2.flow import Flow
from tritone.families.cosyvoice2.rules import ChunkPolicy
from tritone.families.cosyvoice2.voice import trim_prompt
from tritone.llm.contract import Increment

CLOSE = 1e-4
PROMPTS = (0, 1, 2, 24, 25, 26, 27, 28, 53, 75)


@pytest.fixture(scope="module")
def flow() -> Flow:
    return tiny_flow()


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


class FrameCount:
    """Frames that went through the estimator, call by call."""

    def __init__(self, flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[int] = []
        estimator = flow.network.estimator
        step = estimator.step

        def counting(x, shifts, state):
            self.calls.append(x.shape[1])
            return step(x, shifts, state)

        monkeypatch.setattr(estimator, "step", counting)

    def take(self) -> int:
        total = sum(self.calls)
        self.calls.clear()
        return total


@pytest.mark.parametrize("name", ["flow_full", "flow_full_noprompt"])
def test_one_shot_equals_golden(name: str) -> None:
    golden = case(name)
    mel = load_flow(golden)(
        golden["token"][0].long(), golden_prompt(golden), chunked=False, finalize=True
    )
    assert (mel - golden["mel"][0]).abs().max() < CLOSE


def test_streams_equal_golden() -> None:
    golden = case("flow_stream")
    tokens = golden["token"][0].long()
    mels = streamed(load_flow(golden), golden_prompt(golden), torch.split(tokens, 31))
    mel = torch.cat(mels, dim=1)
    assert (mel - golden["mel_final_stream_true"][0]).abs().max() < CLOSE
    # Upstream's own prefixes end at chunk edges: what it sent by then is what we sent by then.
    prefix = golden["mel_prefix_90"][0]
    assert (mel[:, : prefix.shape[1]] - prefix).abs().max() < CLOSE


@pytest.mark.parametrize("prompt_tokens", PROMPTS)
def test_any_prompt_equals_one_pass(flow: Flow, prompt_tokens: int) -> None:
    assert_equals_one_pass(flow, some_prompt(prompt_tokens), torch.split(some_tokens(54), 28))


@pytest.mark.parametrize("call", [1, 25, 54])
@pytest.mark.parametrize("prompt_tokens", [0, 27])
def test_any_call_size_equals_one_pass(flow: Flow, prompt_tokens: int, call: int) -> None:
    assert_equals_one_pass(flow, some_prompt(prompt_tokens), torch.split(some_tokens(54), call))


@pytest.mark.parametrize("seed", range(8))
def test_random_splits_equal_one_pass(flow: Flow, seed: int) -> None:
    choose = random.Random(seed)
    sizes = [choose.randint(0, 40) for _ in range(choose.randint(1, 6))]
    tokens = some_tokens(1 + sum(sizes), seed)
    parts = torch.split(tokens, [1, *sizes])
    assert_equals_one_pass(flow, some_prompt(choose.randint(0, 90), seed), parts)


@pytest.mark.parametrize(
    ("left_chunks", "prompt_tokens"), [(1, 0), (1, 130), (2, 26), (2, 53), (3, 0), (3, 130)]
)
def test_bounded_context_equals_its_mask(left_chunks: int, prompt_tokens: int) -> None:
    # 215 tokens are more than two laps of the longest ring; the prompt of 130 outgrows each.
    flow = tiny_flow(left_chunks=left_chunks)
    assert_equals_one_pass(flow, some_prompt(prompt_tokens), torch.split(some_tokens(215), 41))


def test_the_bound_matters() -> None:
    tokens, prompt = some_tokens(80), some_prompt(28)
    unbounded = one_pass(tiny_flow(), tokens, prompt)
    bounded = one_pass(tiny_flow(left_chunks=1), tokens, prompt)
    # 22 tokens share a chunk with the prompt's end and see all, as does the chunk after them.
    assert (bounded - unbounded)[:, :94].abs().max() < CLOSE
    assert (bounded - unbounded)[:, 94:].abs().max() > 100 * CLOSE


@pytest.mark.parametrize("prompt_tokens", PROMPTS)
@pytest.mark.parametrize("first_hop", [1, 15])
def test_trimmed_prompts_give_the_first_hop(flow: Flow, prompt_tokens: int, first_hop: int) -> None:
    policy = ChunkPolicy(chunk=25, lookahead=3, first_hop=first_hop)
    trim = policy.prompt_trim(prompt_tokens)
    prompt = prompt_of(trim_prompt(some_voice(prompt_tokens), trim, 2))
    tokens = some_tokens(30)
    reached = trim or prompt_tokens % 25 + first_hop == 25
    hop = first_hop if reached else 25 - prompt_tokens % 25
    first, *rest = streamed(flow, prompt, [tokens[: hop + 3], tokens[hop + 3 :]])
    assert first.shape[1] == 2 * hop
    mel = torch.cat([first, *rest], dim=1)
    assert (mel - one_pass(flow, tokens, prompt)).abs().max() < CLOSE


def test_frames_do_not_change_with_what_follows(flow: Flow) -> None:
    prompt, head = some_prompt(27), some_tokens(28 + 25)
    first = streamed(flow, prompt, [head, some_tokens(30, seed=5)])
    second = streamed(flow, prompt, [head, some_tokens(30, seed=6)])
    assert torch.equal(first[0], second[0]) and first[0].shape[1] == 2 * 48
    assert not torch.equal(first[1], second[1])


def test_two_streams_of_a_voice_share_its_memory_and_nothing_else(flow: Flow) -> None:
    prompt = some_prompt(75)
    voice = flow.start(prompt)
    tokens = [some_tokens(60, seed) for seed in (3, 4)]
    states = [voice.fork(), voice.fork()]
    mels: list[list[Tensor]] = [[], []]
    for part in range(3):
        for stream in (0, 1):
            more = tokens[stream][20 * part : 20 * part + 20]
            mel, states[stream] = flow.step(more, states[stream], finalize=part == 2)
            mels[stream].append(mel)
    for stream in (0, 1):
        alone = one_pass(flow, tokens[stream], prompt)
        assert (torch.cat(mels[stream], dim=1) - alone).abs().max() < CLOSE
    assert (torch.cat(mels[0], dim=1) - torch.cat(mels[1], dim=1)).abs().max() > 0.1


def test_a_fork_costs_no_memory_until_it_speaks(flow: Flow) -> None:
    voice = flow.start(some_prompt(75))
    assert voice.nbytes > 0
    forks = [voice.fork(), voice.fork()]
    assert [fork.nbytes for fork in forks] == [0, 0]
    prefixes = {fork.solution.steps[0].store._prefix.data_ptr() for fork in forks}
    assert prefixes == {voice.solution.steps[0].store._own.data_ptr()}


def test_each_frame_is_computed_once(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    count = FrameCount(flow, monkeypatch)
    stage = FlowStage(CodeFlow(flow, some_noise()), FlowSettings())
    voice, tokens = some_voice(77), some_codes(64).ids
    opened = stage.open(voice)
    steps = len(flow.euler.steps)
    assert count.take() == steps * 2 * 50  # the two chunks that depend on the voice alone
    for state in (opened, stage.open(voice)):
        for begin in range(0, 64, 16):
            _, state = stage.step(Increment(tokens[begin : begin + 16]), state, finalize=False)
        stage.step(Increment(tokens[:0]), state, finalize=True)
        # Both streams: the rest of the prompt and their own tokens, not the prepared chunks.
        assert count.take() == steps * 2 * (77 - 50 + 64)


def test_a_call_costs_the_same_at_any_position(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    count = FrameCount(flow, monkeypatch)
    state, tokens = flow.start(some_prompt(0)).fork(), some_tokens(25 * 12 + 3)
    _, state = flow.step(tokens[:3], state, finalize=False)
    costs = []
    for part in torch.split(tokens[3:], 25):
        _, state = flow.step(part, state, finalize=False)
        costs.append(count.take())
    assert costs == [50 * len(flow.euler.steps)] * 12


def test_bounded_memory(flow: Flow) -> None:
    bounded = tiny_flow(left_chunks=2)
    sizes = []
    for model in (flow, bounded):
        state = model.start(some_prompt(28)).fork()
        for part in torch.split(some_tokens(25 * 9), 75):
            _, state = model.step(part, state, finalize=False)
        sizes.append(state.nbytes)
    width = flow.config.estimator.num_heads * flow.config.estimator.attention_head_dim
    layers = flow.config.estimator.n_blocks * (flow.config.estimator.num_mid_blocks + 2)
    estimator = len(flow.euler.steps) * layers * 2 * 2 * width * 4 * 150
    encoder = 2 * 4 * 48 * (2 * 75 + 4 * 150)
    assert sizes[1] == estimator + encoder  # a ring of three chunks
    assert sizes[0] >= 3 * sizes[1]


def test_half_precision_cache_stays_near(flow: Flow) -> None:
    prompt, tokens = some_prompt(40), some_tokens(150)
    exact = one_pass(flow, tokens, prompt)
    rounded = tiny_flow(cache_dtype=torch.bfloat16)
    mel = torch.cat(streamed(rounded, prompt, torch.split(tokens, 30)), dim=1)
    error = (mel - exact).pow(2).mean().sqrt() / exact.std()
    # Keys and values carry 8 bits of mantissa; attention averages their rounding.
    assert 1e-5 < error < 1e-2
    voice = rounded.start(prompt)
    assert voice.nbytes * 2 == flow.start(prompt).nbytes


def test_one_shot_stage_equals_the_model() -> None:
    stage = tiny_stage()
    mel = stage.whole(some_codes(33), some_voice(12))
    expected = stage.flow.flow(
        some_tokens(33), prompt_of(some_voice(12)), chunked=False, finalize=True
    )
    assert (torch.from_numpy(mel) - expected).abs().max() < 1e-6


def test_prepared_voices_are_bounded(flow: Flow) -> None:
    one = flow.start(some_prompt(40)).nbytes
    stage = tiny_stage(FlowSettings(prepared_bytes=2 * one))
    for seed in (1, 2, 1, 3):
        stage.open(some_voice(40, seed))
    assert len(stage._prepared) == 2
    states = list(stage._prepared.values())
    stage.open(some_voice(40, 1))  # used more recently than 2, so it has stayed
    assert {id(s) for s in stage._prepared.values()} == {id(s) for s in states}
    small = tiny_stage(FlowSettings(prepared_bytes=1))
    small.open(some_voice(40))
    assert len(small._prepared) == 1


def test_a_voice_that_was_prepared_with_nan_is_prepared_anew() -> None:
    stage, voice, tokens = tiny_stage(), some_voice(40), some_codes(30)
    expected, _ = stage.step(tokens, stage.open(voice), finalize=True)
    (key,) = stage._prepared
    state = stage._prepared[key]
    stage._prepared[key] = replace(state, speaker=torch.full_like(state.speaker, torch.nan))
    poisoned, _ = stage.step(tokens, stage.open(voice), finalize=True)
    assert np.isnan(poisoned).any()
    mel, _ = stage.step(tokens, stage.open(voice), finalize=True)
    assert np.array_equal(mel, expected)


def test_the_caller_hears_what_is_wrong() -> None:
    stage = tiny_stage(noise=some_noise(200))
    voice, tokens = some_voice(10), some_codes(95)
    state = stage.open(voice)
    for bad in (-1, CODES):
        with pytest.raises(InvalidRequest, match=rf"holds {bad}; codes are 0\.\.96"):
            stage.step(Increment(np.full(1, bad, np.int32)), state, finalize=True)
    with pytest.raises(InvalidRequest, match=r"reach 210 mel frames with .* holds 200"):
        stage.whole(tokens, voice)
    with pytest.raises(InvalidRequest, match="reach 210 mel frames"):
        stage.step(tokens, state, finalize=False)
    with pytest.raises(InvalidRequest, match="target_speech_tokens: are none"):
        stage.whole(some_codes(0), voice)
    with pytest.raises(InvalidRequest, match=r"prompt_voice: has prompt_mel of shape \[18, 80\]"):
        stage.open(replace(voice, prompt_mel=voice.prompt_mel[:18]))
    with pytest.raises(InvalidRequest, match=r"prompt_voice: has embedding of shape \[12\]"):
        stage.open(replace(voice, embedding=voice.embedding[:12]))
    with pytest.raises(InvalidRequest, match="prompt_voice: holds 97; codes are 0"):
        stage.open(replace(voice, prompt_tokens=np.full(10, CODES, np.int32)))
    with pytest.raises(InvalidRequest, match="prompt_voice: reach 220 mel frames"):
        stage.open(some_voice(110))


def test_a_prepared_voice_outlives_the_arrays_of_its_request() -> None:
    stage, voice, tokens = tiny_stage(), some_voice(30), some_codes(30)
    for array in (voice.prompt_tokens, voice.embedding, tokens.ids):
        array.flags.writeable = False  # as a server may hand them over
    expected, _ = stage.step(tokens, stage.open(voice), finalize=True)
    state = stage.open(voice)
    voice.prompt_mel[:] = 0.0
    mel, _ = stage.step(tokens, state, finalize=True)
    assert np.array_equal(mel, expected)
