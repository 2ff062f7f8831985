"""What the guard lets pass, and what it stops."""

import numpy as np
import pytest

from tritone.errors import StageFailed
from tritone.families.cosyvoice2.rules import TokenGuard
from tritone.llm.contract import Increment


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
    assert answers[first] == "the same token 51 times in a row"


def test_pauses_and_changes_pass() -> None:
    watch = guard(longest_run=5)
    for values in ([3] * 5, [4], [3] * 5, [3 - 1] * 5, [0, 99] * 20):
        assert watch.admit(codes(*values)) == ""
    assert watch.count == 5 + 1 + 5 + 5 + 40


@pytest.mark.parametrize("bad", [-1, 100, 2**31 - 1, -(2**31)])
def test_codes_outside_the_codebook_are_a_failure(bad: int) -> None:
    watch = guard()
    with pytest.raises(StageFailed, match=rf"^tensorrt_llm: gave code {bad}; codes are 0\.\.99$"):
        watch.admit(codes(1, bad, 2))
    assert watch.count == 0


def test_the_edges_of_the_codebook_are_in_it() -> None:
    assert guard().admit(codes(0, 99)) == ""


@pytest.mark.parametrize(
    ("spoken", "text", "passes"),
    [(0, 0, False), (1, 0, True), (1, 4, True), (1, 5, False), (2, 5, True), (24, 100, False)],
)
def test_speech_must_be_as_long_as_the_text_asks(spoken: int, text: int, passes: bool) -> None:
    watch = guard(shortest=0.25)
    watch.admit(codes(*range(spoken)))
    problem = watch.ended(text)
    assert problem == ("" if passes else f"{spoken} speech tokens for {text} text tokens")


def test_nothing_is_no_problem_yet() -> None:
    assert guard().admit(codes()) == ""
