"""Tokens drawn beside their logits are those that the sampler draws from the same logits."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from llm_model import Built, request, tokens_of
from trtllm_fixtures import model_directory

from tritone.errors import StageFailed
from tritone.llm.config import SamplingConfig
from tritone.llm.contract import SamplingParams
from tritone.llm.sampler import Sampler
from tritone.llm.slots.scheduler import SlotLanguageModel
from tritone.llm.torch.drawing import Drawing, FusedDrawing
from tritone.llm.torch.opening import open_torch
from tritone.llm.torch.slots import TorchSlots

HEAD, WAITING = 300, slice(296, 300)
CONFIG = SamplingConfig()
ASKED = [
    SamplingParams(seed=1),
    SamplingParams(seed=2, top_k=1),
    SamplingParams(seed=3, top_k=5, top_p=1.0, temperature=2.0),
    SamplingParams(seed=4, top_k=100, top_p=0.95, temperature=0.5),
    SamplingParams(seed=5, top_p=1e-3),
]


def samplers() -> list[Sampler]:
    return [Sampler(CONFIG, asked, waiting=WAITING, min_tokens=8) for asked in ASKED]


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("way", "steps"), [(Drawing, 100), (FusedDrawing, 15)])
def test_they_are_the_samplers_own(kind: torch.dtype, way: type[Drawing], steps: int) -> None:
    """Of streams side by side, over many steps with repetitions: the same numbers are used up
    where a token is drawn twice, and of equal logits, as of bfloat16, the same one is first."""
    ours, theirs = samplers(), samplers()
    drawing = way(8, WAITING, CONFIG.repetition_window, torch.device("cpu"))
    random, twice = np.random.default_rng(0), 0
    for _ in range(steps):
        logits = (random.normal(size=(len(ASKED), HEAD)) * 2).astype(np.float32)
        logits[:, :6] += 6  # a few that come again and again
        logits = torch.from_numpy(logits).to(kind).float().numpy()
        asked = [sampler.asked() for sampler in ours]
        drawing.prepare([draw for draw in asked if draw is not None])
        drawn = drawing(torch.from_numpy(np.pad(logits, ((0, 3), (0, 0)))))[: len(ASKED)]
        expected = [sampler.draw(row) for sampler, row in zip(theirs, logits, strict=True)]
        assert drawn[:, 0].tolist() == expected
        for one, other, (row, again) in zip(ours, theirs, drawn.tolist(), strict=True):
            one.drawn(row, again=bool(again))
            one.emit(row)
            other.emit(row)
            twice += again
    assert twice > steps // 2


@pytest.mark.parametrize("way", [Drawing, FusedDrawing])
def test_a_nucleus_may_be_all_there_is(way: type[Drawing]) -> None:
    """And a number next to one is the last of it."""
    sampler = Sampler(CONFIG, SamplingParams(top_k=100, top_p=1.0), waiting=slice(6, 8))
    asked = sampler.asked()
    assert asked is not None
    drawing = way(1, slice(6, 8), CONFIG.repetition_window, torch.device("cpu"))
    drawing.prepare([replace(asked, uniforms=(np.nextafter(1, 0), 0.0), banned=True)])
    logits = torch.tensor([[0.0, 3.0, 2.0, 5.0, 1.0, 4.0, 9.0, 9.0]])
    assert drawing(logits).tolist() == [[0, 0]]


@pytest.mark.parametrize("way", [Drawing, FusedDrawing])
def test_what_ends_a_speech_waits(way: type[Drawing]) -> None:
    (sampler,) = samplers()[1:2]
    drawing = way(1, WAITING, CONFIG.repetition_window, torch.device("cpu"))
    logits = torch.zeros(1, HEAD)
    logits[0, 297], logits[0, 7] = 9.0, 5.0
    for emitted in range(9):
        asked = sampler.asked()
        assert asked is not None
        drawing.prepare([asked])
        assert drawing(logits)[0, 0] == (7 if emitted < 8 else 297)
        sampler.emit(7)
    assert logits[0, 297] == 9.0, "they stay as they are"


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("way", [Drawing, FusedDrawing])
def test_what_is_no_number_is_no_token(value: float, way: type[Drawing]) -> None:
    (sampler,) = samplers()[:1]
    drawing = way(1, WAITING, CONFIG.repetition_window, torch.device("cpu"))
    asked = sampler.asked()
    assert asked is not None
    drawing.prepare([asked])
    row, again = drawing(torch.full((1, HEAD), value))[0].tolist()
    with pytest.raises(StageFailed, match="the largest logit is no number"):
        sampler.drawn(row, again=bool(again))


def test_a_wider_nucleus_is_drawn_here() -> None:
    assert Sampler(CONFIG, SamplingParams(top_k=200), waiting=WAITING).asked() is None
    own = Sampler(CONFIG, SamplingParams(), waiting=WAITING, multinomial=lambda weights: 0)
    assert own.asked() is None


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return model_directory(tmp_path_factory.mktemp("model"))


def spoken(model: SlotLanguageModel, *asked: SamplingParams) -> list[list[int]]:
    generations = [model.submit(request(2, tokens=40, sampling=one)) for one in asked]
    return [tokens_of(generation) for generation in generations]


def test_the_logits_of_streams_stay_where_they_are(built: Built, monkeypatch: Any) -> None:
    """A seed gives the same tokens where its neighbour has the logits brought here."""
    usual = [SamplingParams(top_k=25, temperature=1.5, seed=seed) for seed in (1, 2)]
    model = open_torch(*built, device="cpu", dtype="fp32", slots=4)
    try:
        beside = spoken(model, *usual, SamplingParams(top_k=200, temperature=1.5, seed=9))
        monkeypatch.delattr(TorchSlots, "decode")  # would be called for them
        assert spoken(model, *usual) == beside[:2]
    finally:
        model.close()
    assert beside[0] != beside[1]
