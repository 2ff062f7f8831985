import json

import numpy as np
import pytest
import torch
from llm_model import GOLDEN
from parity.llm import chi_squared_p_value
from safetensors.numpy import load_file

from tritone.errors import InvalidRequest, StageFailed
from tritone.llm.config import SamplingConfig
from tritone.llm.contract import SamplingParams
from tritone.llm.sampler import Sampler, seeded_multinomial
from tritone.llm.trtllm.speech_logits import repetition_aware_law

RAS = json.loads((GOLDEN / "ras.json").read_text())
LOGITS = load_file(GOLDEN / "ras_logits.safetensors")
END = 6561
WAITING = slice(END, END + 1)


def make(*, params: SamplingParams | None = None, **options) -> Sampler:
    options = {"waiting": WAITING, **options}
    return Sampler(SamplingConfig(), params or SamplingParams(), **options)


def nucleus(sampler: Sampler, logits: np.ndarray) -> dict[int, float]:
    """Ids that a first draw may give, most likely first, and their probabilities."""
    scores = sampler._scores(logits)
    ids, kept = sampler._nucleus(scores, np.exp(scores))
    return dict(zip(ids.tolist(), kept.tolist(), strict=True))


def law_of(sampler: Sampler, logits: np.ndarray) -> np.ndarray:
    """The law that runtimes in torch are given, in the state of a sampler."""
    return repetition_aware_law(
        torch.from_numpy(sampler._scores(logits)),
        torch.tensor(sorted(set(sampler._window)), dtype=torch.int64),
        top_k=sampler.top_k,
        top_p=sampler.top_p,
    ).numpy()


def torch_multinomial(weights: np.ndarray) -> int:
    return int(torch.from_numpy(weights).multinomial(1, replacement=True))


def test_configured_defaults_are_those_of_the_release() -> None:
    config = SamplingConfig()
    assert RAS["params"] == {
        "top_p": config.top_p,
        "top_k": config.top_k,
        "win_size": config.repetition_window,
        "tau_r": config.repetition_threshold,
    }


@pytest.mark.parametrize("case", RAS["cases"], ids=lambda case: f"l{case['case']}")
def test_golden_draws_with_the_generator_of_torch(case) -> None:
    minimum = len(case["decoded"]) + 1 if case["ignore_eos"] else 0
    for seed, token in zip(case["torch_seeds"], case["tokens"], strict=True):
        sampler = make(min_tokens=minimum, multinomial=torch_multinomial, emitted=case["decoded"])
        torch.manual_seed(seed)
        assert sampler.draw(LOGITS[f"l{case['case']}"]) == token


@pytest.mark.parametrize("index", range(3))
def test_law_and_draws_equal_the_golden_distribution(index: int) -> None:
    golden = RAS["distribution"][index]
    logits = np.array(golden["logits"], np.float32)
    sampler = make(params=SamplingParams(seed=5), emitted=golden["decoded"])
    law = law_of(sampler, logits)
    assert np.abs(law - golden["analytic_prob"]).max() < 1e-6
    assert law.sum() == pytest.approx(1)
    ours = np.bincount([sampler.draw(logits) for _ in range(20000)], minlength=len(law))
    assert chi_squared_p_value(ours, law) > 1e-4
    assert chi_squared_p_value(np.array(golden["empirical_counts"]), law) > 1e-4
    shifted = np.roll(law, 1)
    assert chi_squared_p_value(ours, shifted) < 1e-4


def test_full_repetition_draws_the_token_once_more_from_everything_else() -> None:
    logits = np.full(6564, -20, np.float32)
    logits[7] = 0
    law = law_of(make(emitted=[7]), logits)
    assert law[7] == 0
    assert law[8] == pytest.approx(1 / 6563)
    assert make(emitted=[7]).draw(logits) != 7
    assert make(emitted=[7, *range(100, 110)]).draw(logits) == 7  # out of the window of ten


def test_greedy_is_argmax_and_may_repeat() -> None:
    logits = LOGITS["l0"]
    sampler = make(params=SamplingParams(top_k=1))
    best = int(logits.argmax())
    for _ in range(15):
        assert sampler.draw(logits) == best
        sampler.emit(best)


def test_only_the_regular_end_waits_for_the_minimum() -> None:
    logits = np.full(6564, -50, np.float32)
    logits[END], logits[END + 1] = 50, 40
    assert make(min_tokens=1).draw(logits) == END + 1
    assert make(min_tokens=1, emitted=[3]).draw(logits) == END
    greedy = SamplingParams(top_k=1)
    assert make(params=greedy, min_tokens=2, emitted=[3]).draw(logits) == END + 1


@pytest.mark.parametrize("top_k", [1, 25])
def test_every_stop_id_waits_for_the_minimum_where_all_do(top_k: int) -> None:
    logits = np.full(6564, -50, np.float32)
    logits[END:], logits[7] = (30, 50, 40), -40
    late = {"min_tokens": 1, "waiting": slice(END, 6564), "params": SamplingParams(top_k=top_k)}
    assert make(**late).draw(logits) == 7
    assert make(**late, emitted=[3]).draw(logits) == END + 1


def test_logits_are_not_changed() -> None:
    logits = LOGITS["l3"].copy()
    make(min_tokens=5).draw(logits)
    assert np.array_equal(logits, LOGITS["l3"])


def test_temperature_scales_the_logits() -> None:
    logits = LOGITS["l1"]
    warm = nucleus(make(params=SamplingParams(temperature=2.0)), logits)
    halved = nucleus(make(), logits / 2)
    assert warm == pytest.approx(halved, abs=1e-7) and warm != nucleus(make(), logits)


def test_top_p_and_top_k_override_the_checkpoint() -> None:
    logits = LOGITS["l0"]
    order = np.argsort(-logits, kind="stable")
    for top_k in (2, 200, 6564):
        kept = nucleus(make(params=SamplingParams(top_k=top_k, top_p=1.0)), logits)
        assert set(kept) <= set(order[:top_k])
        assert len(kept) > top_k * 0.9
    assert list(nucleus(make(params=SamplingParams(top_p=1e-6)), logits)) == [order[0]]


def test_ties_keep_the_lower_id() -> None:
    logits = np.zeros(6564, np.float32)
    assert list(nucleus(make(), logits)) == list(range(25))


def test_seed_repeats_the_draws() -> None:
    def run(seed: int | None) -> list[int]:
        sampler = make(params=SamplingParams(seed=seed))
        return [sampler.draw(LOGITS[f"l{i}"]) for i in range(24)]

    assert run(2**64 - 1) == run(2**64 - 1)
    assert run(1) != run(2)
    assert run(None) != run(None)


def test_multinomial_never_takes_a_weight_of_zero() -> None:
    draw = seeded_multinomial(0)
    weights = np.array([0, 1, 0, 2, 0], np.float32)
    counts = np.bincount([draw(weights) for _ in range(9000)], minlength=5)
    assert counts[[0, 2, 4]].sum() == 0
    assert counts[3] / counts[1] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        (SamplingParams(top_k=0), "top_k"),
        (SamplingParams(top_p=0.0), "top_p"),
        (SamplingParams(top_p=1.1), "top_p"),
        (SamplingParams(top_p=float("nan")), "top_p"),
        (SamplingParams(temperature=0.0), "temperature"),
        (SamplingParams(temperature=float("inf")), "temperature"),
        (SamplingParams(seed=-1), "seed"),
    ],
)
def test_parameters_out_of_range_are_refused(params: SamplingParams, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make(params=params)
    assert caught.value.field == field


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_logits_fail(value: float) -> None:
    logits = LOGITS["l0"].copy()
    logits[5] = value
    with pytest.raises(StageFailed, match="largest logit"):
        make().draw(logits)


def test_a_draw_sorts_few_of_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what makes it cost microseconds."""
    sizes, argsort = [], np.argsort

    def sort(scores: np.ndarray, **options: str) -> np.ndarray:
        sizes.append(len(scores))
        return argsort(scores, **options)

    monkeypatch.setattr(np, "argsort", sort)
    sampler = make(params=SamplingParams(seed=0))
    for index in range(480):
        sampler.emit(sampler.draw(LOGITS[f"l{index % 24}"]))
    assert len(sizes) == 480 and max(sizes) < len(LOGITS["l0"]) / 50


def test_the_coldest_temperature_draws_the_most_likely() -> None:
    """Quotients by numbers near the smallest of all are infinite."""
    logits = np.random.default_rng(0).normal(0, 5, END + 3).astype(np.float32)
    with np.errstate(over="raise"):
        token = make(params=SamplingParams(temperature=1e-45, top_k=5)).draw(logits)
    assert token == logits.argmax()
