"""How much a caller may ask for, by a clock that stands."""

import pytest
from waiting import Clock

from tritone.gateway.errors import ApiError
from tritone.gateway.limits import Places, Rate


def refused(rate: Rate) -> ApiError | None:
    try:
        rate.take()
    except ApiError as error:
        return error
    return None


def test_a_minute_s_requests_and_no_more() -> None:
    clock = Clock()
    rate = Rate(3, clock)
    assert [refused(rate) for _ in range(3)] == [None] * 3
    error = refused(rate)
    assert error and (error.status, error.code) == (429, "rate_limit_exceeded")
    assert error.response().headers["Retry-After"] == "20"
    clock.move(20)
    assert refused(rate) is None and refused(rate)
    clock.move(3600)
    assert [refused(rate) is None for _ in range(4)] == [True] * 3 + [False]


def test_zero_is_unlimited() -> None:
    rate, places = Rate(0, Clock()), Places(0, "x")
    assert [refused(rate) for _ in range(1000)] == [None] * 1000
    with places.one(), places.one():
        assert places.taken == 2


def test_a_place_is_given_back_however_its_stream_ends() -> None:
    places = Places(1, "this key")
    with pytest.raises(ZeroDivisionError), places.one():
        with pytest.raises(ApiError, match="this key may have 1 streams at a time") as full:
            places.one().__enter__()
        assert (full.value.status, full.value.code) == (429, "too_many_streams")
        raise ZeroDivisionError
    with places.one():
        assert places.taken == 1
