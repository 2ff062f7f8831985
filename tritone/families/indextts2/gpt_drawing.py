"""Scores of the next code, as the release draws by them: a penalty on what was said, temperature,
the most likely few, and of those the nucleus. Ids that are out have the score -inf.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from tritone.errors import InvalidRequest
from tritone.families.indextts2.gpt_config import DrawingConfig
from tritone.llm.contract import SamplingParams

_MOST_TOP_K = 1 << 20


def drawing_of(config: DrawingConfig, params: SamplingParams) -> DrawingConfig:
    """The checkpoint's way with what a request sets.

    Raises InvalidRequest for a value out of range.
    """
    given = {"temperature": params.temperature, "top_k": params.top_k, "top_p": params.top_p}
    chosen = config.model_copy(update={k: v for k, v in given.items() if v is not None})
    if not 1 <= chosen.top_k <= _MOST_TOP_K:
        raise InvalidRequest("top_k", f"{chosen.top_k} is not in 1..{_MOST_TOP_K}")
    if not 0 < chosen.top_p <= 1:
        raise InvalidRequest("top_p", f"{chosen.top_p} is not in (0, 1]")
    if not 0 < chosen.temperature < float("inf"):
        raise InvalidRequest("temperature", f"{chosen.temperature} is not a positive number")
    if params.seed is not None and params.seed < 0:
        raise InvalidRequest("seed", f"{params.seed} is below 0")
    return chosen


def said_before(rows: Sequence[Iterable[int]], ids: int) -> Tensor:
    """(rows, ids) boolean: what each row has said."""
    said = torch.zeros(len(rows), ids, dtype=torch.bool)
    for row, codes in zip(said, rows, strict=True):
        row[torch.tensor(list(codes), dtype=torch.long)] = True
    return said


def penalised(scores: Tensor, said: Tensor, penalty: float) -> Tensor:
    """(rows, ids) scores, lower where `said` is."""
    lower = torch.where(scores < 0, scores * penalty, scores / penalty)
    return torch.where(said, lower, scores)


def filtered(scores: Tensor, config: DrawingConfig, fewest: int = 1) -> Tensor:
    """(rows, ids) scores at the temperature, without unlikely ids; at least `fewest` are left."""
    scores = scores / config.temperature
    count = min(max(config.top_k, fewest), scores.shape[-1])
    scores = scores.masked_fill(scores < scores.topk(count).values[:, -1:], -torch.inf)
    if config.top_p >= 1:
        return scores
    ordered, ids = scores.sort()
    unlikely = ordered.softmax(-1).cumsum(-1) <= 1 - config.top_p
    unlikely[:, -fewest:] = False
    return scores.masked_fill(unlikely.scatter(1, ids, unlikely), -torch.inf)
