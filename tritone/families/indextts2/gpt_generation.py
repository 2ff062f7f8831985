"""How the next code of a generation is drawn, and the latents of codes that are known already."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tritone.arrays import Float32
from tritone.errors import StageFailed
from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_config import DrawingConfig, GptConfig
from tritone.families.indextts2.gpt_drawing import filtered, penalised, said_before
from tritone.llm.sampler import Draw

# draws an index in proportion to (n,) probabilities
Multinomial = Callable[[Tensor], int]

# Upstream's sampler takes the prompt for a row of this id, so the penalty falls on it from the
# first code on, as it does on the start of speech.
_PROMPT_ID = 1


def seeded_multinomial(seed: int | None) -> Multinomial:
    """With a generator of its own; None seeds it from the system."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return lambda weights: int(torch.multinomial(weights, 1, generator=generator))


class Drawing:
    """`tritone.llm.generation.TokenSampler` of one generation; top_k 1 is greedy. It does not stop
    before `min_tokens`."""

    def __init__(
        self,
        gpt: GptConfig,
        config: DrawingConfig,
        multinomial: Multinomial,
        min_tokens: int = 0,
    ) -> None:
        self._config, self._multinomial = config, multinomial
        self._start, self._stop = gpt.start, gpt.stop
        self.min_tokens, self._drawn = min_tokens, 0
        self.said = prompt_said(gpt)

    def scores(self, logits: Tensor) -> Tensor:
        """(ids,) -> (ids,)."""
        if self._drawn < self.min_tokens:
            logits = logits.clone()
            logits[self._stop] = -torch.inf
        scores = penalised(logits[None], self.said, self._config.repetition_penalty)
        return scores[0] if self._config.top_k == 1 else filtered(scores, self._config)[0]

    def draw(self, logits: Float32) -> int:
        """The next id for (ids,) logits, which is said from now on. Raises StageFailed if they are
        not numbers, or for the start of speech."""
        given = torch.from_numpy(logits)
        largest = float(given.max())
        if not math.isfinite(largest):
            raise StageFailed("llm", f"the largest logit is {largest}")
        scores = self.scores(given)
        greedy = self._config.top_k == 1
        drawn = int(scores.argmax()) if greedy else self._multinomial(scores.softmax(-1))
        if drawn == self._start:  # it can be, as upstream; no codec has a vector for it
            raise StageFailed("llm", f"the start of speech ({drawn}) was drawn in its middle")
        self.said[0, drawn] = True
        self._drawn += 1
        return drawn

    def emit(self, token: int) -> None:
        """What was drawn is said already."""

    def asked(self) -> Draw | None:
        """A penalty on all that was said is no device's."""
        return None

    def drawn(self, row: int, *, again: bool) -> int:
        raise AssertionError("no device was asked")


def prompt_said(gpt: GptConfig) -> Tensor:
    """(1, ids): what counts as said before the first code."""
    return said_before([(_PROMPT_ID, gpt.start)], gpt.codes + 2)


def check_length(gpt: Gpt, most: int) -> None:
    assert 1 <= most <= gpt.config.most_codes, f"{most} codes have no positions"


@torch.inference_mode()
def latents(gpt: Gpt, prompt: Tensor, codes: Tensor) -> Tensor:
    """Those of (n,) codes that are known already, (n, width) float32, n >= 1: what stands beside
    them as they are drawn, in one pass."""
    before, positions = codes[:-1], torch.arange(1, len(codes))
    rows = gpt.code_rows(before, positions)[None]
    inputs = torch.cat([gpt.opened(prompt), rows], dim=1)
    hidden = gpt(inputs, gpt.cache(1, inputs.shape[1]))
    return hidden[0, -len(codes) :].float()  # type: ignore[no-any-return]
