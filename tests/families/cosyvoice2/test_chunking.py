"""Hops: when they are ready, how many tokens they take, how they grow."""

import numpy as np
import pytest

from tritone.errors import EnvironmentProblem
from tritone.families.cosyvoice2.rules import ChunkPlanner, ChunkPolicy
from tritone.llm.contract import Increment

POLICY = ChunkPolicy(chunk=25, lookahead=3)
FAST, SLOW = 0.0, 1.0  # seconds a token has cost


def tokens(count: int, first: int = 0) -> Increment:
    return Increment(np.arange(first, first + count, dtype=np.int32))


def hops(planner: ChunkPlanner, count: int, ahead: float = 0.0, cost: float = SLOW) -> list[int]:
    """Sizes of the calls when tokens come one by one; the last is the rest."""
    sizes, seen = [], []
    for token in range(count):
        planner.push(tokens(1, token))
        while planner.ready:
            seen.append(planner.take(ahead, cost))
            sizes.append(len(seen[-1]))
    seen.append(planner.rest())
    assert np.array_equal(Increment.joined(seen).ids, tokens(count).ids)
    return [*sizes, len(seen[-1])]


@pytest.mark.parametrize("prompt", range(0, 140, 7))
@pytest.mark.parametrize("first_hop", [1, 5, 15, 24, 25])
def test_trimming_gives_the_first_hop(prompt: int, first_hop: int) -> None:
    policy = ChunkPolicy(chunk=25, lookahead=3, first_hop=first_hop)
    trim = policy.prompt_trim(prompt)
    assert 0 <= trim <= min(24, prompt)
    first = hops(ChunkPlanner(policy, prompt - trim), 60)[0]
    if (prompt + first_hop) % 25 <= prompt:
        assert first == first_hop + 3
    else:
        assert trim == 0 and first == 25 - prompt + 3


@pytest.mark.parametrize(
    ("first_hop", "max_hop"), [(0, 100), (26, 100), (-1, 100), (15, 24), (15, 0)]
)
def test_a_policy_that_cannot_be_kept_is_refused(first_hop: int, max_hop: int) -> None:
    with pytest.raises(EnvironmentProblem, match=r"setting \w+_hop is -?\d+; it must be"):
        ChunkPolicy(chunk=25, lookahead=3, first_hop=first_hop, max_hop=max_hop)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [(0, [28, 25, 17]), (1, [27, 25, 18]), (24, [4, 25, 25, 16]), (25, [28, 25, 17])],
)
def test_a_hop_completes_a_chunk_and_its_lookahead(prompt: int, expected: list[int]) -> None:
    assert hops(ChunkPlanner(POLICY, prompt), 70) == expected


def test_many_tokens_at_once_are_still_cut() -> None:
    planner = ChunkPlanner(POLICY, 0)
    planner.push(tokens(70))
    sizes = []
    while planner.ready:
        sizes.append(len(planner.take(0.0, SLOW)))
    assert [*sizes, len(planner.rest())] == [28, 25, 17]
    assert planner.received == 70 and len(planner.rest()) == 0


def test_short_speech_is_all_rest() -> None:
    planner = ChunkPlanner(POLICY, 0)
    planner.push(tokens(27))
    assert not planner.ready
    assert len(planner.rest()) == 27


def test_hops_grow_only_while_audio_is_in_reserve() -> None:
    assert hops(ChunkPlanner(POLICY, 0), 180, ahead=0.0)[:-1] == [28] + [25] * 6
    # 50 tokens of 0.02 s cost 1 s, twice that must be in reserve; 100 need 4 s.
    assert hops(ChunkPlanner(POLICY, 0), 180, ahead=1.99, cost=0.02)[1] == 25
    assert hops(ChunkPlanner(POLICY, 0), 180, ahead=2.0, cost=0.02)[1] == 50
    assert hops(ChunkPlanner(POLICY, 0), 180, ahead=4.0, cost=0.02)[1] == 100
    assert hops(ChunkPlanner(POLICY, 0), 500, ahead=1e9, cost=0.02)[1:4] == [100] * 3


@pytest.mark.parametrize(("max_hop", "largest"), [(25, 25), (49, 25), (50, 50), (100, 100)])
def test_hops_do_not_outgrow_their_limit(max_hop: int, largest: int) -> None:
    policy = ChunkPolicy(chunk=25, lookahead=3, max_hop=max_hop)
    assert max(hops(ChunkPlanner(policy, 0), 400, ahead=9.0, cost=FAST)[1:]) == largest


def test_a_late_stream_shrinks_again() -> None:
    planner = ChunkPlanner(POLICY, 0)
    planner.push(tokens(400))
    sizes = [len(planner.take(ahead, 0.02)) for ahead in (9.0, 9.0, -0.5, 0.0)]
    assert sizes == [28, 100, 100, 25]  # each call plans the one after it


@pytest.mark.parametrize(
    ("received", "max_hop", "expected"),
    [(400, 100, 100), (400, 60, 50), (400, 25, 25), (28 + 25, 100, 25), (28 + 99, 100, 75)],
)
def test_what_has_come_is_taken_at_once_when_it_is_late(
    received: int, max_hop: int, expected: int
) -> None:
    planner = ChunkPlanner(ChunkPolicy(chunk=25, lookahead=3, max_hop=max_hop), 0)
    planner.push(tokens(received))
    assert len(planner.take(-1.0, SLOW, alone=True)) == 28, "the first audio waits for one chunk"
    assert len(planner.take(-1.0, SLOW, alone=True)) == expected
    while planner.ready:
        planner.take(-1.0, SLOW, alone=True)
    assert len(planner.rest()) == (received - 28) % 25


@pytest.mark.parametrize(("ahead", "alone"), [(0.5, True), (0.0, True), (-1.0, False)])
def test_chunks_that_have_come_wait_for_who_is_in_time_or_not_alone(
    ahead: float, alone: bool
) -> None:
    planner = ChunkPlanner(POLICY, 0)
    planner.push(tokens(400))
    assert [len(planner.take(ahead, SLOW, alone=alone)) for _ in range(3)] == [28, 25, 25]
