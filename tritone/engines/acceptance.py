"""Acceptance: a plan is opened only if it gave what torch gives in float32 on fixed inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tritone.engines.export import SEED, reference
from tritone.engines.graph import Graph

# Largest RMS error of an output as a share of its RMS. With rounded products full-size graphs are
# off by up to 0.014 in bfloat16 and 0.002 in float16; a wrong layer, by about 1.
BOUNDS = {"float32": 0.001, "bfloat16": 0.05, "float16": 0.01}
SILENCE = 0.1  # of the reference's RMS

Runner = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Verdict:
    """error: the worst RMS error of an output over its RMS. bound: its limit. level: the lowest RMS
    of an output over the reference's. problem: why it was refused, None if it passed."""

    error: float
    bound: float
    level: float
    problem: str | None

    @property
    def passed(self) -> bool:
        return self.problem is None


def judge_graph(graph: Graph, runner: Runner, dtype: str) -> Verdict:
    """Judge a plan by both of the graph's example lengths.

    runner: the plan, from inputs on the CPU in float32 to outputs on any device. dtype: of its
    products, a key of BOUNDS.
    """
    verdicts = []
    for sizes in graph.examples:
        inputs = graph.sample(sizes, SEED)
        outputs = runner(inputs)
        verdicts.append(judge(outputs, reference(graph, inputs), BOUNDS[dtype]))
        if not verdicts[-1].passed:
            break
    refused = [verdict for verdict in verdicts if not verdict.passed]
    return refused[0] if refused else max(verdicts, key=lambda verdict: verdict.error)


def judge(outputs: Mapping[str, Tensor], expected: Mapping[str, Tensor], bound: float) -> Verdict:
    """Compare outputs with what is expected of them, by name."""
    error, level, problem = 0.0, float("inf"), None
    for name, wanted in expected.items():
        given = outputs[name].detach().to("cpu", torch.float32)
        if given.shape != wanted.shape:
            problem = f"{name} has shape {list(given.shape)}, expected {list(wanted.shape)}"
            return Verdict(float("inf"), bound, 0.0, problem)
        if not bool(given.isfinite().all()):
            share = 1 - given.isfinite().float().mean().item()
            problem = f"{share:.0%} of {name} is NaN or infinite"
            return Verdict(float("inf"), bound, level if level < float("inf") else 0.0, problem)
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
