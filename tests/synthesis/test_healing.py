"""Each kind of flaw, planted in a fake stage: found before it is heard, spoken
again within the time that is set, and counted."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_stages import (
    CONFIG,
    SAMPLES,
    FakeStages,
    codes,
    patient,
    segment,
    sound_of,
    speak,
    spoil,
    spoken,
    wave_of,
)
from waiting import HANG_S, Clock

from tritone.arrays import Float32
from tritone.errors import InvalidRequest, StageFailed
from tritone.llm.contract import SamplingParams
from tritone.synthesis.flaws import KINDS
from tritone.synthesis.pipeline import Settings
from tritone.synthesis.timing import Timing

GOOD = codes(70, 900)
LONG = codes(200, 900)
PROMPT = segment("one", prompt=30)
PLANTED: dict[str, tuple[str, dict[str, Any]]] = {
    "one token": ("repetition", {"speeches": [[1, 2, *[5] * 90], GOOD]}),
    "a group of tokens": ("repetition", {"speeches": [[*range(8)] * 10, GOOD]}),
    "few tokens": ("early_end", {"speeches": [codes(2), GOOD]}),
    "id too high": ("bad_id", {"speeches": [[4, 7000, 5], GOOD]}),
    "id too low": ("bad_id", {"speeches": [[-5, 4, 5], GOOD]}),
    "prompt": ("transcript", {"speeches": [[9, *PROMPT.voice.prompt_tokens[3:15]], GOOD]}),
    "NaN frames": ("not_finite", {"speeches": [codes(70), GOOD], "frames": spoil(np.nan)}),
    "infinite frames": ("not_finite", {"speeches": [codes(70), GOOD], "frames": spoil(np.inf)}),
    "NaN samples": ("not_finite", {"speeches": [codes(70), GOOD], "sound": spoil(np.nan)}),
    "infinite samples": ("not_finite", {"speeches": [codes(70), GOOD], "sound": spoil(-np.inf)}),
    "at full scale": ("clipping", {"speeches": [codes(70), GOOD], "sound": spoil(-0.99)}),
    "beyond full scale": ("clipping", {"speeches": [codes(70), GOOD], "sound": spoil(1.5)}),
}


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(("kind", "planted"), PLANTED.values(), ids=PLANTED)
def test_what_is_found_in_time_is_spoken_again(
    kind: str, planted: dict[str, Any], streaming: bool
) -> None:
    stages = FakeStages([PROMPT], **planted)
    chunks = speak(stages, streaming=streaming)
    assert spoken(chunks) == GOOD
    assert chunks[-1].timing["flaws"] == {kind: 1} and chunks[-1].timing["retries"] == 1
    assert [ask.sampling.seed for ask in stages.asked] == [7, 1007]
    assert len(stages.flows) == 2, "the state of a flawed session is not used again"
    assert chunks[-1].timing["segments"] == 1
    assert len(chunks[-1].timing["notes"]) == 2  # of the front end, and of this


def test_speech_without_an_end_is_spoken_again() -> None:
    stages = FakeStages([segment("one")], [codes(500), GOOD])
    chunks = speak(stages, streaming=False)
    assert spoken(chunks) == GOOD and chunks[-1].timing["flaws"] == {"no_end": 1}


@pytest.mark.parametrize("streaming", [True, False])
def test_silence_that_nobody_broke_is_spoken_again(streaming: bool) -> None:
    """What of it has left says nothing."""
    stages = FakeStages([segment("one", 40)], [LONG, GOOD], sound=spoil(1e-4))
    chunks = speak(stages, streaming=streaming)
    wave = wave_of(chunks)
    assert np.array_equal(wave[-len(GOOD) * SAMPLES :], sound_of(GOOD))
    assert not (np.abs(wave[: -len(GOOD) * SAMPLES]) > 1e-3).any()
    assert chunks[-1].timing["flaws"] == {"silence": 1} and chunks[-1].timing["retries"] == 1
    (span,) = chunks[-1].timing["spans"]
    assert span["samples"] == [0, len(wave)]


@pytest.mark.parametrize("streaming", [True, False])
def test_sound_speech_has_no_flaw(streaming: bool) -> None:
    segments = [segment("one", prompt=30), segment("two", 40)]
    record = speak(FakeStages(segments, [GOOD, LONG]), streaming=streaming)[-1].timing
    assert record["flaws"] == {} and record["retries"] == 0
    assert set(Timing(8000).flaws) == set(KINDS) and not any(Timing(8000).flaws.values())


def test_a_pause_of_up_to_two_seconds_is_none_and_depends_on_the_tempo() -> None:
    def flaws(tokens: int, speed: float) -> dict[str, int]:
        speech = codes(100, 900) + codes(tokens, 1) + codes(100, 900)
        quiet = FakeStages([segment("one", 40)], [speech], sound=lambda _, w: w * (w > 0.1))
        return speak(quiet, patient(attempts=1), speed=speed)[-1].timing["flaws"]

    assert flaws(50, 1.0) == {} and flaws(51, 1.0) == {"silence": 1}
    assert flaws(25, 2.0) == {} and flaws(26, 2.0) == {"silence": 1}
    assert flaws(100, 0.5) == {}


# What is done again, and how often


def test_a_later_segment_is_spoken_again_with_its_pause_and_its_place_in_the_text() -> None:
    segments = [
        replace(segment("one"), start=0),
        replace(segment("two"), start=4, pause=0.5, pause_after=0.25),
        replace(segment("six"), start=8),
    ]
    speeches = [codes(30, 500), codes(40, 100), codes(20, 700)]

    def record(stages: FakeStages) -> tuple[Float32, list[Any], dict[str, Any]]:
        chunks = speak(stages, text="one two six")
        timing = chunks[-1].timing
        return wave_of(chunks), timing["spans"], timing["flaws"]

    def meet(event: str) -> None:
        if event == "generate 2":
            begun.set()

    def broken(index: int, values: Float32) -> Float32:
        """The third segment has been begun when the second is found to be flawed."""
        if index != 1:
            return values
        assert begun.wait(HANG_S)
        return np.full_like(values, np.nan)

    begun = threading.Event()
    wave, spans, flaws = record(FakeStages(segments, speeches))
    assert flaws == {} and len(spans) == 3
    stages = FakeStages(segments, [*speeches, *speeches[1:]], fail=meet, sound=broken)
    healed = record(stages)
    assert np.array_equal(healed[0], wave) and healed[1:] == (spans, {"not_finite": 1})
    assert stages.generations[2].cancelled or stages.generations[2].ended


def test_what_the_front_end_refuses_is_refused_after_another_attempt_too() -> None:
    refusal, refused = InvalidRequest("target_text", "ends with half a tag"), threading.Event()

    def refuse(event: str) -> None:
        if event == "prepare 1":
            refused.set()
            raise refusal

    def broken(index: int, values: Float32) -> Float32:
        assert index or refused.wait(HANG_S)
        return values if index else np.full_like(values, np.nan)

    stages = FakeStages([segment("one"), segment("two")], [GOOD] * 3, fail=refuse, sound=broken)
    with pytest.raises(InvalidRequest) as raised:
        speak(stages)
    assert raised.value is refusal and stages.all_freed


@pytest.mark.parametrize("plant", [{"frames": np.nan}, {"sound": np.inf}])
def test_what_is_broken_every_time_never_leaves(plant: dict[str, float]) -> None:
    ((where, value),) = plant.items()
    spoiled = {where: lambda _, values: np.full_like(values, value)}
    stages, timing = FakeStages([segment("one")], [GOOD] * 4, **spoiled), Timing(8000)
    with pytest.raises(StageFailed, match=r"that are not finite, after 0\.0 s of audio"):
        speak(stages, timing=timing)
    assert stages.all_freed and len(stages.asked) == 4
    assert timing.packets == 0 and timing.flaws["not_finite"] == 4


def test_ids_outside_the_codebook_every_time_are_a_failure() -> None:
    stages = FakeStages([segment("one")], [[1, 2, 7000]] * 4)
    with pytest.raises(
        StageFailed, match=r"^tensorrt_llm: gave code 7000; codes are 0\.\.6560, 4 tim"
    ):
        speak(stages)
    assert stages.all_freed and not any(flow.tokens for flow in stages.flows)


def test_words_of_the_reference_are_not_spoken_however_often() -> None:
    copied = [int(code) for code in PROMPT.voice.prompt_tokens]
    read, short = [9, *copied[3:20]], [*codes(2, 500)]
    chunks = speak(FakeStages([PROMPT], [read, short, read, read]))
    assert spoken(chunks) == short
    assert chunks[-1].timing["flaws"] == {"transcript": 3, "early_end": 1}
    with pytest.raises(StageFailed, match=r"^tensorrt_llm: 12 speech tokens .* own, 4 times$"):
        speak(FakeStages([PROMPT], [read] * 4))


def test_of_sound_that_clips_every_time_the_last_is_limited_and_spoken() -> None:
    stages = FakeStages([segment("one")], [GOOD] * 4, sound=lambda _, wave: wave + 1)
    chunks = speak(stages, streaming=False)
    assert wave_of(chunks).max() == 1 and chunks[-1].timing["flaws"] == {"clipping": 4}


def test_a_retry_has_a_seed_of_its_own_and_is_drawn_by_chance() -> None:
    """Greedy decoding would give the same tokens, and so the same frames."""
    stages = FakeStages([segment("one")], [codes(70), GOOD], sound=spoil(np.nan))
    speak(stages, sampling=SamplingParams(top_k=1, seed=7))
    assert [(a.sampling.seed, a.sampling.top_k) for a in stages.asked] == [(7, 1), (1007, 25)]


# The budget


def slow(clock: Clock) -> Callable[[str], None]:
    """Each token takes a second."""

    def move(event: str) -> None:
        if event.startswith("tokens"):
            clock.move(1.0)

    return move


@pytest.mark.parametrize(("seconds", "attempts"), [(3.5, 1), (6.5, 2), (100.0, 3)])
def test_first_audio_waits_for_retries_no_longer_than_it_is_set(
    seconds: float, attempts: int
) -> None:
    """Four and three seconds; after the time the best attempt is spoken."""
    clock = Clock()
    speeches = [codes(4, 500), codes(3, 600), GOOD]
    stages = FakeStages([segment("one", 40)], speeches, fail=slow(clock))
    settings = Settings(max_retry_seconds=seconds)
    chunks = speak(stages, settings, timing=Timing(CONFIG.sample_rate, clock))
    assert len(stages.asked) == attempts
    assert spoken(chunks) == [codes(4, 500), codes(4, 500), GOOD][attempts - 1]


def test_without_time_what_is_broken_is_an_error() -> None:
    clock = Clock()
    stages = FakeStages([segment("one")], [GOOD] * 4, fail=slow(clock), frames=spoil(np.nan))
    with pytest.raises(StageFailed, match="token2wav: gave frames that are not finite"):
        speak(stages, Settings(max_retry_seconds=10), timing=Timing(CONFIG.sample_rate, clock))
    assert len(stages.asked) == 1 and stages.all_freed


def test_the_budget_is_of_first_audio_alone() -> None:
    clock = Clock()
    speeches = [GOOD, codes(2), codes(3), codes(30, 500)]
    stages = FakeStages([segment("one"), segment("two", 40)], speeches, fail=slow(clock), hold=None)
    chunks = speak(stages, Settings(max_retry_seconds=60), timing=Timing(CONFIG.sample_rate, clock))
    assert spoken(chunks) == GOOD + codes(30, 500)
