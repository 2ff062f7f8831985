"""States of sequences: bounded, the idle ones make room, the live ones never."""

import pytest

from tritone.errors import Overloaded
from tritone.serving.sequence_states import SequenceTable


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(clock: Clock) -> SequenceTable[str]:
    return SequenceTable(capacity=2, max_idle=10.0, clock=clock)


def test_a_state_is_taken_once(table: SequenceTable[str]) -> None:
    table.put(1, "a")
    assert len(table) == 1
    assert table.take(1) == "a"
    assert table.take(1) is None and len(table) == 0
    assert table.take(404) is None


def test_a_full_table_refuses_and_keeps_what_it_has(table: SequenceTable[str]) -> None:
    table.put(1, "a")
    table.put(2, "b")
    with pytest.raises(Overloaded, match="2 sequences are running; retry later"):
        table.put(3, "c")
    assert (table.take(1), table.take(2), table.take(3)) == ("a", "b", None)


def test_putting_again_replaces(table: SequenceTable[str]) -> None:
    table.put(1, "a")
    table.put(2, "b")
    table.put(1, "a2")
    assert len(table) == 2 and table.take(1) == "a2"


def test_idle_states_make_room(table: SequenceTable[str], clock: Clock) -> None:
    table.put(1, "a")
    clock.now += 6
    table.put(2, "b")
    clock.now += 6  # 1 is idle for 12 s, 2 for 6 s
    table.put(3, "c")
    assert (table.take(1), table.take(2), table.take(3)) == (None, "b", "c")


def test_idle_states_can_be_dropped_before_room_is_looked_for(
    table: SequenceTable[str], clock: Clock
) -> None:
    table.put(1, "a")
    clock.now += 6
    table.put(2, "b")
    clock.now += 6
    table.drop_idle()
    assert (table.take(1), table.take(2)) == (None, "b")


def test_exactly_the_limit_is_not_idle(table: SequenceTable[str], clock: Clock) -> None:
    table.put(1, "a")
    table.put(2, "b")
    clock.now += 10
    with pytest.raises(Overloaded):
        table.put(3, "c")


def test_a_touched_state_is_young_again(table: SequenceTable[str], clock: Clock) -> None:
    table.put(1, "a")
    clock.now += 6
    table.put(2, "b")
    clock.now += 3
    table.put(1, table.take(1) or "")  # a step
    clock.now += 8  # 2 is idle for 11 s, 1 for 8 s
    table.put(3, "c")
    assert (table.take(1), table.take(2), table.take(3)) == ("a", None, "c")


def test_many_sequences_leave_nothing_behind(clock: Clock) -> None:
    table: SequenceTable[int] = SequenceTable(capacity=5, max_idle=10.0, clock=clock)
    for sequence in range(1000):
        clock.now += 3
        table.put(sequence, sequence)  # none is ever ended
        assert len(table) <= 5
