"""The language model: its prompt, its two rows, and what ends it."""

from itertools import repeat

import numpy as np
import pytest
import torch
from indextts2_front import golden, tiny_conditioning, tiny_gpt, tiny_prompter
from parity.gpt_sessions import generate, torch_session
from parity.indextts2_gpt import Given
from torch import Tensor

from tritone.errors import StageFailed
from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_config import DrawingConfig
from tritone.families.indextts2.gpt_conformer import Conformer
from tritone.families.indextts2.gpt_generation import Drawing, latents, seeded_multinomial

Tiny = tuple[Gpt, Tensor]


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    with torch.inference_mode():
        return tiny_gpt()


def said(tiny: Tiny, seed: int, most: int = 30, **config: float) -> list[tuple[int, Tensor]]:
    gpt, prompt = tiny
    drawing = Drawing(gpt.config, DrawingConfig(**config), seeded_multinomial(seed))
    spoken = generate(torch_session(gpt), gpt, prompt, drawing, most)
    return [(one.code, torch.from_numpy(one.latent)) for one in spoken]


@pytest.mark.parametrize("seed", range(3))
def test_latents_beside_the_codes_are_those_of_a_second_pass(tiny: Tiny, seed: int) -> None:
    codes, beside = zip(*said(tiny, seed), strict=True)
    with torch.inference_mode():
        at_once = latents(*tiny, torch.tensor(codes))
    torch.testing.assert_close(torch.stack(beside), at_once, atol=2e-5, rtol=2e-5)


def test_the_first_pass_has_other_states(tiny: Tiny) -> None:
    """So that the row for latents is not there for nothing."""
    gpt, prompt = tiny
    codes = golden("gpt")["tf_codes"][0, :5]
    with torch.inference_mode():
        rows = gpt.code_rows(codes, torch.arange(2, 7))[None]
        inputs = torch.cat([gpt.opened(prompt), rows], dim=1)
        drawn_by = gpt(inputs, gpt.cache(1, inputs.shape[1]))
        second = latents(gpt, prompt, torch.cat([codes, codes[:1]]))
    torch.testing.assert_close(drawn_by[0, -6], second[0], atol=1e-5, rtol=1e-5)
    assert (drawn_by[0, -5:] - second[1:]).abs().max() > 0.5


def test_the_same_seed_says_the_same(tiny: Tiny) -> None:
    codes = [[code for code, _ in said(tiny, seed)] for seed in (4, 4, 5)]
    assert codes[0] == codes[1] != codes[2]


def test_it_ends_with_speech(tiny: Tiny) -> None:
    gpt, prompt = tiny
    given = Given(gpt.config, [3, 4, 5, gpt.config.stop])
    spoken = generate(torch_session(gpt), gpt, prompt, given, 30)
    assert [one.code for one in spoken] == [3, 4, 5]


def test_it_ends_after_as_many_codes_as_it_may_say(tiny: Tiny) -> None:
    gpt, prompt = tiny
    for most in (7, gpt.config.most_codes):
        given = Given(gpt.config, repeat(3))
        assert len(list(generate(torch_session(gpt), gpt, prompt, given, most))) == most


def test_speech_does_not_end_before_its_time(tiny: Tiny) -> None:
    gpt, _ = tiny
    drawing = Drawing(gpt.config, DrawingConfig(top_k=1), seeded_multinomial(0), 2)
    ending = torch.zeros(gpt.config.codes + 2)
    ending[gpt.config.stop], ending[7] = 9.0, 5.0
    assert [drawing.draw(ending.numpy()) for _ in range(3)] == [7, 7, gpt.config.stop]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_no_number_is_not_drawn_by(tiny: Tiny, value: float) -> None:
    gpt, _ = tiny
    drawing = Drawing(gpt.config, DrawingConfig(), seeded_multinomial(0))
    with pytest.raises(StageFailed, match="the largest logit is"):
        drawing.draw(np.full(gpt.config.codes + 2, value, np.float32))


def test_start_and_stop_within_a_text_are_left_out() -> None:
    prompter = tiny_prompter()
    with torch.inference_mode():
        assert torch.equal(prompter.text_rows([7, 0, 1, 8]), prompter.text_rows([7, 8]))
        assert prompter.text_rows([]).shape == (2, 48)


def test_a_prompt_may_come_in_parts(tiny: Tiny) -> None:
    gpt, prompt = tiny
    with torch.inference_mode():
        whole = gpt(prompt, gpt.cache(1, prompt.shape[1]))
        cache = gpt.cache(1, prompt.shape[1])
        parts = torch.cat([gpt(part, cache) for part in prompt.split(7, dim=1)], dim=1)
        assert cache.length == prompt.shape[1]
        cache.cut(7)
        again = gpt(prompt[:, 7:], cache)
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(again, whole[:, 7:], atol=1e-5, rtol=1e-5)


def test_a_full_cache_takes_no_more(tiny: Tiny) -> None:
    gpt, prompt = tiny
    with torch.inference_mode(), pytest.raises(AssertionError, match="positions do not fit"):
        gpt(prompt, gpt.cache(1, prompt.shape[1] - 1))


@pytest.mark.parametrize("frames", [3, 4, 129, 130, 131, 200])
def test_frames_are_halved_in_parts(frames: int) -> None:
    conformer = tiny_conditioning().of_speaker.conformer
    assert isinstance(conformer, Conformer)
    x = torch.randn(2, frames, 40, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        in_parts, at_once = conformer.input(x), conformer.input._halved(x)
    assert in_parts.shape[1] == (frames - 1) // 2
    torch.testing.assert_close(in_parts, at_once, atol=1e-5, rtol=1e-5)
