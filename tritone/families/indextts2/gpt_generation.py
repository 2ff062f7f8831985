"""Codes of speech one by one, each with the latent that the flow wants beside it.

The release draws codes in one pass and computes latents in a second, over the codes that were
drawn, in which every code stands one position earlier. Here both passes go on side by side, as two
rows of one batch: the weights are read once, and a code has its latent when it is drawn.

    row 0, draws       prompt | code 1 at 2 | code 2 at 3 | ...
    row 1, latents     prompt | code 1 at 1 | code 2 at 2 | ...
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tritone.errors import StageFailed
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
    """Draws the codes of one generation; top_k 1 is greedy. It does not stop before `fewest`."""

    def __init__(
        self, gpt: Gpt, config: DrawingConfig, multinomial: Multinomial, fewest: int = 0
    ) -> None:
        self._config, self._multinomial = config, multinomial
        self._stop, self._fewest = gpt.config.stop, fewest
        self.said = prompt_said(gpt)

    def scores(self, logits: Tensor) -> Tensor:
        """(ids,) -> (ids,)."""
        if self._fewest > 0:
            logits = logits.clone()
            logits[self._stop] = -torch.inf
        scores = penalised(logits[None], self.said, self._config.repetition_penalty)
        return scores[0] if self._config.top_k == 1 else filtered(scores, self._config)[0]

    def draw(self, logits: Tensor) -> int:
        """The next id for (ids,) logits, which is said from now on. Raises StageFailed if they are
        not numbers."""
        largest = float(logits.max())
        if not math.isfinite(largest):
            raise StageFailed("llm", f"the largest logit is {largest}")
        scores = self.scores(logits)
        greedy = self._config.top_k == 1
        drawn = int(scores.argmax()) if greedy else self._multinomial(scores.softmax(-1))
        self.said[0, drawn] = True
        self._fewest -= 1
        return drawn


def prompt_said(gpt: Gpt) -> Tensor:
    """(1, ids): what counts as said before the first code."""
    return said_before([(_PROMPT_ID, gpt.config.start)], gpt.config.codes + 2)


class Stream:
    """One generation. ended: whether no code follows."""

    @torch.inference_mode()
    def __init__(self, gpt: Gpt, prompt: Tensor, drawing: Drawing, most: int) -> None:
        """prompt: (1, n, width) of `Prompter`, read here. At most `most` codes come."""
        check_length(gpt, most)
        opened = gpt.opened(prompt)
        self.cache = gpt.cache(2, opened.shape[1] + most)
        self.hidden = gpt(opened, self.cache)[:, -1].expand(2, -1)
        self.ended = False
        self._drawing, self._most, self._stop = drawing, most, gpt.config.stop
        self._code, self._position = -1, 0

    @property
    def is_fresh(self) -> bool:
        """Whether `hidden` is of all that was said."""
        return not self._position

    def rows(self, gpt: Gpt) -> Tensor:
        """(2, width) of the last code."""
        positions = torch.tensor([self._position + 1, self._position])
        return gpt.code_rows(torch.tensor(self._code), positions)

    def draw(self, logits: Tensor) -> Spoken | None:
        """The next code by its row of `next_logits`; None at the end."""
        self._code = self._drawing.draw(logits)
        self._position += 1
        stopped = self._code == self._stop
        self.ended = stopped or self._position == self._most
        return None if stopped else Spoken(self._code, self.hidden[1].float())


@torch.inference_mode()
def next_logits(gpt: Gpt, streams: Sequence[Stream]) -> Tensor:
    """(streams, ids) that the next code of each is drawn by, in one pass for all."""
    going = [stream for stream in streams if not stream.is_fresh]
    if going:
        rows = torch.cat([stream.rows(gpt) for stream in going])
        hidden = gpt(rows[:, None], *(stream.cache for stream in going))[:, 0]
        for stream, own in zip(going, hidden.split(2), strict=True):
            stream.hidden = own
    return gpt.logits(torch.stack([stream.hidden[0] for stream in streams])).float()


def generate(gpt: Gpt, prompt: Tensor, drawing: Drawing, most: int) -> Iterator[Spoken]:
    """Codes until speech ends, at most `most` of them; arguments as `Stream` takes them."""
    stream = Stream(gpt, prompt, drawing, most)
    while not stream.ended:
        (logits,) = next_logits(gpt, [stream])
        if spoken := stream.draw(logits):
            yield spoken


def check_length(gpt: Gpt, most: int) -> None:
    assert 1 <= most <= gpt.config.most_codes, f"{most} codes have no positions"


@torch.inference_mode()
def latents(gpt: Gpt, prompt: Tensor, codes: Tensor) -> Tensor:
    """Those of (n,) codes that are known already, (n, width) float32, n >= 1: what `generate` gives
    with them, in one pass."""
    before, positions = codes[:-1], torch.arange(1, len(codes))
    rows = gpt.code_rows(before, positions)[None]
    inputs = torch.cat([gpt.opened(prompt), rows], dim=1)
    hidden = gpt(inputs, gpt.cache(1, inputs.shape[1]))
    return hidden[0, -len(codes) :].float()  # type: ignore[no-any-return]
