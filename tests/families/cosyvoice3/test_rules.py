"""Pauses that the flow does not get, and what the pipeline makes of them."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_stages import CONFIG, FakeStages, codes, one, segment, speak, spoken
from frontend_fixtures import OFFSET, TASK_ID
from paths import GOLDEN

from tritone.acoustic.solver_config import SolverConfig
from tritone.errors import StageFailed
from tritone.families.cosyvoice2.rules import ChunkPolicy
from tritone.families.cosyvoice3.config import (
    CosyVoice3Config,
    EstimatorConfig,
    FlowConfig,
    VocoderConfig,
)
from tritone.families.cosyvoice3.rules import LONGEST_PAUSE, SILENT, CosyVoice3Rules, PausePlanner
from tritone.llm.config import SamplingConfig
from tritone.llm.contract import Increment, Prompt
from tritone.synthesis.rules import Hops

FILTER = json.loads((GOLDEN / "cosyvoice3" / "silent_filter.json").read_text())
CASES = [(case["input"], case["output"]) for case in FILTER["cases"]]
PAUSE = [1, 2, 28, 29, 55, 248, 494, 2241]  # silent codes, three more than are spoken


def config(**llm: Any) -> CosyVoice3Config:
    """With the language model of the fake stages."""
    vocoder = CONFIG.vocoder.model_dump(exclude={"free_phase"})
    return CosyVoice3Config(
        sample_rate=24000,
        sampling=SamplingConfig(),
        llm=CONFIG.llm.model_copy(update=llm),
        flow=FlowConfig(
            vocab_size=6561,
            spk_embed_dim=192,
            output_size=80,
            token_mel_ratio=2,
            pre_lookahead_len=3,
            lookahead_channels=16,
            chunk_size=25,
            estimator=EstimatorConfig(dim=16, depth=1, heads=2, dim_head=8, ff_mult=2),
            solver=SolverConfig(),
        ),
        vocoder=VocoderConfig(**vocoder, conv_pre_look_right=4),
    )


RULES = CosyVoice3Rules(config(), Hops())


def tokens(values: list[int]) -> Increment:
    return Increment(np.array(values, np.int32))


def planner(prompt_tokens: int = 0) -> PausePlanner:
    return PausePlanner(ChunkPolicy(chunk=25, lookahead=3), prompt_tokens)


def test_the_silent_codes_are_upstreams() -> None:
    assert FILTER["silent_tokens"] == SILENT.tolist()
    assert FILTER["max_consecutive"] == LONGEST_PAUSE


@pytest.mark.parametrize("increment", [1, 2, 7, 100])
@pytest.mark.parametrize(("given", "heard"), CASES)
def test_long_pauses_are_cut_however_codes_come(
    given: list[int], heard: list[int], increment: int
) -> None:
    plan = planner()
    for begin in range(0, len(given), increment):
        plan.push(tokens(given[begin : begin + increment]))
    assert plan.received == len(heard)
    taken = [plan.take(0.0, 1.0) for _ in range(2) if plan.ready]
    assert Increment.joined([*taken, plan.rest()]).ids.tolist() == heard


def test_what_is_left_out_completes_no_hop() -> None:
    plan = planner()
    plan.push(tokens([*codes(22, first=100), *PAUSE]))
    assert plan.received == 27 and not plan.ready
    plan.push(tokens([100]))
    assert plan.ready


def test_every_segment_has_a_planner_of_its_own() -> None:
    """A pause at the end of one does not shorten the pause at the beginning of the next."""
    first, _ = RULES.plan(segment("one").voice, streaming=True)
    first.push(tokens(PAUSE))
    second, _ = RULES.plan(segment("two").voice, streaming=True)
    second.push(tokens(PAUSE))
    assert first.received == second.received == LONGEST_PAUSE


def test_hops_and_rates_are_those_of_the_flow() -> None:
    assert RULES.rates.tokens == 25 and RULES.rates.frames == 50 and RULES.rates.samples == 24000
    assert RULES.chunk_frames == 50
    assert RULES.token_bounds(10) == (20, 200)
    plan, voice = RULES.plan(segment("one", prompt=30).voice, streaming=True)
    plan.push(tokens(codes(17, first=100)))
    assert not plan.ready
    plan.push(tokens([117]))
    assert plan.ready and len(voice.prompt_tokens) == 10, "15 tokens and their look-ahead"


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("increment", [1, 4, 70])
def test_the_pipeline_speaks_without_them(streaming: bool, increment: int) -> None:
    speech = [*codes(30, first=100), *PAUSE, *codes(30, first=200)]
    stages = one(speech, increment=increment)
    chunks = speak(stages, rules=RULES, streaming=streaming)
    kept = [*codes(30, first=100), *PAUSE[:LONGEST_PAUSE], *codes(30, first=200)]
    assert spoken(chunks) == kept
    timing = chunks[-1].timing
    assert timing["tokens"] == len(speech), "what the language model made is counted"
    assert timing["audio_s"] == pytest.approx(len(kept) / 25)


def test_a_generation_that_goes_on_has_them_in_its_prompt() -> None:
    """The language model knows its own pauses, and the counts of a text are of all its codes."""
    rules = CosyVoice3Rules(config(text_heads=((0, 0),)), Hops())
    first = [*codes(10, first=100), *PAUSE]
    text = [7, 7, *range(100, 110), TASK_ID, 9]
    asked = replace(segment("one", 10), prompt=Prompt(np.array(text, np.int32)))
    said = [2 + place for place in np.linspace(0, 5, len(first)).astype(int)]
    rest = [2 + place for place in np.linspace(6, 9, 12).astype(int)]
    stages = FakeStages([asked], [first, codes(12, first=300)], said=[said, rest])
    chunks = speak(stages, rules=rules)
    kept = [*codes(10, first=100), *PAUSE[:LONGEST_PAUSE]]
    assert spoken(chunks) == [*kept, *codes(12, first=300)]
    again = stages.asked[1].prompt.ids
    assert again is not None and again.tolist() == [*text, *(code + OFFSET for code in first)]
    assert stages.asked[1].max_tokens == rules.token_bounds(10)[1] - len(first)


def test_a_pause_goes_on_in_the_generation_that_goes_on() -> None:
    rules = CosyVoice3Rules(config(text_heads=((0, 0),)), Hops())
    text = [7, 7, *range(100, 110), TASK_ID, 9]
    asked = replace(segment("one", 10), prompt=Prompt(np.array(text, np.int32)))
    first, rest = [*codes(10, first=100), 1, 2, 28], [29, 55, 248, *codes(9, first=300)]
    said = [
        [2 + p for p in np.linspace(a, b, n).astype(int)] for a, b, n in ((0, 5, 13), (6, 9, 12))
    ]
    chunks = speak(FakeStages([asked], [first, rest], said=said), rules=rules)
    assert spoken(chunks) == [*first, 29, 55, *codes(9, first=300)]


def test_endless_silence_is_a_flaw_all_the_same() -> None:
    stages = FakeStages([segment("one", 30)], [[1] * 200, codes(90, first=100)])
    chunks = speak(stages, rules=RULES)
    assert spoken(chunks) == codes(90, first=100)
    assert stages.generations[0].cancelled and chunks[-1].timing["retries"] == 1


@pytest.mark.parametrize("empty", [1, 3])
def test_an_empty_generation_is_tried_again(empty: int) -> None:
    stages = FakeStages([segment("one", 2)], [*[[]] * empty, codes(4, first=100)])
    chunks = speak(stages, rules=RULES)
    assert spoken(chunks) == codes(4, first=100)
    assert chunks[-1].timing["retries"] == empty
    assert any("0 speech tokens for 2 text tokens" in n for n in chunks[-1].timing["notes"])


def test_nothing_but_empty_generations_is_an_error() -> None:
    with pytest.raises(StageFailed, match="0 speech tokens for 2 text tokens, 4 times"):
        speak(FakeStages([segment("one", 2)], [[]] * 4), rules=RULES)


def test_a_single_token_is_spoken() -> None:
    assert spoken(speak(FakeStages([segment("a", 1)], [[100]]), rules=RULES)) == [100]
