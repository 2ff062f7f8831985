"""The gate of the language model's engine: its greedy choices by the logits of float32 torch."""

from collections.abc import Callable

import numpy as np

from tritone.arrays import Float32, Int32
from tritone.engines.acceptance import Verdict
from tritone.llm.config import LLMConfig
from tritone.llm.contract import GenerationRequest, LanguageModel, SamplingParams
from tritone.llm.slots.session import SlotSession

PROMPTS, PROMPT_IDS, TOKENS = 4, 24, 16
# Largest shortfall of a chosen token's logit against the best one, in nats. Half precision moves a
# logit by some hundredths, so that only near ties are decided otherwise.
BOUND = 0.5
LEAST = 0.5  # share of the tokens that must come; a stop id that is not banned may cut some off
_SEED = 0


def gate_language_model(
    model: LanguageModel,
    session: SlotSession,
    embed: Callable[[Int32], Float32],
    config: LLMConfig,
) -> Verdict:
    """Judge an engine by the tokens that it chooses greedily after fixed prompts.

    session: the model in float32, one slot; embed: ids (n,) -> (n, hidden). In the verdict, error
    is the largest shortfall in nats, level the share of tokens that came.
    """
    worst, came = 0.0, 0
    for prompt in _prompts(config):
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
    level = came / (PROMPTS * TOKENS)
    problem = None
    if not worst <= BOUND:
        problem = f"it chose a token {worst:.2g} nats below the best one; the limit is {BOUND:g}"
    elif level < LEAST:
        problem = f"only {came} of {PROMPTS * TOKENS} tokens came"
    return Verdict(worst, BOUND, level, problem)


def _prompts(config: LLMConfig) -> list[Int32]:
    """Text ids by a seed between the ids that open a prompt and close it."""
    draw = np.random.default_rng(_SEED)
    text = draw.integers(0, config.speech_offset, (PROMPTS, PROMPT_IDS))
    return [
        np.array([config.sos_id, *ids, config.task_id], dtype=np.int32) for ids in text.tolist()
    ]


def _greedy(model: LanguageModel, prompt: Int32) -> Int32:
    """TOKENS tokens; the regular end is banned before."""
    request = GenerationRequest(prompt, TOKENS, TOKENS, SamplingParams(top_k=1, seed=_SEED))
    return np.concatenate([np.zeros(0, np.int32), *model.submit(request)])
