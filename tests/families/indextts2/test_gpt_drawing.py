"""How codes are drawn: penalties, filters, hypotheses."""

import itertools
import math

import numpy as np
import pytest
import torch
from indextts2_front import tiny_gpt

from tritone.errors import InvalidRequest, StageFailed
from tritone.families.indextts2.gpt_beams import search
from tritone.families.indextts2.gpt_config import DrawingConfig, GptConfig
from tritone.families.indextts2.gpt_drawing import (
    drawing_of,
    filtered,
    penalised,
    said_before,
)
from tritone.families.indextts2.gpt_generation import Drawing, seeded_multinomial
from tritone.llm.contract import SamplingParams

OUT = -math.inf
EVEN = DrawingConfig(temperature=1.0, top_k=10, top_p=1.0)


def test_what_was_said_is_less_likely_whatever_its_sign() -> None:
    scores = torch.tensor([[4.0, -4.0, 4.0, -4.0]])
    lower = penalised(scores, said_before([(0, 1, 1)], 4), 2.0)
    assert lower.tolist() == [[2.0, -8.0, 4.0, -4.0]]


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({"top_k": 2}, [0.4, OUT, 0.3, OUT]),
        ({"top_k": 9}, [0.4, 0.2, 0.3, 0.1]),
        ({"top_p": 0.65}, [0.4, OUT, 0.3, OUT]),
        ({"top_p": 0.75}, [0.4, 0.2, 0.3, OUT]),
        ({"top_p": 0.01}, [0.4, OUT, OUT, OUT]),
    ],
)
def test_unlikely_ids_are_left_out(changed: dict, kept: list[float]) -> None:
    likely = torch.tensor([[0.4, 0.2, 0.3, 0.1]])
    found = filtered(likely.log(), EVEN.model_copy(update=changed)).exp()
    assert torch.allclose(found, torch.tensor([kept]).clamp(min=0.0))


def test_the_nucleus_is_that_at_the_temperature() -> None:
    scores = torch.tensor([[0.4, 0.2, 0.3, 0.1]]).log()
    config = EVEN.model_copy(update={"temperature": 0.25, "top_p": 0.72})
    found = filtered(scores, config)
    assert found[0, 0] == scores[0, 0] / 0.25 and found[0].isinf().tolist() == [False] + 3 * [True]
    two = filtered(scores, config, fewest=2)
    assert two[0].isinf().tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("top_k", value) for value in (0, -1)),
        *(("top_p", value) for value in (0.0, 1.5, math.nan)),
        *(("temperature", value) for value in (0.0, -1.0, math.inf, math.nan)),
        ("seed", -1),
    ],
)
def test_a_request_out_of_range_is_refused(field: str, value: float) -> None:
    with pytest.raises(InvalidRequest, match=rf"{field}.*{value}"):
        drawing_of(DrawingConfig(), SamplingParams(**{field: value}))


def test_a_request_changes_what_it_names() -> None:
    chosen = drawing_of(DrawingConfig(), SamplingParams(top_k=7))
    assert chosen == DrawingConfig(top_k=7)


@pytest.mark.parametrize("top_k", [1, 2])
def test_the_start_of_speech_in_its_middle_is_no_fault_of_the_caller(top_k: int) -> None:
    """It stays as likely as it is upstream."""
    gpt = GptConfig(codes=4)
    drawing = Drawing(gpt, EVEN.model_copy(update={"top_k": top_k}), seeded_multinomial(0))
    logits = np.zeros(gpt.codes + 2, np.float32)
    logits[gpt.start] = 1e4
    with pytest.raises(StageFailed, match=r"start of speech \(4\) was drawn"):
        drawing.draw(logits)


@pytest.mark.parametrize("length", [1, 2])
def test_wide_enough_a_search_finds_the_best_of_all(length: int) -> None:
    """Every hypothesis of that many codes, and those that end before, are compared."""
    with torch.inference_mode():
        gpt, prompt = tiny_gpt()
        codes, stop = range(gpt.config.codes + 2), gpt.config.stop
        scores: dict[tuple[int, ...], float] = {(): 0.0}
        ended: dict[tuple[int, ...], float] = {}
        for said in itertools.chain.from_iterable(
            itertools.product([c for c in codes if c != stop], repeat=n) for n in range(length)
        ):
            rows = gpt.code_rows(
                torch.tensor(said, dtype=torch.long), torch.arange(2, 2 + len(said))
            )
            inputs = torch.cat([gpt.opened(prompt), rows[None]], dim=1)
            hidden = gpt(inputs, gpt.cache(1, inputs.shape[1]))[:, -1]
            before = said_before([(1, gpt.config.start, *said)], len(codes))
            new = penalised(gpt.logits(hidden).log_softmax(-1), before, 10.0)[0]
            for code in codes:
                target = ended if code == stop else scores
                target[said if code == stop else (*said, code)] = scores[said] + float(new[code])
        whole = {said: score for said, score in scores.items() if len(said) == length}
        best = max({**whole, **ended}.items(), key=lambda item: item[1])
        found = search(gpt, prompt, DrawingConfig(beams=len(codes) - 1), length, None)
    assert (found.codes, pytest.approx(found.score, abs=1e-4)) == best


def test_drawn_hypotheses_are_those_of_their_seed() -> None:
    with torch.inference_mode():
        gpt, prompt = tiny_gpt()
        found = [
            search(gpt, prompt, DrawingConfig(), 12, torch.Generator().manual_seed(seed))
            for seed in (1, 1, 2)
        ]
    assert found[0] == found[1] != found[2]
