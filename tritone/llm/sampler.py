"""Repetition-aware sampling of the next speech token (VALL-E 2, arXiv:2406.05370).

A draw from the nucleus (the most likely tokens until top_p mass or top_k of them) that is among the
last `repetition_window` tokens is replaced, once, by a draw from the whole distribution without it.
Ids here are rows of the speech head: codes, then the stop ids.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tritone.arrays import Float32
from tritone.errors import InvalidRequest, StageFailed
from tritone.llm.config import SamplingConfig
from tritone.llm.contract import SamplingParams

# draws an index in proportion to (n,) weights that need not sum to one
Multinomial = Callable[[Float32], int]

_COLUMNS = 128
_COLDEST = 1e-3  # temperature; the quotients overflow far below it, and nothing is drawn otherwise


MOST_LIKELY = 128  # rows of a nucleus that a device draws from


@dataclass(frozen=True)
class Draw:
    """What a device needs to draw one token as a `Sampler` would.

    uniforms: in [0, 1), for the draw and for the one that may replace it. threshold: of times that
    a token may be in `window`. banned: whether the waiting rows are.
    """

    top_k: int
    top_p: float
    temperature: float
    uniforms: tuple[float, float]
    threshold: float
    banned: bool
    window: tuple[int, ...]


class _Numbers:
    """Uniform ones of a PCG64 stream, some of which may be looked at before they are taken."""

    def __init__(self, seed: int | None) -> None:
        self._uniform = np.random.Generator(np.random.PCG64(seed)).random
        self._ahead: deque[float] = deque()

    def take(self) -> float:
        return self._ahead.popleft() if self._ahead else self._uniform()

    def next_two(self) -> tuple[float, float]:
        while len(self._ahead) < 2:
            self._ahead.append(self._uniform())
        return self._ahead[0], self._ahead[1]


def seeded_multinomial(seed: int | None) -> Multinomial:
    """A Multinomial with its own PCG64 stream; None seeds it from the system."""
    return _multinomial_of(_Numbers(seed).take)


def _multinomial_of(uniform: Callable[[], float]) -> Multinomial:
    def draw(weights: Float32) -> int:
        cumulative = np.cumsum(weights, dtype=np.float64)
        index = int(np.searchsorted(cumulative, uniform() * cumulative[-1], side="right"))
        # the product may round up to the total, which belongs to the last positive weight
        return index if index < len(cumulative) else int(cumulative.argmax())

    return draw


class Sampler:
    """Draws the tokens of one generation.

    params override config, the checkpoint's defaults. waiting: rows of the stop ids that are banned
    until `min_tokens` were emitted. multinomial: draws instead of the seeded generator. emitted:
    tokens that came before. top_k 1 is greedy: the plain argmax, without the repetition rule, which
    would replace every repeated token (silence repeats) by a random one; who reads the tokens
    guards against endless runs.

    Raises InvalidRequest for parameters out of range.
    """

    def __init__(
        self,
        config: SamplingConfig,
        params: SamplingParams,
        *,
        waiting: slice,
        min_tokens: int = 0,
        multinomial: Multinomial | None = None,
        emitted: Iterable[int] = (),
    ) -> None:
        self.top_k = config.top_k if params.top_k is None else params.top_k
        self.top_p = config.top_p if params.top_p is None else params.top_p
        self.temperature = config.temperature if params.temperature is None else params.temperature
        if self.top_k < 1:
            raise InvalidRequest("top_k", f"{self.top_k} is below 1")
        if not 0 < self.top_p <= 1:
            raise InvalidRequest("top_p", f"{self.top_p} is not in (0, 1]")
        if not 0 < self.temperature < float("inf"):
            raise InvalidRequest("temperature", f"{self.temperature} is not a positive number")
        if params.seed is not None and params.seed < 0:
            raise InvalidRequest("seed", f"{params.seed} is below 0")
        self._waiting, self.min_tokens = waiting, min_tokens
        self._given, self._numbers = multinomial is not None, _Numbers(params.seed)
        self._multinomial = multinomial or _multinomial_of(self._numbers.take)
        self._threshold = config.repetition_window * config.repetition_threshold
        self._window: deque[int] = deque(maxlen=config.repetition_window)
        self._emitted = 0
        for token in emitted:
            self.emit(token)

    def emit(self, token: int) -> None:
        """Record a token that was passed on; stop ids are not."""
        self._window.append(token)
        self._emitted += 1

    def asked(self) -> Draw | None:
        """What a device needs to draw the next row, then `drawn`; None where it cannot."""
        if self._given or self.top_k > MOST_LIKELY:
            return None
        return Draw(
            self.top_k,
            self.top_p,
            max(self.temperature, _COLDEST),
            self._numbers.next_two(),
            self._threshold,
            self._emitted < self.min_tokens,
            tuple(self._window),
        )

    def drawn(self, row: int, *, again: bool) -> int:
        """The next row, as a device has drawn it; the same as `draw` from the same logits. again:
        whether it drew twice. row: -1 for logits that are no numbers: raises StageFailed."""
        if row < 0:
            raise StageFailed("llm", "the largest logit is no number")
        if self.top_k > 1:
            for _ in range(1 + again):
                self._numbers.take()
        return row

    def draw(self, logits: Float32) -> int:
        """Next row for (rows,) logits. Raises StageFailed if they are not numbers."""
        if self._emitted < self.min_tokens:
            logits = logits.copy()
            logits[self._waiting] = -np.inf
        likeliest = int(logits.argmax())  # what is no number comes first
        if not math.isfinite(logits[likeliest]):
            raise StageFailed("llm", f"the largest logit is {logits[likeliest]}")
        if self.top_k == 1:
            return likeliest
        scores = self._scores(logits)
        weights = np.exp(scores)
        ids, kept = self._nucleus(scores, weights)
        token = int(ids[self._multinomial(kept)])
        if self._window.count(token) < self._threshold:
            return token
        weights[token] = 0
        return self._multinomial(weights)

    def _scores(self, logits: Float32) -> Float32:
        """Logits at temperature 1, shifted to a largest value of 0."""
        scores = logits / np.float32(max(self.temperature, _COLDEST))
        scores -= scores.max()
        return scores

    def _nucleus(self, scores: Float32, weights: Float32) -> tuple[NDArray[np.int64], Float32]:
        """Kept ids, most likely first (ties: lower id first), and their probabilities.

        An entry is kept while the mass before it is below top_p, so the one that crosses is kept.
        """
        ids = _most_likely(scores, self.top_k)
        kept = weights[ids] / weights.sum()
        before = np.cumsum(kept)[:-1]
        size = 1 + int(np.searchsorted(before, self.top_p, side="left"))
        return ids[:size], kept[:size]


def _most_likely(scores: Float32, count: int) -> NDArray[np.int64]:
    """The `count` ids of largest score (all, if fewer), in falling order, ties by rising id.

    Cheaper than a partition of all scores: laid out in columns, the count-th largest of the column
    maxima is a lower bound that only a few dozen scores reach.
    """
    columns = max(_COLUMNS, count)
    rows = len(scores) // columns
    candidates = np.arange(len(scores))
    if rows:
        maxima = scores[: rows * columns].reshape(rows, columns).max(0)
        bound = np.partition(maxima, columns - count)[columns - count]
        candidates = np.flatnonzero(scores >= bound)
    order = np.argsort(-scores[candidates], kind="stable")
    ids: NDArray[np.int64] = candidates[order[:count]]
    return ids
