"""The pipeline when the language model loses the text, over fakes."""

import numpy as np
import pytest
from fake_stages import RULES, SAMPLES, FakeStages, codes, one, patient, segment, speak, spoken

from tritone.errors import InvalidRequest, StageFailed
from tritone.llm.contract import SamplingParams
from tritone.synthesis.token_guard import TokenGuard


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


@pytest.mark.parametrize("lengths", [(9, 7, 8), (7, 9, 8), (7, 8, 9)])
def test_the_attempt_that_said_most_is_spoken(lengths: tuple[int, ...]) -> None:
    stages = FakeStages([segment("one", tokens=40)], [codes(n, n) for n in lengths])
    chunks = speak(stages, patient(attempts=3))
    assert spoken(chunks) == codes(9, 9) and chunks[-1].timing["retries"] == 2


def test_silence_every_time_is_a_failure() -> None:
    stages = FakeStages([segment("one", tokens=40)], [[], []])
    with pytest.raises(StageFailed, match="tensorrt_llm: 0 speech tokens for 40 text tokens, 2 ti"):
        speak(stages, patient(attempts=2))
    assert stages.all_freed and len(stages.asked) == 2


def test_silence_every_time_after_a_recording_names_the_recording() -> None:
    stages = FakeStages([segment("one", tokens=40)], [[], []])
    wav = np.ones(16000, np.float32)
    expected = r"reference_wav: nothing is said after this recording \(0 speech tokens .* 2 times\)"
    with pytest.raises(InvalidRequest, match=expected):
        speak(stages, patient(attempts=2), reference_wav=wav)
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
    chunks = speak(stages, patient(attempts=3), streaming=False)
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
    assert spoken(chunks) == codes(40) + [9] * 11  # the others are repeats for certain
    assert chunks[-1].timing["retries"] == 0 and chunks[-1].timing["flaws"] == {"repetition": 1}


def test_a_pause_is_spoken_whole() -> None:
    speech = codes(40) + [9] * 40 + codes(10, 50)
    chunks = speak(one(speech))
    assert spoken(chunks) == speech and chunks[-1].timing["flaws"] == {}
    assert spoken(speak(one(speech[:80]))) == speech[:80], "at the end too"


def test_only_attempts_that_are_set() -> None:
    stages = FakeStages([segment("one", tokens=40)], [codes(3)] * 3 + [codes(30)])
    assert spoken(speak(stages, patient(attempts=4))) == codes(30)
    seeds = [ask.sampling.seed for ask in stages.asked]
    assert len(set(seeds)) == 4
