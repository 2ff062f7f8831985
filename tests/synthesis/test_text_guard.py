"""Speech that is said twice, left out, stuck or cut short, as the text heads show it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_stages import CONFIG, FakeStages, codes, segment, speak, spoken
from frontend_fixtures import TASK_ID
from waiting import Clock

from tritone.families.cosyvoice2.rules import CosyVoice2Rules
from tritone.llm.contract import Increment, Prompt
from tritone.synthesis.flaws import Flaw
from tritone.synthesis.pipeline import Settings
from tritone.synthesis.rules import Hops
from tritone.synthesis.text_guard import LONGEST_END, LONGEST_STAY, TextGuard, Verdict
from tritone.synthesis.timing import Timing
from tritone.synthesis.values import Segment

HEADS = CONFIG.llm.model_copy(update={"text_heads": ((0, 0),)})
RULES = CosyVoice2Rules(CONFIG.model_copy(update={"llm": HEADS}), Hops())


def tokens(places: Sequence[int], first: int = 0) -> Increment:
    ids = np.arange(first, first + len(places), dtype=np.int32)
    return Increment(ids, said=np.array(places, np.int32))


def judged(places: Sequence[int], length: int, start: int = 0, **options: Any) -> Verdict:
    """What comes of one token after the other, up to the first that ends it."""
    guard, passed = TextGuard(start, length, **options), []
    for index, place in enumerate(places):
        verdict = guard.admit(tokens([place], index))
        passed.append(verdict.tokens)
        if verdict.flaw:
            return replace(verdict, tokens=Increment.joined(passed))
    ended = guard.ended()
    return replace(ended, tokens=Increment.joined([*passed, ended.tokens]))


def staircase(length: int, each: int = 3) -> list[int]:
    return [place for place in range(length) for _ in range(each)]


@pytest.mark.parametrize("length", [1, 2, 3, 40])
@pytest.mark.parametrize("each", [1, 3, 12])
def test_a_staircase_passes_whole(length: int, each: int) -> None:
    verdict = judged(staircase(length, each), length)
    assert verdict.flaw is None
    assert len(verdict.tokens) == length * each


@pytest.mark.parametrize(
    "flicker", [[0, 0, 1, 5, 1, 2], [0, 1, 2, 0, 2, 3], [3, 3, 0, 0, 3], [2, 2, 9, 9, 3, 4]]
)
def test_the_heads_may_flicker(flicker: list[int]) -> None:
    verdict = judged([*flicker, *range(flicker[-1], 12)], 12)
    assert verdict.flaw is None
    assert len(verdict.tokens) == len(flicker) + 12 - flicker[-1]


@pytest.mark.parametrize("increment", [1, 2, 7, 100])
def test_speech_that_begins_again_is_over(increment: int) -> None:
    """As "Sure." was said twice: up to the end, and from the start once more."""
    places = [0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 0, 0, 0, 1, 1, 1, 2, 2]
    guard, passed, over = TextGuard(0, 3), [], False
    for begin in range(0, len(places), increment):
        verdict = guard.admit(tokens(places[begin : begin + increment], begin))
        passed += verdict.tokens.ids.tolist()
        if over := verdict.over:
            break
    assert over and passed == list(range(10))


def test_a_word_that_begins_again_before_its_full_stop_is_over() -> None:
    """As "Milk?" was: its last sound, and from the first once more."""
    verdict = judged([0, 0, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 1, 1, 2, 2, 3], 4)
    assert verdict.over and len(verdict.tokens) == 9


def test_a_last_sound_that_was_hardly_begun_was_not_said() -> None:
    verdict = judged([0, 0, 1, 1, 2, 2, 0, 0, 0, 1, 1], 4)
    assert verdict.flaw == Flaw("leap", "went back from text token 2 to 0 of 4")


def test_of_equal_tokens_it_is_the_one_that_is_due() -> None:
    """No, no, no.: the heads may look at any of the three, as they do at the first here."""
    ids = (5, 9, 5, 9, 5, 2)
    places = [0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 5, 5]
    verdict = judged(places, 6, ids=ids)
    assert verdict.flaw is None and len(verdict.tokens) == 14
    assert judged(places, 6).flaw, "without the ids it is a way back"
    again = judged([*places, 5, 5, 0, 0, 0, 1], 6, ids=ids)
    assert again.over and len(again.tokens) == 16


def test_the_last_word_may_still_be_seen_as_it_ends() -> None:
    verdict = judged([0, 1, 2, 1, 1, 1, 2, 2], 3)
    assert verdict.flaw is None and len(verdict.tokens) == 8


def test_a_leap_is_found_before_it_is_spoken() -> None:
    verdict = judged([0, 0, 1, 1, 2, 2, *staircase(20)[30:]], 20)
    assert verdict.flaw == Flaw("leap", "leapt from text token 2 to 10 of 20")
    assert verdict.tokens.ids.tolist() == list(range(6))


def test_going_back_is_found_before_it_is_spoken() -> None:
    verdict = judged([*staircase(12)[:30], 3, 3, 3, 4, 4], 20)
    assert verdict.flaw == Flaw("leap", "went back from text token 9 to 3 of 20")
    assert len(verdict.tokens) == 30


def test_a_lenient_guard_lets_leaps_pass_and_notes_them() -> None:
    guard = TextGuard(0, 20, lenient=True)
    places = [0, 0, 1, 1, 2, 2, *staircase(20)[30:]]
    verdict = guard.admit(tokens(places))
    assert verdict.flaw is None and len(verdict.tokens) == len(places)
    assert guard.passed == (Flaw("leap", "leapt from text token 2 to 10 of 20"),)


def test_standing_still_is_a_problem_and_at_the_end_it_is_the_end() -> None:
    stuck = judged([0, 1, 2, 3] + [4] * (LONGEST_STAY + 5), 20)
    assert stuck.flaw == Flaw("stuck", "stuck at text token 4 of 20")
    assert len(stuck.tokens) == 4 + LONGEST_STAY + 2
    ended = judged(staircase(5) + [4] * 50, 5)
    assert ended.over and ended.flaw == Flaw("no_end", "said, and no end after it")
    assert len(ended.tokens) == 12 + LONGEST_END + 2


@pytest.mark.parametrize(
    ("last", "problem"),
    [(5, "ended 4 text tokens early"), (6, "ended 3 text tokens early"), (7, ""), (8, "")],
)
def test_an_early_end_is_a_problem(last: int, problem: str) -> None:
    flaw = judged(staircase(last + 1), 10).flaw
    assert flaw == (Flaw("early_end", problem) if problem else None)
    assert judged(staircase(3), 5).flaw == Flaw("early_end", "ended 2 text tokens early")


def test_what_is_not_of_the_text_stands_still() -> None:
    """The heads may look at the prompt's own text, or past the text."""
    guard = TextGuard(start=10, length=5)
    assert not guard.admit(tokens([10, 11, 3, 40, 11, 12])).flaw
    assert guard.place == 2


def test_the_transcript_is_found_before_it_is_spoken() -> None:
    """Wherever it begins; the first position is none of its words."""
    for said in ([], [10, 10, 11]):
        verdict = judged([*said, 3, 4, 5, 6, 6], 5, start=10)
        assert verdict.flaw and verdict.flaw.kind == "transcript"
        assert len(verdict.tokens) == len(said)
    assert judged([0] * 9, 5, start=10).flaw == Flaw("early_end", "ended 4 text tokens early")


def test_the_transcript_after_the_text_is_cut() -> None:
    verdict = judged([*range(10, 15), 14, 3, 4, 5, 6, 7], 5, start=10)
    assert verdict.over and verdict.flaw and verdict.flaw.kind == "transcript"
    assert len(verdict.tokens) == 6


def test_a_lenient_guard_leaves_the_transcript_out() -> None:
    guard = TextGuard(10, 5, lenient=True)
    verdict = guard.admit(tokens([10, 10, 3, 4, 5, 6, 7, 8, 11, 11, 12]))
    assert verdict.flaw is None and verdict.tokens.ids.tolist() == [0, 1, 8, 9, 10]
    assert [flaw.kind for flaw in guard.passed] == ["transcript"]


# Through the pipeline


def asked(text: str = "one", tokens: int = 10) -> Segment:
    """A segment with two ids before its text and two after it."""
    ids = [7, 7, *range(100, 100 + tokens), TASK_ID, 9]
    return replace(segment(text, tokens), prompt=Prompt(np.array(ids, np.int32)))


def at(places: Sequence[int]) -> list[int]:
    return [place + 2 for place in places]


def test_an_early_end_goes_on_where_it_stood() -> None:
    first, second = staircase(10)[:18], staircase(10)[18:]
    speeches = [codes(18), codes(12, first=100)]
    stages = FakeStages([asked()], speeches, said=[at(first), at(second)])
    chunks = speak(stages, rules=RULES)
    assert spoken(chunks) == codes(18) + codes(12, first=100)
    assert len(stages.flows) == 1, "what was spoken is not spoken again"
    again = stages.asked[1].prompt.ids
    offset = CONFIG.llm.speech_offset
    assert again is not None and again.tolist()[-18:] == [c + offset for c in codes(18)]
    assert stages.asked[1].min_tokens == RULES.token_bounds(4)[0]
    assert stages.asked[1].max_tokens == RULES.token_bounds(10)[1] - 18
    assert chunks[-1].timing["retries"] == 1
    assert any("ended 4 text tokens early" in note for note in chunks[-1].timing["notes"])


def test_what_was_leapt_to_is_never_spoken() -> None:
    first = [*staircase(10)[:40], 30, 30, 30]
    second = staircase(40)[30:]
    stages = FakeStages(
        [asked(tokens=40)],
        [codes(len(first)), codes(len(second), first=200)],
        said=[at(first), at(second)],
    )
    chunks = speak(stages, rules=RULES)
    assert spoken(chunks) == codes(30) + codes(len(second), first=200)
    assert stages.generations[0].cancelled


def test_a_second_saying_is_cut_and_faded() -> None:
    places = [*staircase(3, 8), *[0] * 3, 1, 1, 1]
    stages = FakeStages([asked(tokens=3)], [codes(len(places), first=300)], said=[at(places)])
    chunks = speak(stages, rules=RULES, streaming=False)
    wave = np.concatenate([chunk.samples for chunk in chunks])
    assert len(wave) == 24 * 960 + 480 and not wave[-480:].any() and wave[-980] > 0
    assert chunks[-1].timing["retries"] == 0
    assert any("said once, and begun again" in note for note in chunks[-1].timing["notes"])


LEAP = [*staircase(10), 30, 30, 30]


def test_what_fails_twice_is_left_behind_and_the_rest_spoken_alone() -> None:
    """The third generation knows nothing of the text that was said: its places begin anew."""
    rest = staircase(30)
    speeches = [codes(len(LEAP)), codes(3, first=90), codes(len(rest), first=200)]
    stages = FakeStages([asked(tokens=40)], speeches, said=[at(LEAP), at([30, 30, 30]), at(rest)])
    chunks = speak(stages, rules=RULES)
    assert spoken(chunks) == codes(30) + codes(len(rest), first=200)
    ids = stages.asked[2].prompt.ids
    assert ids is not None and ids.tolist() == [7, 7, *range(110, 140), TASK_ID, 9]
    assert chunks[-1].timing["retries"] == 2 and len(stages.flows) == 1


def test_speech_that_is_stuck_says_again_what_it_is_stuck_at() -> None:
    guard = TextGuard(0, 20)
    guard.admit(tokens([0, 1, 2, 3, *[4] * 40]))
    assert guard.rest == 4
    guard = TextGuard(0, 20)
    guard.admit(tokens([0, 1, 2, 3, 12, 12, 12]))
    assert guard.rest == 4


def test_the_transcript_is_not_spoken_and_the_text_is() -> None:
    """One id of the transcript stands before the text, and the first position before that."""
    read, text = [1] * 5, at(staircase(10))
    stages = FakeStages([asked()], [codes(5), codes(30, first=200)], said=[read, text])
    chunks = speak(stages, rules=RULES)
    assert spoken(chunks) == codes(30, first=200)
    assert chunks[-1].timing["flaws"] == {"transcript": 1} and chunks[-1].timing["retries"] == 1


def test_text_of_which_nothing_was_said_is_never_shortened() -> None:
    read, text = [1] * 5, at(staircase(10))
    stages = FakeStages([asked()], [codes(5)] * 3 + [codes(30)], said=[read, read, read, text])
    chunks = speak(stages, rules=RULES)
    assert spoken(chunks) == codes(30) and chunks[-1].timing["flaws"] == {"transcript": 3}
    assert all(len(ask.prompt) == len(asked().prompt) for ask in stages.asked)


def test_the_attempt_after_the_time_for_retries_goes_on_as_it_is() -> None:
    """What was said stays; what comes then is spoken with its leaps, which are counted too."""

    def move(event: str) -> None:
        if event.startswith("tokens"):
            clock.move(1.0)

    clock = Clock()
    last = [3, 3, 3, *[15] * 6, *staircase(40)[48:]]
    speeches = [codes(9), codes(len(last), first=200)]
    places = [at([0, 0, 1, 1, 2, 2, 30, 30, 30]), at(last)]
    stages = FakeStages([asked(tokens=40)], speeches, said=places, fail=move)
    timing = Timing(CONFIG.sample_rate, clock)
    chunks = speak(stages, Settings(max_retry_seconds=8), RULES, timing)
    assert spoken(chunks) == codes(6) + codes(len(last), first=200)
    assert chunks[-1].timing["flaws"] == {"leap": 2} and chunks[-1].timing["retries"] == 1


def test_after_the_last_attempt_a_leap_is_spoken_and_noted() -> None:
    last = [0, 0, 0, *[15] * 6, *staircase(30)[60:]]
    speeches = [codes(len(LEAP)), codes(3), codes(3), codes(len(last), first=200)]
    places = [LEAP, [30, 30, 30], [20, 20, 20], last]
    stages = FakeStages([asked(tokens=40)], speeches, said=[at(p) for p in places])
    chunks = speak(stages, rules=RULES)
    assert spoken(chunks)[-len(last) :] == codes(len(last), first=200)
    assert any("leapt from text token 11 to 26 of 40" in n for n in chunks[-1].timing["notes"])


def test_a_runtime_that_does_not_tell_is_guarded_by_tokens_alone() -> None:
    """As NVIDIA's are, whatever heads the checkpoint has."""
    stages = FakeStages([asked(tokens=10)], [codes(30)])
    chunks = speak(stages, rules=RULES)
    assert spoken(chunks) == codes(30) and chunks[-1].timing["retries"] == 0
    assert not any("generation" in note for note in chunks[-1].timing["notes"])
