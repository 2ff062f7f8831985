"""The pipeline when the language model loses the text, over fakes."""

import numpy as np
import pytest
from fake_stages import RULES, SAMPLES, FakeStages, codes, one, segment, speak, spoken
from frontend_fixtures import OFFSET

from tritone.errors import InvalidRequest, StageFailed
from tritone.families.cosyvoice2.rules import TokenGuard
from tritone.llm.contract import SamplingParams
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


def test_what_the_last_attempt_gives_is_spoken() -> None:
    stages = FakeStages([segment("one", tokens=40)], [codes(9), codes(7), codes(8)])
    chunks = speak(stages, Settings(attempts=3))
    assert spoken(chunks) == codes(8) and chunks[-1].timing["retries"] == 2


def test_silence_every_time_is_a_failure() -> None:
    stages = FakeStages([segment("one", tokens=40)], [[], []])
    with pytest.raises(StageFailed, match="tensorrt_llm: 0 speech tokens for 40 text tokens, 2 ti"):
        speak(stages, Settings(attempts=2))
    assert stages.all_freed and len(stages.asked) == 2


def test_silence_every_time_after_a_recording_names_the_recording() -> None:
    stages = FakeStages([segment("one", tokens=40)], [[], []])
    wav = np.ones(16000, np.float32)
    expected = r"reference_wav: nothing is said after this recording \(0 speech tokens .* 2 times\)"
    with pytest.raises(InvalidRequest, match=expected):
        speak(stages, Settings(attempts=2), reference_wav=wav)
    assert stages.all_freed


def test_greedy_decoding_is_tried_again_by_chance() -> None:
    """Another seed alone would give the same tokens."""
    stages = FakeStages([segment("one", tokens=40)], [codes(9), codes(30)])
    speak(stages, sampling=SamplingParams(top_k=1, seed=7))
    assert [ask.sampling.top_k for ask in stages.asked] == [1, 25]
    stages = FakeStages([segment("one", tokens=40)], [codes(9), codes(30)])
    speak(stages, sampling=SamplingParams(top_k=4, seed=7))
    assert [ask.sampling.top_k for ask in stages.asked] == [4, 4]


def test_speech_without_an_end_is_tried_again_and_faded() -> None:
    most = RULES.token_bounds(10)[1]
    stages = FakeStages([segment("one")], [codes(most)] * 3)
    chunks = speak(stages, Settings(attempts=3), streaming=False)
    wave = np.concatenate([chunk.samples for chunk in chunks])
    assert chunks[-1].timing["retries"] == 2
    assert any(f"no end after {most} speech tokens" in n for n in chunks[-1].timing["notes"])
    whole = np.repeat(np.array(codes(most)) / 6561, SAMPLES)
    fade = round(0.02 * RULES.rates.sample_rate)
    np.testing.assert_allclose(wave[: -2 * fade], whole[:-fade], atol=1e-6)
    falling = whole[-1] * np.linspace(1, 0, fade)
    np.testing.assert_allclose(wave[-2 * fade : -fade], falling, atol=1e-6)
    assert not wave[-fade:].any()


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
