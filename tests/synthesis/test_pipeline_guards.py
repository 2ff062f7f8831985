"""The pipeline when the language model loses the text, over fakes."""

import numpy as np
import pytest
from fake_stages import FakeStages, codes, one, segment, speak, spoken
from frontend_fixtures import OFFSET

from tritone.errors import StageFailed
from tritone.families.cosyvoice2.rules import TokenGuard
from tritone.synthesis.pipeline import Settings


def test_endless_repeats_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = FakeStages([segment("one")], [[5] * 27, codes(40)])
    monkeypatch.setattr(TokenGuard, "longest_run", 20)
    chunks = speak(stages)
    assert spoken(chunks) == codes(40)
    assert [ask.sampling.seed for ask in stages.asked] == [7, 1007]
    assert chunks[-1].timing["retries"] == 1
    assert any("21 times in a row" in note for note in chunks[-1].timing["notes"])
    assert stages.generations[0].cancelled


def test_early_stops_are_drawn_again() -> None:
    stages = FakeStages([segment("one", tokens=40)], [codes(9), codes(30)])
    chunks = speak(stages)
    assert spoken(chunks) == codes(30) and len(stages.flows) == 2
    assert any("9 speech tokens for 40 text tokens" in n for n in chunks[-1].timing["notes"])


def test_what_two_attempts_give_is_spoken() -> None:
    stages = FakeStages([segment("one", tokens=40)], [codes(9), codes(8)])
    chunks = speak(stages)
    assert spoken(chunks) == codes(8) and chunks[-1].timing["retries"] == 1


def test_silence_twice_is_a_failure() -> None:
    stages = FakeStages([segment("one", tokens=40)], [[], []])
    with pytest.raises(StageFailed, match="tensorrt_llm: 0 speech tokens for 40 text tokens, 2 ti"):
        speak(stages)
    assert stages.all_freed and len(stages.asked) == 2


def test_what_has_begun_is_not_drawn_again() -> None:
    stages = one(codes(40) + [9] * 100)
    chunks = speak(stages)
    assert len(stages.asked) == 1
    assert spoken(chunks) == codes(40) + [9] * 50  # up to the longest pause that passes
    assert chunks[-1].timing["retries"] == 0


def test_only_attempts_that_are_set() -> None:
    stages = FakeStages([segment("one", tokens=40)], [codes(3)] * 3 + [codes(30)])
    assert spoken(speak(stages, Settings(attempts=4))) == codes(30)
    seeds = [ask.sampling.seed for ask in stages.asked]
    assert len(set(seeds)) == 4


@pytest.mark.parametrize("bad", [-1, -OFFSET, 6561, 7000])
@pytest.mark.parametrize("position", [0, 40])
def test_ids_outside_the_codebook_never_reach_the_flow(bad: int, position: int) -> None:
    speech = codes(60)
    speech[position] = bad
    stages = one(speech, increment=4)
    with pytest.raises(StageFailed, match=rf"gave code {bad}; codes are 0\.\.6560"):
        speak(stages)
    assert stages.all_freed
    seen = [token for flow in stages.flows for step in flow.tokens for token in step]
    assert seen == codes(60)[: 28 if position else 0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_audio_that_is_not_finite_never_leaves(value: float, monkeypatch) -> None:
    monkeypatch.setattr(
        "fake_stages.FakeVocoder.step", lambda *_, finalize: np.full(4, value, np.float32)
    )
    stages = one(codes(60))
    with pytest.raises(StageFailed, match="vocoder: gave samples that are not finite"):
        speak(stages)
    assert stages.all_freed
