"""Streams that nobody wants any more, while a model computes for them."""

import errno
import json
import os
from collections.abc import Iterator
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
from backend_fakes import backend
from waiting import wait_until

from tritone import unwanted_board
from tritone.synthesis.timing import Timing
from tritone.triton_models import PLACE_PARAMETER
from tritone.unwanted_board import PLACES, StreamPlace, UnwantedBoard
from tritone.variables import UNWANTED_VARIABLE


class House:
    """One open stream, of a caller who may be `gone`."""

    def __init__(self, modules: Any, board: UnwantedBoard) -> None:
        self.gone = self.over = False
        self.looks = 0
        self.board, self.place = board, StreamPlace(board)
        self.calls = modules.neighbours.Calls(SimpleNamespace(lost=[]), self.place)
        sender = SimpleNamespace(is_cancelled=self._look, send=self._send)
        metrics = SimpleNamespace(request=lambda *_: None)
        account = modules.account.Account(Timing(24000), metrics)
        account.close = lambda: None
        self.stream = modules.open_streams.OpenStream(sender, account, self.calls)
        self.streams = modules.open_streams.OpenStreams("cosyvoice2")

    def _send(self, *_: Any, flags: int = 0) -> None:
        self.over |= bool(flags)

    def _look(self) -> bool:
        """As Triton: a look after the last response, or while it leaves, ends the server."""
        assert not self.over and self.stream._sending.locked()
        self.looks += 1
        return self.gone

    @property
    def given_up(self) -> bool:
        return self.board.unwanted(self.place.number)


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    descriptor = unwanted_board.create()
    board = UnwantedBoard(descriptor)
    os.close(descriptor)
    names = "messages", "neighbours", "account", "text_streams", "open_streams"
    with backend(monkeypatch, *names) as modules:
        house = House(modules, board)
        yield house
        house.streams.close()


@pytest.mark.parametrize("model", ["token2wav", "vocoder"])
def test_a_model_is_told_in_the_middle_of_its_work(house: House, model: str) -> None:
    with house.streams.keep(house.stream), house.calls.to(model):
        house.stream.look()
        assert not house.given_up
        house.gone = True
        wait_until(lambda: house.given_up)


def test_nobody_looks_once_the_last_response_has_left(house: House) -> None:
    with house.streams.keep(house.stream), house.calls.to("vocoder"):
        wait_until(lambda: house.looks)
        house.stream.send(flags=1)
        looks = house.looks
        house.stream.look()
        assert house.given_up and house.looks == looks


def test_nobody_asks_for_a_caller_while_nothing_is_computed(house: House) -> None:
    """A look is a message to the server; the language model is stopped by other means."""
    house.gone = True
    house.stream._caller._looked = -inf  # or it would be too early for a look anyway
    with house.streams.keep(house.stream):
        with house.calls.to("tensorrt_llm"):
            house.stream.look()
            assert not house.looks
        with house.calls.to("token2wav"):
            house.stream.look()
            assert house.given_up


def test_what_is_left_of_a_stream_that_has_ended_stops(house: House) -> None:
    with house.streams.keep(house.stream):
        assert not house.given_up
    assert house.given_up
    others = {StreamPlace(house.board).number for _ in range(PLACES)}
    assert house.place.number in others, "and its place is another's"


def test_a_log_that_is_full_costs_no_stream(house: House) -> None:
    """Its account cannot be closed in order, and it ends all the same."""

    def close() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    house.stream.account.close = close
    with pytest.raises(OSError, match="No space"), house.streams.keep(house.stream):
        pass
    assert house.given_up


def test_the_trouble_of_one_stream_is_not_that_of_others(house: House) -> None:
    class Troubled:
        account, calls = house.stream.account, house.calls

        def look(self) -> None:
            raise ValueError("of whatever Triton says of its caller")

    with (
        house.streams.keep(Troubled()),
        house.streams.keep(house.stream),
        house.calls.to("vocoder"),
    ):
        house.gone = True
        wait_until(lambda: house.given_up)


def test_a_call_brings_the_place_of_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = unwanted_board.create()
    monkeypatch.setenv(UNWANTED_VARIABLE, str(descriptor))
    with backend(monkeypatch, "messages", "wanted") as modules:
        os.close(descriptor)
        place = StreamPlace(modules.wanted.BOARD)
        brought = json.dumps(modules.messages.inner_parameters(place.number))
        unwanted = modules.wanted.unwanted(SimpleNamespace(parameters=lambda: brought))
        assert not unwanted()
        place.give_up()
        assert unwanted()
        for other in ({}, {PLACE_PARAMETER: "4095"}, {PLACE_PARAMETER: 2**40}):
            request = SimpleNamespace(parameters=lambda other=other: json.dumps(other))
            assert not modules.wanted.unwanted(request)()
