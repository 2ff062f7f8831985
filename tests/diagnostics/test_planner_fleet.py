"""The simulated fleet against what is known of queues, and what a fleet must do."""

from collections.abc import Sequence
from dataclasses import replace
from math import exp, factorial, inf

import numpy as np
import pytest
from measured_machine import machine

pytest.importorskip("simpy")

from tritone.diagnostics.planner.demand import Demand, poisson
from tritone.diagnostics.planner.fleet import Failures, Fleet, _Run, simulate
from tritone.diagnostics.planner.machine import Speech
from tritone.diagnostics.planner.scaling import Autoscaling, Wanted

INSTANT = 1e-9
SERVER = machine({1: 1.0}, {1: [INSTANT]})
"""Makes a second of audio in a second, and the first of it at once."""
MANY = 30_000


def demand(rate: float, lengths: str, count: int = MANY, seed: int = 1) -> Demand:
    """Lengths of one second on average."""
    rng = np.random.default_rng(seed)
    drawn = rng.exponential(1.0, count) if lengths == "exponential" else np.ones(count)
    arrivals = poisson(rate, [1.0], count, seed + 1).arrivals
    return Demand(arrivals, tuple(drawn.tolist()), count // 10)


def assert_mean(values: Sequence[float], expected: float) -> None:
    """Within four standard errors, told from thirty stretches, as neighbours wait together; and
    they are small enough to find a fault of a half."""
    means = [stretch.mean() for stretch in np.array_split(np.array(values), 30)]
    error = np.std(means, ddof=1) / 30**0.5
    assert abs(np.mean(means) - expected) < 4 * error < expected / 2


def erlang_c(servers: int, load: float) -> float:
    """The share that has to wait in M/M/c; load: arrivals a second over what one server ends."""
    full = load**servers / factorial(servers) * servers / (servers - load)
    return full / (sum(load**n / factorial(n) for n in range(servers)) + full)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.6), (4, 3.0), (8, 6.0)])
def test_the_wait_is_erlang_s(servers: int, load: float) -> None:
    """M/M/c."""
    fleet = Fleet(SERVER, servers, limit=1, waiting_s=inf)
    waits = simulate(fleet, demand(load, "exponential")).first_packets
    assert_mean(waits, erlang_c(servers, load) / (servers - load))
    assert_mean([wait > 2 * INSTANT for wait in waits], erlang_c(servers, load))


@pytest.mark.parametrize("load", [0.4, 0.7])
def test_equal_lengths_wait_half_as_long(load: float) -> None:
    """M/D/1."""
    fleet = Fleet(SERVER, 1, limit=1, waiting_s=inf)
    waits = simulate(fleet, demand(load, "equal")).first_packets
    assert_mean(waits, load / (2 * (1 - load)))


@pytest.mark.parametrize("lengths", ["exponential", "equal"])
def test_streams_share_a_machine(lengths: str) -> None:
    """M/G/1 with processor sharing: the mean time does not depend on how lengths are spread."""
    outcome = simulate(Fleet(SERVER, 1, limit=10**6), demand(0.6, lengths))
    assert_mean(outcome.spoken, 1 / (1 - 0.6))
    assert outcome.refused == 0


@pytest.mark.parametrize(("places", "load"), [(2, 1.0), (8, 6.0)])
def test_the_share_refused_is_erlang_s(places: int, load: float) -> None:
    """M/M/c/c: one machine, which is as fast as it has streams."""
    fast = machine({1: 1.0, places: float(places)}, {1: [INSTANT], places: [INSTANT]})
    outcome = simulate(Fleet(fast, 1, limit=places), demand(load, "exponential"))
    terms = [load**n / factorial(n) for n in range(places + 1)]
    assert outcome.refused == pytest.approx(terms[-1] / sum(terms), abs=0.015)
    assert outcome.use == pytest.approx(load * (1 - terms[-1] / sum(terms)) / places, abs=0.015)


def test_a_stream_is_as_fast_as_its_company_lets_it() -> None:
    """Two of three seconds, a second apart, at two seconds a second: worked out by hand."""
    fast = machine({1: 2.0}, {1: [0.1]})
    outcome = simulate(Fleet(fast, 1, limit=2), Demand((0.5, 1.5), (3.0, 3.0)))
    assert outcome.spoken == pytest.approx((2.0, 2.0))
    assert outcome.first_packets == pytest.approx((0.1, 0.2)), "beyond what was measured: in step"
    assert outcome.dry == 0


def test_who_is_made_slower_than_heard_runs_dry() -> None:
    outcome = simulate(Fleet(machine({1: 0.5}), 1, limit=1), Demand((1.0,), (4.0,)))
    assert (outcome.dry, outcome.spoken) == (1.0, (8.0,))


def test_who_waits_too_long_is_refused() -> None:
    queue = Demand((1.0, 1.1, 1.2), (2.0, 2.0, 2.0))
    assert simulate(Fleet(SERVER, 1, limit=1), queue).refused == pytest.approx(2 / 3)
    patient = simulate(Fleet(SERVER, 1, limit=1, waiting_s=2.0), queue)
    assert patient.refused == pytest.approx(1 / 3)
    assert patient.first_packets == pytest.approx((0.0, 1.9), abs=1e-6)


def test_who_waits_again_has_all_of_the_time_again() -> None:
    """It waits from 1 to 3, breaks at 4, and may wait until 9."""
    run = _Run(Fleet(SERVER, 1, limit=1, waiting_s=5.0), 0)
    speeches = [Speech(audio, at) for audio, at in ((3.0, 0.0), (4.0, 1.0))]
    run._begin()
    run.open = len(speeches)
    run.env.process(run._arrive(speeches))
    run.env.run(until=4.0)
    for speech in run.machines[0].fail():
        run._ask(speech)
    run.env.run(until=7.0)
    run.machines[0].open()
    run._take_waiting()
    run.env.run(until=run.over)
    assert not any(speech.refused for speech in speeches)
    assert speeches[1].ended == pytest.approx(11.0)


def test_a_machine_that_fails_breaks_its_streams() -> None:
    failing = Fleet(SERVER, 4, limit=4, failures=Failures(between_s=50, repair_s=25))
    outcome = simulate(failing, demand(1.5, "equal", 4000))
    times = outcome.lasted_s / 75
    assert outcome.failures == pytest.approx(4 * times, rel=0.25)
    assert 0.01 < outcome.broken < 0.3
    whole = simulate(Fleet(SERVER, 4, limit=4), demand(1.5, "equal", 4000))
    assert np.mean(outcome.spoken) > np.mean(whole.spoken)
    assert (whole.broken, whole.failures) == (0, 0)


def test_the_same_seed_gives_the_same_outcome() -> None:
    fleet = Fleet(machine({1: 4.0, 4: 6.0}), 3, limit=4)
    one, other = (poisson(2.0, [1.0, 5.0], 500, seed) for seed in (3, 4))
    assert simulate(fleet, one, 3) == simulate(fleet, one, 3) != simulate(fleet, other, 3)


def test_an_autoscaler_s_machines_come_when_they_have_started() -> None:
    rule = Autoscaling(least=1, most=8, use=0.5, every_s=10, delay_s=60, keep_s=100)
    busy = replace(demand(2.0, "equal", 1200), filling=0)
    outcome = simulate(Fleet(SERVER, 1, limit=1, waiting_s=inf, autoscaling=rule), busy)
    assert 4 <= outcome.most <= 8
    assert max(outcome.first_packets) > 20, "nobody helps for the first minute"
    late = sum(wait > 1 for wait in outcome.first_packets)
    slower = Autoscaling(least=1, most=8, use=0.5, every_s=10, delay_s=200, keep_s=100)
    other = simulate(Fleet(SERVER, 1, limit=1, waiting_s=inf, autoscaling=slower), busy)
    assert late < sum(wait > 1 for wait in other.first_packets)


def test_an_autoscaler_s_machines_go_when_nobody_speaks() -> None:
    rule = Autoscaling(least=1, most=8, use=0.5, every_s=10, delay_s=0, keep_s=50)
    rush = [1.0 + n / 10 for n in range(200)]
    quiet = [1000.0 + 20 * n for n in range(50)]
    arrivals = Demand((*rush, *quiet), (1.0,) * 250)
    outcome = simulate(Fleet(SERVER, 1, limit=4, autoscaling=rule), arrivals)
    assert outcome.most > 3
    assert outcome.machine_s / outcome.lasted_s < 2


def test_what_an_autoscaler_wants() -> None:
    wanted = Wanted(Autoscaling(least=2, most=10, use=0.5, keep_s=60))
    assert wanted.at(0, full=3.0, machines=2) == 6
    assert wanted.at(30, full=0.5, machines=6) == 6, "so many were wanted a moment ago"
    assert wanted.at(61, full=0.5, machines=6) == 2
    assert wanted.at(70, full=50.0, machines=2) == 10


def test_arrivals_are_a_poisson_process() -> None:
    gaps = np.diff(poisson(5.0, [1.0, 3.0], MANY, seed=0).arrivals)
    assert np.mean(gaps) == pytest.approx(0.2, rel=0.03)
    assert np.mean(gaps > 0.2) == pytest.approx(exp(-1), abs=0.01)
