"""Repetition-aware sampling as a rewrite of logits, for runtimes that take a logits processor.

It draws twice where a token repeats, by a law that can be written down: with nucleus law N, recent
tokens W and the softmax S,

    P(x) = N(x) [x not in W] + sum over y in W of N(y) S(x) [x != y] / (1 - S(y)).

A draw from P is therefore one as `Sampler` makes it. It is made here and all else is banned, since
the sampler of TensorRT-LLM up to 1.2 has one generator for all requests and reads no seed.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tritone.llm.checkpoint import BANNED
from tritone.llm.config import LLMConfig, SamplingConfig
from tritone.llm.sampler import Sampler

# (vocab_size,) of `logit_bias` on a device; all generations share it, so it is copied there once
BiasOn = Callable[[torch.device], Tensor]


class Uniforms:
    """Of one seed: the number in [0, 1) that belongs to each token of a generation, so that a token
    which is computed again is drawn again as it was."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._drawn: list[float] = []

    def __getitem__(self, token: int) -> float:
        while len(self._drawn) <= token:
            self._drawn.append(self._random.random())
        return self._drawn[token]


@dataclass(frozen=True)
class SpeechLogits:
    """Logits processor of one generation: head bias, bans, and a draw by the law of `sampling`.

    min_tokens: the regular stop id is banned before this many tokens. prompt: number of its ids.
    uniforms: of its seed. Greedy sampling (top_k 1) leaves the biased logits as they are. The
    signature is that of tensorrt_llm.sampling_params.LogitsProcessor.
    """

    bias: BiasOn
    llm: LLMConfig
    config: SamplingConfig
    sampling: Sampler
    min_tokens: int
    prompt: int
    uniforms: Uniforms

    def __call__(
        self,
        req_id: int,
        logits: Tensor,
        token_ids: list[list[int]],
        stream_ptr: int | None,
        client_id: int | None,
    ) -> None:
        """Change logits, (1, 1, vocab_size), in place, so that their argmax is the next token.
        token_ids: prompt and tokens so far."""
        llm, emitted = self.llm, token_ids[0][self.prompt :]
        logits += self.bias(logits.device)
        if len(emitted) < self.min_tokens:
            logits[..., llm.stop_ids[0]] = BANNED
        if self.sampling.top_k == 1:
            return
        speech = logits[0, 0, llm.speech_rows]
        counts = Counter(emitted[-self.config.repetition_window :])
        threshold = self.config.repetition_window * self.config.repetition_threshold
        recent = [token - llm.speech_offset for token, n in counts.items() if n >= threshold]
        law = repetition_aware_law(
            speech.float() / self.sampling.temperature,
            torch.tensor(recent, dtype=torch.int64, device=logits.device),
            top_k=self.sampling.top_k,
            top_p=self.sampling.top_p,
        )
        drawn = draw(law, self.uniforms[len(emitted)])
        logits.fill_(BANNED)
        speech.scatter_(0, drawn, 0)


def repetition_aware_law(scores: Tensor, recent: Tensor, *, top_k: int, top_p: float) -> Tensor:
    """(rows,) probabilities of the next token, on the device of the scores, without a wait for it.

    scores: (rows,) float32 logits at temperature 1. recent: (n,) int64 distinct rows that a draw
    from the nucleus may not give again.
    """
    softmax = scores.softmax(0)
    kept, ids = softmax.topk(min(top_k, len(scores)))
    kept = torch.where(kept.cumsum(0) - kept < top_p, kept, 0)
    law = torch.zeros_like(softmax).scatter_(0, ids, kept / kept.sum())
    if not len(recent):
        return law
    others = softmax.repeat(len(recent), 1)
    others.scatter_(1, recent[:, None], 0)
    mass, rest = law[recent], others.sum(1)
    alone = rest <= 0  # nothing else has a probability: the token stays
    law[recent] = torch.where(alone, mass, 0)
    return law + torch.where(alone, 0, mass / rest) @ others


def draw(law: Tensor, uniform: float) -> Tensor:
    """(1,) int64 row, drawn in proportion to (rows,) weights, on their device."""
    cumulative = law.cumsum(0, dtype=torch.float64)
    row = torch.searchsorted(cumulative, cumulative[-1:] * uniform, right=True)
    # the product may round up to the total, which belongs to the last positive weight
    return torch.where(row < len(law), row, cumulative.argmax())
