"""A generator that runs ahead in its own thread."""

import threading
from collections.abc import Generator

import pytest
from waiting import HANG_S

from tritone.errors import Cancelled
from tritone.synthesis.run_ahead import RunAhead


class Source:
    """Counts up; knows how far it was driven, on which thread, and whether it was closed."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.made, self.closed, self.thread = 0, threading.Event(), ""
        self.reached = threading.Semaphore(0)
        self.items = self._items(count, error)

    def _items(self, count: int, error: Exception | None) -> Generator[int, None, None]:
        self.thread = threading.current_thread().name
        try:
            for number in range(count):
                self.made = number + 1
                self.reached.release()
                yield number
            if error:
                raise error
        finally:
            self.closed.set()


def test_items_come_in_order_from_another_thread() -> None:
    source = Source(100)
    with RunAhead(source.items) as ahead:
        assert list(ahead) == list(range(100))
    assert source.thread == "run-ahead" and source.closed.is_set()


@pytest.mark.parametrize("depth", [1, 3])
def test_it_keeps_a_bounded_number_ahead(depth: int) -> None:
    source = Source(100)
    with RunAhead(source.items, depth) as ahead:
        for _ in range(depth + 1):  # those in store and the one that waits for room
            assert source.reached.acquire(timeout=HANG_S)
        assert source.made == depth + 1
        assert next(iter(ahead)) == 0
        assert source.reached.acquire(timeout=HANG_S)
    assert source.made == depth + 2 and source.closed.is_set()


def test_without_a_bound_it_takes_all_and_says_how_many_wait() -> None:
    source = Source(100)
    with RunAhead(source.items, None) as ahead:
        assert source.closed.wait(timeout=HANG_S)
        assert ahead.waiting == 100
        assert next(iter(ahead)) == 0
        assert ahead.waiting == 99


def test_errors_come_after_the_items_before_them() -> None:
    error = ValueError("broken")
    source, seen = Source(3, error), []
    with RunAhead(source.items) as ahead, pytest.raises(ValueError) as raised:
        for item in ahead:
            seen.append(item)
    assert raised.value is error and seen == [0, 1, 2]


def test_closing_waits_for_the_clean_up() -> None:
    source = Source(100)
    ahead = RunAhead(source.items)
    ahead.close()
    assert source.closed.is_set() and source.made <= 2
    ahead.close()  # twice is safe
    assert not [t for t in threading.enumerate() if t.name == "run-ahead"]


def test_what_nobody_wants_ends_though_its_consumer_is_stuck() -> None:
    source, unwanted = Source(100), threading.Event()
    ahead = RunAhead(source.items, unwanted=unwanted.is_set)
    for _ in range(2):
        assert source.reached.acquire(timeout=HANG_S)
    unwanted.set()
    assert source.closed.wait(timeout=HANG_S) and source.made == 2
    with pytest.raises(Cancelled):
        list(ahead)


def test_an_error_of_the_consumer_stops_the_source() -> None:
    source = Source(100)
    with pytest.raises(KeyError), RunAhead(source.items) as ahead:
        for _ in ahead:
            raise KeyError
    assert source.closed.is_set() and source.made <= 4
