"""The tiny golden flow and vocoder for the tests of the acoustic models."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import paths
import torch
from parity.golden import Golden, load_network, load_vocoder
from torch import Tensor

from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.placement import FlowSettings, place
from tritone.acoustic.solver import SolverSettings
from tritone.acoustic.solver_config import SolverConfig
from tritone.families.cosyvoice2.acoustics import CodeFlow
from tritone.families.cosyvoice2.flow import Flow, FlowNetwork, FlowPrompt
from tritone.families.cosyvoice2.vocoder import Vocoder
from tritone.families.cosyvoice2.voice import Voice
from tritone.llm.contract import Increment

GOLDEN = paths.GOLDEN / "token2wav"
CODES = 97
SPEAKER = 24


def case(name: str) -> Golden:
    return Golden(GOLDEN, name)


def tiny_network(steps: int = 2, **solver: Any) -> FlowNetwork:
    """The golden flow with fewer ODE steps, which the streaming laws do not depend on."""
    return load_network(case("flow_full"), SolverConfig(n_timesteps=steps, **solver))


def tiny_flow(**settings: Any) -> Flow:
    return Flow.of(tiny_network(), SolverSettings(**settings))


def placed(network: FlowNetwork, settings: FlowSettings) -> Flow:
    euler, solver, _ = place(network, network.estimator, network.config.solver, settings)
    return Flow(network, euler, solver)


def tiny_stage(settings: FlowSettings | None = None, noise: Tensor | None = None) -> FlowStage:
    settings = settings or FlowSettings()
    noise = some_noise() if noise is None else noise
    return FlowStage(CodeFlow(placed(tiny_network(), settings), noise), settings)


def streamed(flow: Flow, prompt: FlowPrompt, parts: Sequence[Tensor]) -> list[Tensor]:
    """What each call gave; the last call brings no tokens, only the end."""
    state, mels = flow.start(prompt).fork(), []
    for part in parts:
        mel, state = flow.step(part, state, finalize=False)
        mels.append(mel)
    return [*mels, flow.step(some_tokens(0), state, finalize=True)[0]]


def one_pass(flow: Flow, tokens: Tensor, prompt: FlowPrompt) -> Tensor:
    return flow(tokens, prompt, chunked=True, finalize=True)


def assert_equals_one_pass(flow: Flow, prompt: FlowPrompt, parts: Sequence[Tensor]) -> None:
    """What a stream gives call by call, against one pass with the chunk mask."""
    tokens = torch.cat(list(parts))
    whole = one_pass(flow, tokens, prompt)
    mel = torch.cat(streamed(flow, prompt, parts), dim=1)
    assert mel.shape == whole.shape == (80, 2 * len(tokens))
    assert (mel - whole).abs().max() < 1e-4


def tiny_vocoder() -> Vocoder:
    return load_vocoder(case("hift_decode"))


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_tokens(count: int, seed: int = 1) -> Tensor:
    return torch.randint(0, CODES, (count,), generator=draw(seed))


def some_codes(count: int, seed: int = 1) -> Increment:
    return Increment(some_tokens(count, seed).int().numpy())


def some_noise(frames: int = 1500) -> Tensor:
    return torch.randn(frames, 80, generator=draw(0))


def some_prompt(tokens: int, seed: int = 2) -> FlowPrompt:
    generator = draw(seed)
    return FlowPrompt(
        tokens=some_tokens(tokens, seed),
        mel=torch.randn(2 * tokens, 80, generator=generator),
        embedding=torch.randn(SPEAKER, generator=generator),
        noise=some_noise(),
    )


def some_voice(tokens: int, seed: int = 2) -> Voice:
    prompt = some_prompt(tokens, seed)
    return Voice(
        prompt_tokens=prompt.tokens.numpy().astype(np.int32),
        prompt_mel=prompt.mel.numpy(),
        embedding=prompt.embedding.numpy(),
    )


def prompt_of(voice: Voice) -> FlowPrompt:
    return replace(
        some_prompt(0),
        tokens=torch.from_numpy(voice.prompt_tokens).long(),
        mel=torch.from_numpy(voice.prompt_mel),
        embedding=torch.from_numpy(voice.embedding),
    )
