"""The page on which the processes of a server see which streams nobody wants any more."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tritone import unwanted_board
from tritone.unwanted_board import NO_PLACE, PLACES, StreamPlace, UnwantedBoard


@pytest.fixture
def descriptor() -> Iterator[int]:
    descriptor = unwanted_board.create()
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def board(descriptor: int) -> UnwantedBoard:
    return UnwantedBoard(descriptor)


def test_another_process_sees_it(descriptor: int, board: UnwantedBoard) -> None:
    """One that inherits the descriptor, as models' processes do."""
    kept, given_up = StreamPlace(board), StreamPlace(board)
    given_up.give_up()
    seeing = (
        "import os, sys; from tritone.unwanted_board import UnwantedBoard\n"
        "board = UnwantedBoard.inherited(os.environ, 'PAGE')\n"
        "print(*(board.unwanted(int(place)) for place in sys.argv[1:]))"
    )
    command = [sys.executable, "-c", seeing, str(kept.number), str(given_up.number)]
    environment = {**os.environ, "PAGE": str(descriptor)}
    said = subprocess.check_output(command, env=environment, pass_fds=[descriptor], text=True)
    assert said.split() == ["False", "True"]


def test_a_place_that_another_stream_has_is_not_given_up(board: UnwantedBoard) -> None:
    """By whoever looks at the one before a moment too late."""
    one, *_ = [StreamPlace(board) for _ in range(PLACES)]
    one.close()
    assert board.unwanted(one.number), "what is still computed for it stops"
    other = StreamPlace(board)
    assert other.number == one.number and not board.unwanted(other.number)
    one.give_up()
    one.close()
    assert not board.unwanted(other.number)
    assert StreamPlace(board).number == NO_PLACE, "it was given back once"


def test_the_place_that_was_given_back_last_is_taken_last(board: UnwantedBoard) -> None:
    """A step that goes on for the stream before would think that it is wanted."""
    one = StreamPlace(board)
    one.close()
    assert all(StreamPlace(board).number != one.number for _ in range(PLACES - 1))
    assert StreamPlace(board).number == one.number


def test_a_stream_without_a_place_is_wanted_to_its_end(board: UnwantedBoard) -> None:
    places = [StreamPlace(board) for _ in range(PLACES + 1)]
    last = places[-1]
    assert last.number == NO_PLACE
    last.give_up()
    assert not any(board.unwanted(place.number) for place in places)
    last.close()
    places[0].close()
    assert StreamPlace(board).number == places[0].number, "a place that never was is not given on"
    assert not board.unwanted(PLACES) and not board.unwanted(-2)


def test_there_is_none_without_a_launcher() -> None:
    assert UnwantedBoard.inherited({}, "PAGE") is None
    place = StreamPlace(None)
    place.give_up()
    place.close()
    assert place.number == NO_PLACE
