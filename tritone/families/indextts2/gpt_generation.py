"""Codes of speech one by one, each with the latent that the flow wants beside it.

The release draws codes in one pass and computes latents in a second, over the codes that were
drawn, in which every code stands one position earlier. Here both passes go on side by side, as two
rows of one batch: the weights are read once, and a code has its latent when it is drawn.

    row 0, draws       prompt | code 1 at 2 | code 2 at 3 | ...
    row 1, latents     prompt | code 1 at 1 | code 2 at 2 | ...
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_config import DrawingConfig
from tritone.families.indextts2.gpt_drawing import filtered, penalised, said_before

# draws an index in proportion to (n,) probabilities
Multinomial = Callable[[Tensor], int]

# Upstream's sampler takes the prompt for a row of this id, so the penalty falls on it from the
# first code on, as it does on the start of speech.
_PROMPT_ID = 1


class Spoken(NamedTuple):
    """latent: (width,) float32."""

    code: int
    latent: Tensor


def seeded_multinomial(seed: int | None) -> Multinomial:
    """With a generator of its own; None seeds it from the system."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return lambda weights: int(torch.multinomial(weights, 1, generator=generator))


class Drawing:
    """Draws the codes of one generation; top_k 1 is greedy."""

    def __init__(self, gpt: Gpt, config: DrawingConfig, multinomial: Multinomial) -> None:
        self._config, self._multinomial = config, multinomial
        self.said = prompt_said(gpt)

    def scores(self, logits: Tensor) -> Tensor:
        """(ids,) -> (ids,)."""
        scores = penalised(logits[None], self.said, self._config.repetition_penalty)
        return scores[0] if self._config.top_k == 1 else filtered(scores, self._config)[0]

    def draw(self, logits: Tensor) -> int:
        """The next id for (ids,) logits, which is said from now on."""
        scores = self.scores(logits)
        greedy = self._config.top_k == 1
        drawn = int(scores.argmax()) if greedy else self._multinomial(scores.softmax(-1))
        self.said[0, drawn] = True
        return drawn


def prompt_said(gpt: Gpt) -> Tensor:
    """(1, ids): what counts as said before the first code."""
    return said_before([(_PROMPT_ID, gpt.config.start)], gpt.config.codes + 2)


@torch.inference_mode()
def generate(gpt: Gpt, prompt: Tensor, drawing: Drawing, most: int) -> Iterator[Spoken]:
    """Codes until speech ends, at most `most` of them.

    prompt: (1, n, width) of `Gpt.prompt`.
    """
    check_length(gpt, most)
    cache = gpt.cache(2, prompt.shape[1] + most)
    hidden = gpt(prompt, cache)[:, -1].expand(2, -1)
    for position in range(1, most + 1):
        code = drawing.draw(gpt.logits(hidden[0]).float())
        if code == gpt.config.stop:
            return
        yield Spoken(code, hidden[1].float())
        if position < most:
            rows = gpt.code_rows(torch.tensor(code), torch.tensor([position + 1, position]))
            hidden = gpt(rows[:, None], cache)[:, 0]


def check_length(gpt: Gpt, most: int) -> None:
    assert 1 <= most <= gpt.config.most_codes, f"{most} codes have no positions"


@torch.inference_mode()
def latents(gpt: Gpt, prompt: Tensor, codes: Tensor) -> Tensor:
    """Those of (n,) codes that are known already, (n, width) float32, n >= 1: what `generate` gives
    with them, in one pass."""
    before, positions = codes[:-1], torch.arange(1, len(codes))
    inputs = torch.cat([prompt, gpt.code_rows(before, positions)[None]], dim=1)
    hidden = gpt(inputs, gpt.cache(1, inputs.shape[1]))
    return hidden[0, -len(codes) :].float()  # type: ignore[no-any-return]
