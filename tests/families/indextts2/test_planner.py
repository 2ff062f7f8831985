"""Hops of codes, and the frames of the windows that they end."""

from fractions import Fraction

import numpy as np
import pytest

from tritone.errors import EnvironmentProblem
from tritone.families.indextts2.pace import (
    CODES,
    CONTEXT_CODES,
    FRAMES,
    frames_of,
    window_begin,
)
from tritone.families.indextts2.planner import HopPlanner, HopPolicy
from tritone.llm.contract import Increment


def codes(count: int, first: int = 0) -> Increment:
    """Each latent is its code, so that one can see whether they stay together."""
    ids = np.arange(first, first + count, dtype=np.int32)
    return Increment(ids, ids[:, None].astype(np.float32))


def hops(policy: HopPolicy, count: int, at_once: int) -> list[Increment]:
    """What each call gets when codes come so many at once; the last is the rest."""
    planner, taken = HopPlanner(policy), []
    for first in range(0, count, at_once):
        planner.push(codes(min(at_once, count - first), first))
        while planner.ready:
            taken.append(planner.take(0.0, 1.0))
    return [*taken, planner.rest()]


@pytest.mark.parametrize("at_once", [1, 7, 400])
def test_hops_are_the_same_however_codes_come(at_once: int) -> None:
    seen = hops(HopPolicy(), 400, at_once)
    assert [len(hop) for hop in seen] == [50, 75, 100, 100, 75]
    together = Increment.joined(seen)
    assert np.array_equal(together.ids, codes(400).ids)
    assert together.latents is not None
    assert np.array_equal(together.latents[:, 0], together.ids)


def test_the_pace_of_a_stream_changes_nothing() -> None:
    slow, fast = HopPlanner(HopPolicy()), HopPlanner(HopPolicy())
    for planner in (slow, fast):
        planner.push(codes(300))
    for _ in range(3):
        assert len(slow.take(-9.0, 9.0)) == len(fast.take(99.0, 0.0, alone=True))


def test_a_generation_that_ends_early_is_all_rest() -> None:
    planner = HopPlanner(HopPolicy())
    planner.push(codes(49))
    assert not planner.ready
    assert len(planner.rest()) == 49 and len(planner.rest()) == 0


@pytest.mark.parametrize(
    ("first_hop", "max_hop", "problem"),
    [
        (5, 100, "first_hop is 5; it must be at least 6 speech codes"),
        (-1, 100, "first_hop is -1; it must be at least 6"),
        (60, 59, "max_hop is 59; it must be at least 60"),
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused(
    first_hop: int, max_hop: int, problem: str
) -> None:
    with pytest.raises(EnvironmentProblem, match=problem):
        HopPolicy(first_hop, max_hop)


def test_the_least_first_hop_gives_frames() -> None:
    assert [len(hop) for hop in hops(HopPolicy(6, 6), 20, 1)] == [6, 6, 6, 2]


def test_frames_never_drift() -> None:
    """Upstream's product, of float32 numbers, is the same at every length."""
    pace = np.float32(1.72)
    for count in range(20_000):
        assert frames_of(count) == int(np.float32(count) * pace)
        assert abs(frames_of(count) - count * Fraction(FRAMES, CODES)) < 1


def test_windows_begin_on_the_edge_of_a_frame_with_enough_before() -> None:
    assert window_begin(0) == window_begin(100) == 0
    for spoken in range(3000):
        begin = window_begin(spoken)
        assert begin * FRAMES % CODES == 0
        before = spoken - frames_of(begin)
        assert before >= min(spoken, frames_of(CONTEXT_CODES))
        assert before < frames_of(CONTEXT_CODES + CODES) + 1
