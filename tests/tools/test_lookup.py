"""The counting of drafts that would have been accepted."""

from collections import Counter

from benchmarks.lookup import Spoken, draft, steps


def test_a_draft_is_what_followed_last_time() -> None:
    assert draft([1, 2, 3, 1, 2, 4, 5, 1, 2], 2, 3) == [4, 5, 1]
    assert draft([1, 2, 3], 2, 3) == ()
    assert draft([7, 7, 7], 2, 4) == [7]


def test_a_step_gives_what_is_right_and_one_more() -> None:
    """The prompt is looked at too; a wrong token ends a draft, and so does the speech."""
    assert steps(Spoken([1, 2, 3, 4], [1, 2, 3, 9]), 2, 2) == Counter(
        tokens=4, steps=3, drafted=2, accepted=1
    )
    assert steps(Spoken([1, 2, 3, 4, 1, 2], [3]), 2, 2) == Counter(
        tokens=1, steps=1, drafted=2, accepted=1
    )
