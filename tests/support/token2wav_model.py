"""The tiny golden flow and vocoder for the tests of the acoustic models."""

from dataclasses import replace

import numpy as np
import paths
import torch
from parity.golden import Golden, load_flow, load_vocoder
from torch import Tensor

from tritone.acoustic.solver import ode_times
from tritone.families.cosyvoice2.flow import Flow, FlowPrompt
from tritone.families.cosyvoice2.vocoder import Vocoder
from tritone.families.cosyvoice2.voice import Voice

GOLDEN = paths.GOLDEN / "token2wav"
CODES = 97
SPEAKER = 24


def case(name: str) -> Golden:
    return Golden(GOLDEN, name)


def tiny_flow(steps: int = 2, left_chunks: int = 0) -> Flow:
    """The golden flow with fewer ODE steps, which the streaming laws do not depend on."""
    flow = load_flow(case("flow_full"))
    solver = flow.config.solver.model_copy(update={"n_timesteps": steps})
    flow.config = flow.config.model_copy(update={"solver": solver})
    flow.euler.times = ode_times(steps)
    flow.euler.left_chunks = left_chunks
    return flow


def tiny_vocoder() -> Vocoder:
    return load_vocoder(case("hift_decode"))


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_tokens(count: int, seed: int = 1) -> Tensor:
    return torch.randint(0, CODES, (count,), generator=draw(seed))


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
