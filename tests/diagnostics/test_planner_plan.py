"""How many machines are planned, and what is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
from measured_machine import figures, machine

pytest.importorskip("simpy")

from tritone.diagnostics.planner.demand import Demand, poisson, read_trace
from tritone.diagnostics.planner.fleet import Fleet, simulate
from tritone.diagnostics.planner.measured import read_measured
from tritone.diagnostics.planner.plan import Conditions, Promise, places, plan
from tritone.errors import InvalidRequest

SMALL = machine({1: 4.0, 2: 6.0, 4: 8.0, 8: 8.0})
PROMISE = Promise(first_packet_s=0.25)


def asked(streams: float, count: int = 1000) -> Demand:
    return poisson(streams / 4.0, SMALL.audio_s, count, seed=1)


def test_between_levels_is_a_line() -> None:
    assert [SMALL.speed(n) for n in (1, 2, 3, 4, 8, 20)] == [4, 6, 7, 8, 8, 8]
    assert SMALL.first_packet(3, 0.5) == pytest.approx(0.15)
    assert SMALL.first_packet(16, 0.5) == pytest.approx(0.8)
    spread = machine({1: 4.0}, {1: [0.1, 0.2, 0.3]})
    assert spread.first_packet(1, 0.75) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("promise", "expected"),
    [
        (Promise(0.25), 5),  # the sixth would wait 0.3 s for its first packet
        (Promise(9.0), 6),  # and the seventh would leave less than a quarter in reserve
        (Promise(9.0, reserve=0.0), 8),  # more were not measured
    ],
)
def test_a_machine_takes_as_many_as_the_promise_lets_it(promise: Promise, expected: int) -> None:
    assert places(SMALL, promise) == expected


@pytest.mark.parametrize("promise", [Promise(0.04), Promise(0.25, reserve=5.0)])
def test_a_machine_that_is_too_slow_is_refused_by_name(promise: Promise) -> None:
    with pytest.raises(InvalidRequest, match=r"small: with one stream 95% .* no number of such"):
        places(SMALL, promise)


def test_the_fewest_machines_that_keep_the_promise() -> None:
    demand = asked(60)
    found = plan(SMALL, demand, PROMISE)
    assert PROMISE.is_kept(found.outcome)
    fewer = Fleet(SMALL, found.machines - 1, found.places)
    assert not PROMISE.is_kept(simulate(fewer, demand))
    assert found.cores == pytest.approx(demand.listened * 0.25 / (2 * found.machines), rel=0.01)


def test_headroom_is_what_still_fits() -> None:
    found = plan(SMALL, asked(20, 600), PROMISE)
    fleet = Fleet(SMALL, found.machines, found.places)
    assert PROMISE.is_kept(simulate(fleet, asked(20, 600).faster(1 + found.headroom)))
    assert not PROMISE.is_kept(simulate(fleet, asked(20, 600).faster(1.03 + found.headroom)))


def test_more_is_needed_of_more_and_for_more() -> None:
    counts = [plan(SMALL, asked(streams, 400), PROMISE).machines for streams in (5, 20, 80)]
    assert counts == sorted(set(counts))
    strict = plan(SMALL, asked(40, 400), Promise(0.11)).machines
    assert strict > plan(SMALL, asked(40, 400), PROMISE).machines
    slow = machine({1: 2.0, 2: 3.0, 4: 4.0, 8: 4.0})
    assert (
        plan(slow, asked(40, 400), PROMISE).machines > plan(SMALL, asked(40, 400), PROMISE).machines
    )


def test_spare_machines_are_added() -> None:
    without, with_two = (
        plan(SMALL, asked(10, 300), PROMISE, Conditions(spare=spare)) for spare in (0, 2)
    )
    assert with_two.machines == without.machines + 2
    assert with_two.outcome == without.outcome


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "format: Input should be 'tritone-capacity-1'"),
        ({"cores": 0}, "cores: Input should be greater than 0"),
        ({"levels": []}, "levels: List should have at least 1 item"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"levels": figures({2: 1.0})["levels"]}, r"levels have \[2\] streams; they must begin"),
        ({"levels": figures({1: 1.0, 3: 0.0})["levels"]}, "levels.1.audio_per_second: Input"),
        ({"levels": figures({1: 1.0}, {1: [float("nan")]})["levels"]}, "levels.0.first_packet_s.0"),
    ],
)
def test_a_measurement_that_is_none_is_refused_by_name(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "bench.json"
    file.write_text(json.dumps({**figures({1: 1.0}), **change}))
    with pytest.raises(InvalidRequest, match=message) as told:
        read_measured(file)
    assert str(file) in str(told.value)


@pytest.mark.parametrize("text", [None, "{", "[]", "\xff"])
def test_a_file_that_is_none_is_refused_by_name(text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    if text is not None:
        file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidRequest, match=r"bench\.json"):
        read_measured(file)


def test_a_trace_is_read(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("arrival_s,audio_s,who\n2.5,3,ann\n0.5,4,joe\n")
    demand = read_trace(file)
    assert demand == Demand((0.5, 2.5), (4.0, 3.0))
    assert (demand.rate, demand.listened) == (0.8, 2.8)
    assert demand.faster(2) == Demand((0.25, 1.25), (4.0, 3.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arrival_s,audio_s\n1,2\n3,long\n", "line 3: numbers"),
        ("at,audio_s\n1,2\n", "line 2: numbers"),
        ("arrival_s,audio_s\n1,-2\n", "line 2: arrival_s is 1, audio_s is -2"),
        ("arrival_s,audio_s\n1,inf\n", "line 2: arrival_s"),
        ("arrival_s,audio_s\n", "no speech comes"),
        ("", "no speech comes"),
    ],
)
def test_a_trace_that_is_none_is_refused_by_line(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(text)
    with pytest.raises(InvalidRequest, match=message):
        read_trace(file)
