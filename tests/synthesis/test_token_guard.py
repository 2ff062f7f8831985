"""What the guard lets pass, and what it stops."""

import numpy as np
import pytest

from tritone.llm.contract import Increment
from tritone.synthesis.flaws import Flaw
from tritone.synthesis.token_guard import TokenGuard


def codes(*values: int) -> Increment:
    return Increment(np.array(values, dtype=np.int32))


def guard(**limits: float) -> TokenGuard:
    made = TokenGuard(codes=100)
    vars(made).update(limits)
    return made


@pytest.mark.parametrize("increment", [1, 4, 60])
def test_a_run_is_counted_across_increments(increment: int) -> None:
    watch = guard(longest_run=50)
    run = np.full(60, 7, dtype=np.int32)
    answers = [watch.admit(Increment(run[i : i + increment])) for i in range(0, 60, increment)]
    first = next(i for i, answer in enumerate(answers) if answer)
    assert first == 50 // increment
    assert answers[first] == Flaw("repetition", "the same token 51 times in a row")


def test_pauses_and_changes_pass() -> None:
    watch = guard(longest_run=5)
    for values in ([3] * 5, [4], [3] * 5, [3 - 1] * 5, [0, 99] * 3):
        assert watch.admit(codes(*values)) is None
    assert watch.count == 5 + 1 + 5 + 5 + 6


@pytest.mark.parametrize("bad", [-1, 100, 2**31 - 1, -(2**31)])
def test_codes_outside_the_codebook_are_found(bad: int) -> None:
    flaw = Flaw("bad_id", f"gave code {bad}; codes are 0..99")
    assert guard().outside(codes(1, bad, 2)) == (1, flaw)


def test_the_edges_of_the_codebook_are_in_it() -> None:
    assert guard().outside(codes(0, 99)) is None


@pytest.mark.parametrize(
    ("spoken", "text", "passes"),
    [(0, 0, False), (1, 0, True), (1, 4, True), (1, 5, False), (2, 5, True), (24, 100, False)],
)
def test_speech_must_be_as_long_as_the_text_asks(spoken: int, text: int, passes: bool) -> None:
    watch = guard(shortest=0.25)
    watch.admit(codes(*range(spoken)))
    flaw = Flaw("early_end", f"{spoken} speech tokens for {text} text tokens")
    assert watch.ended(text) == (None if passes else flaw)


def test_nothing_is_no_problem_yet() -> None:
    assert guard().admit(codes()) is None and guard().outside(codes()) is None


@pytest.mark.parametrize(("group", "passes"), [(2, 52), (7, 57), (25, 75), (50, 150)])
def test_a_group_of_tokens_over_and_over_is_a_flaw(group: int, passes: int) -> None:
    """At least three times, and longer than a pause may be."""
    watch = guard()
    speech = np.resize(np.arange(group, dtype=np.int32), passes)
    assert watch.admit(Increment(speech[:-1])) is None
    flaw = watch.admit(Increment(speech[-1:]))
    times = (passes - group) // group + 1
    assert flaw == Flaw("repetition", f"the same {group} tokens {times} times in a row")


def test_repeats_are_suspect_until_it_is_known_what_becomes_of_them() -> None:
    watch = guard()
    watch.admit(codes(*[7] * 11))
    assert watch.suspect == 0
    watch.admit(codes(7, 7, 7))
    assert watch.suspect == 3
    watch.admit(codes(8))
    assert watch.suspect == 0


def test_speech_of_the_prompt_is_found_wherever_it_begins() -> None:
    prompt = np.arange(60, dtype=np.int32)
    for begin in (0, 30, 48):
        watch = TokenGuard(100, prompt)
        assert watch.admit(codes(99, 98, *range(begin, begin + 6))) is None and not watch.suspect
        assert watch.admit(codes(*range(begin + 6, begin + 11))) is None and watch.suspect == 5
        flaw = watch.admit(codes(begin + 11))
        assert flaw == Flaw("transcript", "12 speech tokens in a row are the reference's own")


def test_a_pause_like_one_of_the_prompt_is_no_speech_of_it() -> None:
    prompt = np.array([1, 2, *[5] * 40, 3], np.int32)
    assert TokenGuard(100, prompt).admit(codes(9, *[5] * 40, 3, 9)) is None
