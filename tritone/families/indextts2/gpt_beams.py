"""Beam search over codes of speech: the release's own way, which cannot stream.

Hypotheses are compared by the sums of their scores, whatever their length.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_config import DrawingConfig
from tritone.families.indextts2.gpt_drawing import filtered, penalised
from tritone.families.indextts2.gpt_generation import check_length, prompt_said

# (n,) scores and a count to that many indices, those of the largest first
Choice = Callable[[Tensor, int], Tensor]

_FEWEST = 2  # ids a beam keeps: one may end it


class Hypothesis(NamedTuple):
    codes: tuple[int, ...]
    score: float


class _Beams(NamedTuple):
    """What is being said: codes and score of each beam."""

    codes: list[tuple[int, ...]]
    scores: Tensor


class _Ended:
    """The best hypotheses that have ended, `count` at most, the best first."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.best: list[Hypothesis] = []

    def add(self, codes: tuple[int, ...], score: float) -> None:
        self.best.append(Hypothesis(codes, score))
        self.best.sort(key=lambda hypothesis: -hypothesis.score)
        del self.best[self._count :]

    def beat(self, score: float) -> bool:
        """Whether there are enough, none worse than this score."""
        return len(self.best) == self._count and self.best[-1].score >= score


def _most_likely(scores: Tensor, count: int) -> Tensor:
    return scores.topk(count).indices


def _drawn(generator: torch.Generator) -> Choice:
    """In proportion to the exponentials of the scores, none twice."""

    def choose(scores: Tensor, count: int) -> Tensor:
        ids = torch.multinomial(scores.softmax(-1), count, generator=generator)
        return ids[scores[ids].argsort(descending=True)]

    return choose


@torch.inference_mode()
def search(
    gpt: Gpt, prompt: Tensor, config: DrawingConfig, most: int, generator: torch.Generator | None
) -> Hypothesis:
    """The best hypothesis of at most `most` codes; its score is that of the codes and of the end,
    where it has one.

    prompt: (1, n, width) of `Prompter`. generator: draws what is looked at next; None looks
    at the most likely, whatever the temperature.
    """
    check_length(gpt, most)
    choose = _drawn(generator) if generator else _most_likely
    opened, ids, stop = gpt.opened(prompt), gpt.config.codes + 2, gpt.config.stop
    start = opened.shape[1]
    cache = gpt.cache(config.beams, start + most)
    hidden = gpt(opened, cache)[:, -1].expand(config.beams, -1)
    said = prompt_said(gpt.config).repeat(config.beams, 1)
    scores = torch.full((config.beams,), -1e9)
    scores[0] = 0.0  # all beams are alike: one is enough to begin with
    beams, ended = _Beams([()] * config.beams, scores), _Ended(config.beams)
    for position in range(2, most + 2):
        new = penalised(gpt.logits(hidden).float().log_softmax(-1), said, config.repetition_penalty)
        if generator:
            new = filtered(new, config, _FEWEST)
        total = (new + beams.scores[:, None]).flatten()
        chosen = choose(total, 2 * config.beams)
        beams, rows = _continued(beams, total, chosen, ids, stop, ended)
        if ended.beat(float(total[chosen].max())):
            break
        cache.reorder(rows, start)
        last = torch.tensor([codes[-1] for codes in beams.codes])
        said = said[rows].scatter(1, last[:, None], True)
        if position <= most:
            hidden = gpt(gpt.code_rows(last, torch.tensor(position))[:, None], cache)[:, 0]
    else:
        for codes, score in zip(beams.codes, beams.scores.tolist(), strict=True):
            ended.add(codes, score)
    return ended.best[0]


def _continued(
    beams: _Beams, total: Tensor, chosen: Tensor, ids: int, stop: int, ended: _Ended
) -> tuple[_Beams, Tensor]:
    """The beams with their next codes, and which each continues. One that ends is kept apart, if
    it is among the first."""
    count = len(beams.codes)
    codes: list[tuple[int, ...]] = []
    places: list[int] = []
    for rank, place in enumerate(chosen.tolist()):
        row, code = divmod(place, ids)
        if code != stop:
            codes.append((*beams.codes[row], code))
            places.append(place)
        elif rank < count:
            ended.add(beams.codes[row], float(total[place]))
        if len(codes) == count:
            break
    kept = torch.tensor(places)
    return _Beams(codes, total[kept]), kept // ids
