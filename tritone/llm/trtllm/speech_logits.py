"""Repetition-aware sampling as a rewrite of logits, for runtimes that draw by themselves in torch.

It draws twice where a token repeats, by a law that can be written down: with nucleus law N, recent
tokens W and the softmax S,

    P(x) = N(x) [x not in W] + sum over y in W of N(y) S(x) [x != y] / (1 - S(y)).

A runtime that samples plainly from log P therefore samples as `Sampler` does.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tritone.llm.checkpoint import BANNED
from tritone.llm.config import LLMConfig, SamplingConfig
from tritone.llm.sampler import Sampler

# (vocab_size,) of `logit_bias` on a device; all generations share it, so it is copied there once
BiasOn = Callable[[torch.device], Tensor]


@dataclass(frozen=True)
class SpeechLogits:
    """Logits processor of one generation: head bias, bans, and the law of `sampling`.

    min_tokens: the regular stop id is banned before this many tokens. prompt: number of its ids.
    Greedy sampling (top_k 1) leaves the biased logits as they are. The signature is that of
    tensorrt_llm.sampling_params.LogitsProcessor.
    """

    bias: BiasOn
    llm: LLMConfig
    config: SamplingConfig
    sampling: Sampler
    min_tokens: int
    prompt: int

    def __call__(
        self,
        req_id: int,
        logits: Tensor,
        token_ids: list[list[int]],
        stream_ptr: int | None,
        client_id: int | None,
    ) -> None:
        """Change logits, (1, 1, vocab_size), in place. token_ids: prompt and tokens so far."""
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
        speech.copy_(law.log().clamp_min(BANNED))


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
