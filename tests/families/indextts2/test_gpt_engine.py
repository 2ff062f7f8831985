"""Many generations at once: the same codes as alone, and an end for each."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from indextts2_front import tiny_gpt

from tritone.errors import Cancelled, InvalidRequest, Overloaded, StageFailed
from tritone.families.indextts2 import gpt_engine
from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_config import DrawingConfig
from tritone.families.indextts2.gpt_engine import GptLanguageModel
from tritone.families.indextts2.gpt_generation import (
    Drawing,
    generate,
    next_logits,
    seeded_multinomial,
)
from tritone.llm.contract import GenerationRequest, Increment, Prompt, SamplingParams


@pytest.fixture(scope="module")
def tiny() -> tuple[Gpt, np.ndarray]:
    with torch.inference_mode():
        gpt, prompt = tiny_gpt()
    return gpt, prompt[0].numpy()


@pytest.fixture
def model(tiny: tuple[Gpt, np.ndarray]) -> Iterator[GptLanguageModel]:
    model = GptLanguageModel(tiny[0], DrawingConfig(), slots=3, max_waiting=9)
    yield model
    model.close()


@pytest.fixture
def request_(tiny: tuple[Gpt, np.ndarray]) -> GenerationRequest:
    sampling = SamplingParams(seed=1)
    return GenerationRequest(Prompt(embeddings=tiny[1]), 0, 20, sampling)


def test_together_is_as_alone(
    tiny: tuple[Gpt, np.ndarray], model: GptLanguageModel, request_: GenerationRequest
) -> None:
    """More than there are slots."""
    gpt, prompt = tiny
    requests = [replace(request_, sampling=SamplingParams(seed=seed)) for seed in range(8)]
    generations = [model.submit(one) for one in requests]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one: Increment.joined(list(one)), generations))
    for seed, increment in enumerate(found):
        drawing = Drawing(gpt, DrawingConfig(), seeded_multinomial(seed))
        alone = list(generate(gpt, torch.from_numpy(prompt)[None], drawing, 20))
        assert increment.ids.tolist() == [one.code for one in alone] and len(alone) > 3
        assert increment.latents is not None
        beside = torch.stack([one.latent for one in alone]).numpy()
        np.testing.assert_allclose(increment.latents, beside, atol=2e-5)


def test_cancelled_and_left_generations_make_room(
    model: GptLanguageModel, request_: GenerationRequest
) -> None:
    long = replace(request_, min_tokens=60, max_tokens=60)
    cancelled = model.submit(long)
    cancelled.cancel()
    with pytest.raises(Cancelled):
        list(cancelled)
    for _ in range(15):
        next(iter(model.submit(long)))
    assert len(Increment.joined(list(model.submit(long)))) == 60


@pytest.fixture
def held(tiny: tuple[Gpt, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> GptLanguageModel:
    """With one slot, whose stream gets its first code when the model is closed."""
    model = GptLanguageModel(tiny[0], DrawingConfig(), slots=1, max_waiting=1)

    def when_closed(*of_pass: Any) -> torch.Tensor:
        with model._changed:
            model._changed.wait_for(lambda: model._closed)
        return next_logits(*of_pass)

    monkeypatch.setattr(gpt_engine, "next_logits", when_closed)
    return model


def test_more_than_may_wait_are_refused(
    held: GptLanguageModel, request_: GenerationRequest
) -> None:
    taken = [held.submit(request_) for _ in range(2)]
    with pytest.raises(Overloaded, match="limits: 1 and 1"):
        held.submit(request_)
    held.close()
    assert len(taken) == 2


def test_closing_ends_what_goes_on(held: GptLanguageModel, request_: GenerationRequest) -> None:
    going, waiting = held.submit(request_), held.submit(request_)
    held.close()
    for generation in (going, waiting):
        with pytest.raises(StageFailed, match="was closed"):
            list(generation)
    with pytest.raises(StageFailed, match="is closed"):
        held.submit(request_)


def test_a_broken_stream_harms_no_other(
    tiny: tuple[Gpt, np.ndarray], model: GptLanguageModel, request_: GenerationRequest
) -> None:
    huge = np.full_like(tiny[1], 3e38)
    broken = model.submit(replace(request_, prompt=Prompt(embeddings=huge)))
    well = model.submit(request_)
    with pytest.raises(StageFailed, match="the largest logit is nan"):
        list(broken)
    assert len(Increment.joined(list(well))) > 3


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"prompt": Prompt(ids=np.ones(3, np.int32))}, "input_ids.*prompt_embeddings alone"),
        ({"prompt": Prompt(embeddings=np.ones((3, 47), np.float32))}, r"shape \(3, 47\)"),
        ({"prompt": Prompt(embeddings=np.ones((43, 48), np.float32))}, "n of 1 to 42"),
        ({"prompt": Prompt(embeddings=np.full((3, 48), np.nan, np.float32))}, "NaN"),
        ({"max_tokens": 0}, "max_tokens.*0 is below 1"),
        ({"min_tokens": -1}, "min_tokens.*-1 is below 0"),
        ({"sampling": SamplingParams(top_k=0)}, "top_k"),
    ],
)
def test_what_cannot_be_served_is_refused(
    model: GptLanguageModel, request_: GenerationRequest, changes: dict, problem: str
) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        model.submit(replace(request_, **changes))
