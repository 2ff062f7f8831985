"""Acceptance of the language model's engine: its greedy choices by the logits of float32 torch."""

from collections.abc import Callable, Sequence

import numpy as np

from tritone.arrays import Float32, Int32
from tritone.engines.acceptance import Verdict
from tritone.llm.config import LLMConfig
from tritone.llm.contract import GenerationRequest, LanguageModel, Prompt, SamplingParams
from tritone.llm.slots.scheduler import SlotSession

PROMPTS, TEXT_IDS, TOKENS = 4, 24, 16
# Largest shortfall of a chosen token's logit against the best one, in nats. Half precision moves a
# logit by some hundredths, so that only near ties are decided otherwise.
BOUND = 0.5
LEAST = 0.5  # share of the tokens that must come; a stop id that is not banned may cut some off
_SEED = 0


def example_texts(config: LLMConfig) -> list[Int32]:
    """PROMPTS times (TEXT_IDS,) text ids by a seed, for a family to make prompts of."""
    draw = np.random.default_rng(_SEED)
    return list(draw.integers(0, config.speech_offset, (PROMPTS, TEXT_IDS)).astype(np.int32))


def judge_language_model(
    model: LanguageModel,
    session: SlotSession,
    embed: Callable[[Int32], Float32],
    config: LLMConfig,
    prompts: Sequence[Int32],
) -> Verdict:
    """Judge an engine by the TOKENS that it chooses greedily after each of the prompts.

    session: the model in float32, one slot; embed: ids (n,) -> (n, hidden). In the verdict, error
    is the largest shortfall in nats, level the share of tokens that came.
    """
    worst, came, asked = 0.0, 0, len(prompts) * TOKENS
    for prompt in prompts:
        tokens = _greedy(model, prompt)
        came += len(tokens)
        logits = session.prefill(0, embed(prompt))
        for position, token in enumerate(tokens, start=len(prompt)):
            row = int(token) - config.speech_offset
            if not 0 <= row < config.speech_codes:
                return Verdict(float("inf"), BOUND, 0.0, f"it chose id {token}, no speech code")
            codes = logits[: config.speech_codes]
            worst = max(worst, float(codes.max() - codes[row]))
            logits = session.decode(embed(token[None]), np.array([position], np.int32))[0]
    level = came / asked
    problem = None
    if not worst <= BOUND:
        problem = f"it chose a token {worst:.2g} nats below the best one; the limit is {BOUND:g}"
    elif level < LEAST:
        problem = f"only {came} of {asked} tokens came"
    return Verdict(worst, BOUND, level, problem)


def _greedy(model: LanguageModel, prompt: Int32) -> Int32:
    """TOKENS tokens; the regular end is banned before."""
    sampling = SamplingParams(top_k=1, seed=_SEED)
    request = GenerationRequest(Prompt(ids=prompt), TOKENS, TOKENS, sampling)
    parts = [increment.ids for increment in model.submit(request)]
    return np.concatenate([np.zeros(0, np.int32), *parts])
