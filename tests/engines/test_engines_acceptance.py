"""What is refused: NaN, silence, large errors, wrong shapes, and choices of a language model."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tritone.arrays import Float32, Int32
from tritone.engines.acceptance import (
    BOUNDS,
    NATS,
    TOKENS,
    example_texts,
    judge,
    judge_graph,
    judge_language_model,
)
from tritone.engines.sources import Axis, Graph, Shape, Sizes
from tritone.llm.config import LLMConfig
from tritone.llm.contract import GenerationRequest, Increment


class Doubling(Graph):
    name = "doubling"
    outputs = ("y",)
    examples = ({"n": 40}, {"n": 60})

    class Module(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    def __init__(self) -> None:
        super().__init__(self.Module(), {"n": Axis(1, 4, 99)})

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        return {"x": (3, sizes["n"])}

    def sample(self, sizes: Sizes, seed: int) -> dict[str, Tensor]:
        draw = torch.Generator().manual_seed(seed)
        return {"x": torch.randn(self.shapes(sizes)["x"], generator=draw)}


def plan(change: float = 0.0, *, scale: float = 2.0, long: float | None = None) -> object:
    """A runner: doubles, off by `change` of the RMS; at the second length by `long`."""

    def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        y = scale * inputs["x"]
        off = change if long is None or y.shape[1] == 40 else long
        return {"y": y + off * 2.0 * torch.ones_like(y)}

    return run


def test_a_plan_within_its_bound_passes() -> None:
    verdict = judge_graph(Doubling(), plan(0.01), "bfloat16")  # type: ignore[arg-type]
    assert verdict.passed and verdict.problem is None
    assert verdict.error == pytest.approx(0.01, rel=0.2)
    assert verdict.level == pytest.approx(1.0, rel=0.1)
    assert verdict.bound == BOUNDS["bfloat16"]


def test_both_lengths_count() -> None:
    verdict = judge_graph(Doubling(), plan(0.001, long=0.5), "bfloat16")  # type: ignore[arg-type]
    assert not verdict.passed and verdict.error == pytest.approx(0.5, rel=0.2)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_large_error_is_refused(dtype: str) -> None:
    verdict = judge_graph(Doubling(), plan(1.5 * BOUNDS[dtype]), dtype)  # type: ignore[arg-type]
    assert not verdict.passed
    assert verdict.problem is not None and "of its RMS; the limit is" in verdict.problem


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused(value: float) -> None:
    expected = {"a": torch.ones(4), "b": torch.ones(2, 5)}
    given = {"a": torch.ones(4), "b": torch.ones(2, 5)}
    given["b"][1, 3] = value
    verdict = judge(given, expected, 0.05)
    assert verdict.problem == "10% of b is NaN or infinite"


def test_silence_is_refused_by_name() -> None:
    verdict = judge_graph(Doubling(), plan(scale=0.02), "bfloat16")  # type: ignore[arg-type]
    assert verdict.problem is not None and verdict.problem.startswith("y is silent: 0.01")


def test_a_wrong_shape_is_refused() -> None:
    verdict = judge({"y": torch.ones(3)}, {"y": torch.ones(4)}, 0.05)
    assert verdict.problem == "y has shape [3], expected [4]"


def test_half_precision_outputs_are_judged_in_float32() -> None:
    expected = {"y": torch.full((4,), 300.0)}  # squared it is beyond float16
    verdict = judge({"y": torch.full((4,), 300.0, dtype=torch.float16)}, expected, 0.05)
    assert verdict.passed and verdict.error == 0.0


LLM = LLMConfig(
    vocab_size=40,
    speech_offset=20,
    speech_codes=8,
    stop_ids=(28, 29),
    hidden_size=4,
    intermediate_size=8,
    num_hidden_layers=1,
    num_attention_heads=1,
    num_key_value_heads=1,
    rope_theta=1e4,
    rms_norm_eps=1e-6,
    max_position_embeddings=128,
)


class Reference:
    """A float32 session whose best code after an id is that id plus one."""

    def prefill(self, slot: int, embeds: Float32, start: int = 0) -> Float32:
        return self._logits(embeds[-1])

    def decode(self, embeds: Float32, lengths: Int32) -> Float32:
        return self._logits(embeds[0])[None]

    def _logits(self, embed: Float32) -> Float32:
        logits = np.zeros(LLM.speech_head_size, np.float32)
        logits[-1] = 9.0  # a stop id, which is banned
        logits[int(embed[0] + 1) % LLM.speech_codes] = 3.0
        logits[int(embed[0] + 2) % LLM.speech_codes] = 2.9
        return logits


def embed(ids: Int32) -> Float32:
    return np.repeat(ids[:, None].astype(np.float32), 4, axis=1)


class Engine:
    """Chooses the code `step` after the last id, `count` times."""

    def __init__(self, step: int = 1, count: int = TOKENS) -> None:
        self.step, self.count = step, count

    def submit(self, request: GenerationRequest) -> Iterator[Increment]:
        last = int(request.prompt.ids[-1])
        for _ in range(self.count):
            last = (last + self.step) % LLM.speech_codes + LLM.speech_offset
            yield Increment(np.array([last], np.int32))

    def close(self) -> None:
        pass


def judged(engine: object) -> tuple[bool, str]:
    prompts = example_texts(LLM)
    verdict = judge_language_model(engine, Reference(), embed, LLM, prompts)  # type: ignore[arg-type]
    return verdict.passed, verdict.problem or ""


def test_an_engine_that_chooses_as_float32_does_passes() -> None:
    assert judged(Engine(1)) == (True, "")


def test_a_near_tie_may_be_decided_otherwise() -> None:
    assert judged(Engine(2)) == (True, "")


def test_an_engine_that_chooses_other_tokens_is_refused() -> None:
    passed, problem = judged(Engine(3))
    assert (
        not passed and problem == f"it chose a token 3 nats below the best one; the limit is {NATS}"
    )


def test_an_engine_that_says_little_is_refused() -> None:
    passed, problem = judged(Engine(1, count=3))
    assert not passed and problem == f"only 12 of {4 * TOKENS} tokens came"


def test_an_engine_that_leaves_the_codes_is_refused() -> None:
    class Text(Engine):
        def submit(self, request: GenerationRequest) -> Iterator[Increment]:
            yield Increment(np.array([5], np.int32))

    passed, problem = judged(Text())
    assert not passed and problem == "it chose id 5, no speech code"
