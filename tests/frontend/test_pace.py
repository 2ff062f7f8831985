"""Whether a text can be what a recording says, by their lengths."""

import pytest

from tritone.frontend.text.pace import implausible

SENTENCE = "The small boat drifted slowly past the old mill."


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(SENTENCE, 1.6), (SENTENCE, 3.0), (SENTENCE, 12.0), ("No.", 0.4), ("No.", 1.5),
     ("今天天气很好", 1.2), ("今天天气很好", 5.0), ("Hmm", 2.0)],
)  # fmt: skip
def test_what_people_may_say_passes(text: str, seconds: float) -> None:
    assert implausible(text, seconds) == ""


@pytest.mark.parametrize(
    ("text", "seconds", "problem"),
    [
        (SENTENCE, 0.5, "is too long for 0.5 s of speech (48 characters)"),
        (SENTENCE, 20.0, "is too short for 20.0 s of speech (48 characters)"),
        ("今天天气很好", 0.3, "is too long for 0.3 s of speech (6 characters)"),
        ("No.", 9.0, "is too short for 9.0 s of speech (3 characters)"),
        ("1999", 5.0, "is too short for 5.0 s of speech (4 characters)"),
    ],
)
def test_what_cannot_be_is_named(text: str, seconds: float, problem: str) -> None:
    assert implausible(text, seconds) == problem
