"""Acceptance: an engine is opened only if it gave what torch gives in float32 on fixed inputs."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from tritone.arrays import Float32, Int32
from tritone.engines.export import SEED, reference
from tritone.engines.record import Verdict
from tritone.engines.sources import Graph
from tritone.llm.config import LLMConfig
from tritone.llm.contract import GenerationRequest, Increment, LanguageModel, Prompt, SamplingParams
from tritone.llm.slots.session import SlotSession

# Largest RMS error of an output as a share of its RMS. With rounded products full-size graphs are
# off by up to 0.014 in bfloat16 and 0.002 in float16; a wrong layer, by about 1.
BOUNDS = {"float32": 0.001, "bfloat16": 0.05, "float16": 0.01}
SILENCE = 0.1  # of the reference's RMS

PROMPTS, TEXT_IDS, TOKENS = 4, 24, 16
# Largest shortfall of a chosen token's logit against the best one, in nats. Half precision moves a
# logit by some hundredths, so that only near ties are decided otherwise.
NATS = 0.5
LEAST = 0.5  # share of the tokens that must come; a stop id that is not banned may cut some off

Runner = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]


def judge_graph(graph: Graph, runner: Runner, dtype: str) -> Verdict:
    """Judge a plan by both of the graph's example lengths.

    runner: the plan, from inputs on the CPU in float32 to outputs on any device. dtype: of its
    products, a key of BOUNDS.
    """
    verdicts = []
    for sizes in graph.examples:
        inputs = graph.sample(sizes, SEED)
        verdict = judge(runner(inputs), reference(graph, inputs), BOUNDS[dtype])
        if not verdict.passed:
            return verdict
        verdicts.append(verdict)
    return max(verdicts, key=lambda verdict: verdict.error)


def judge(outputs: Mapping[str, Tensor], expected: Mapping[str, Tensor], bound: float) -> Verdict:
    """Compare outputs with what is expected of them, by name."""
    error, level, problem = 0.0, float("inf"), None
    for name, wanted in expected.items():
        given = outputs[name].detach().to("cpu", torch.float32)
        if given.shape != wanted.shape:
            problem = f"{name} has shape {list(given.shape)}, expected {list(wanted.shape)}"
        elif not bool(given.isfinite().all()):
            share = 1 - given.isfinite().float().mean().item()
            problem = f"{share:.0%} of {name} is NaN or infinite"
        if problem:
            return Verdict(float("inf"), bound, 0.0, problem)
        scale = _rms(wanted)
        error = max(error, _rms(given - wanted) / scale)
        level = min(level, _rms(given) / scale)
        if level < SILENCE:
            problem = f"{name} is silent: {level:.2g} of the RMS it should have"
        elif error > bound:
            problem = f"{name} is off by {error:.2g} of its RMS; the limit is {bound:g}"
        if problem:
            break
    return Verdict(error, bound, level, problem)


def _rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def example_texts(config: LLMConfig) -> list[Int32]:
    """PROMPTS times (TEXT_IDS,) text ids by a seed, for a family to make prompts of."""
    draw = np.random.default_rng(SEED)
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
    greedy = SamplingParams(top_k=1, seed=SEED)
    worst, came, asked = 0.0, 0, len(prompts) * TOKENS
    for prompt in prompts:
        request = GenerationRequest(Prompt(ids=prompt), TOKENS, TOKENS, greedy)
        tokens = Increment.joined(list(model.submit(request))).ids
        came += len(tokens)
        logits = session.prefill(0, embed(prompt))
        for position, token in enumerate(tokens, start=len(prompt)):
            row = int(token) - config.speech_offset
            if not 0 <= row < config.speech_codes:
                return Verdict(float("inf"), NATS, 0.0, f"it chose id {token}, no speech code")
            codes = logits[: config.speech_codes]
            worst = max(worst, float(codes.max() - codes[row]))
            logits = session.decode(embed(token[None]), np.array([position], np.int32))[0]
    problem = None
    if not worst <= NATS:
        problem = f"it chose a token {worst:.2g} nats below the best one; the limit is {NATS:g}"
    elif came < LEAST * asked:
        problem = f"only {came} of {asked} tokens came"
    return Verdict(worst, NATS, came / asked, problem)
