"""How many machines are planned, and what is refused by name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from measured_machine import figures, machine

pytest.importorskip("simpy")

from tritone.diagnostics.planner.demand import Demand, poisson, read_trace
from tritone.diagnostics.planner.fleet import Failures, Fleet, simulate
from tritone.diagnostics.planner.measured import read_measured
from tritone.diagnostics.planner.plan import Conditions, Promise, places, plan
from tritone.diagnostics.planner.scaling import Autoscaling
from tritone.diagnostics.planner.steady import steady
from tritone.errors import InvalidRequest

SMALL = machine({1: 4.0, 2: 6.0, 4: 8.0, 8: 8.0})
PROMISE = Promise(first_packet_s=0.25)


def asked(streams: float, count: int = 1000) -> list[Demand]:
    return [poisson(streams / 4.0, SMALL.audio_s, count, seed, 18.0) for seed in (1, 2)]


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
    demands = asked(60)
    found = plan(SMALL, demands, PROMISE)
    assert PROMISE.is_kept(found.outcome)
    fewer = Fleet(SMALL, found.machines - 1, found.places)
    assert not all(PROMISE.is_kept(simulate(fewer, each, n)) for n, each in enumerate(demands))
    listened = max(each.listened for each in demands)
    assert found.cores == pytest.approx(listened * 0.25 / (2 * found.machines), rel=0.01)


@pytest.mark.parametrize("streams", [20, 100])
def test_a_plan_holds_on_seeds_that_it_has_not_seen(streams: float) -> None:
    """However many speeches are heard at a time: few seconds of them fill no machine."""
    conditions = Conditions()
    demands = steady(SMALL, streams / 4, PROMISE, conditions, speeches=300)
    found = plan(SMALL, demands, PROMISE, conditions)
    fleet = Fleet(SMALL, found.machines, found.places)
    (other, *_) = steady(SMALL, streams / 4, PROMISE, Conditions(seed=91), speeches=300)
    outcome = simulate(fleet, other, 91)
    assert outcome.first_packet(PROMISE.share) <= PROMISE.first_packet_s
    assert outcome.refused < 4 * PROMISE.refused and outcome.dry <= PROMISE.dry


def test_a_load_lasts_until_a_fleet_can_be_judged() -> None:
    def times(conditions: Conditions) -> tuple[float, float]:
        demand = steady(SMALL, 5.0, PROMISE, conditions, speeches=100)[0]
        return demand.arrivals[demand.filling], demand.arrivals[-1]

    filled, lasted = times(Conditions())
    assert filled == pytest.approx(3 * 6.0, rel=0.1) and lasted > 0.9 * 50 * 4.0
    scaled = times(Conditions(autoscaling=Autoscaling(1, 9, delay_s=60, keep_s=300)))
    assert scaled[0] > 3 * 60 and scaled[1] > 3 * 360
    failing = Conditions(failures=Failures(between_s=600, repair_s=10))
    assert times(failing)[1] > 20 * 600 / 4  # of three machines at least
    with pytest.raises(InvalidRequest, match=r"--fail-every: \d+ speeches would have to be"):
        steady(SMALL, 5.0, PROMISE, Conditions(failures=Failures(1e9, 10)), speeches=100)


def test_a_promise_that_no_number_of_machines_keeps_is_soon_refused() -> None:
    """Not after a hundred thousand."""
    demands = [Demand((1.0, 9.0, 17.0), (4.0, 4.0, 4.0))]
    with pytest.raises(InvalidRequest, match="small: not even 2 machines keep the promise"):
        plan(SMALL, demands, replace(PROMISE, dry=-1.0))


def test_headroom_is_what_still_fits() -> None:
    found = plan(SMALL, asked(20, 600), PROMISE)
    fleet = Fleet(SMALL, found.machines, found.places)

    def is_kept(times: float) -> bool:
        outcomes = (simulate(fleet, each.faster(times), n) for n, each in enumerate(asked(20, 600)))
        return all(PROMISE.is_kept(each) for each in outcomes)

    assert is_kept(1 + found.headroom) and not is_kept(1.03 + found.headroom)


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
        ({"levels": figures({1: 1.0, 10**9: 2.0})["levels"]}, "levels.1.streams: Input should be"),
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


def test_a_trace_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    """Some begin their files with a mark of the encoding."""
    file = tmp_path / "trace.csv"
    file.write_text("arrival_s,audio_s\n2.5,3\n", encoding="utf-8-sig")
    assert read_trace(file) == Demand((2.5,), (3.0,))
    file.write_text("arrival_s,audio_s\n2.5," + "3" * 200_000)
    with pytest.raises(InvalidRequest, match="field larger than field limit"):
        read_trace(file)


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
