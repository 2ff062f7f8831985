"""A steady load, for long enough that a fleet can be judged by it."""

from math import ceil

from tritone.diagnostics.planner.demand import Demand, poisson
from tritone.diagnostics.planner.measured import Measured
from tritone.diagnostics.planner.plan import Conditions, Promise, least_machines, places
from tritone.errors import InvalidRequest

SEEDS = 3  # on each of which a plan must hold
_FILLING = 3  # times the longest speech
_STARTS = 3  # of new machines, until an autoscaler has as many as it wants
_LENGTHS = 50  # mean speeches, one after the other
_CYCLES = 3  # times that an autoscaler takes to start a machine and to end it
_FAILURES = 20  # of any machine of the fleet
_REPAIRS = 10
_MOST = 1_000_000  # speeches, which take minutes to simulate


def steady(
    measured: Measured,
    rate: float,
    promise: Promise,
    conditions: Conditions,
    speeches: int,
) -> list[Demand]:
    """Independent speeches, `rate` a second, with lengths as measured: at least so many, and more
    where they would be over too soon. Raises InvalidRequest where they would be too many."""
    lengths = measured.audio_s
    mean, filling = sum(lengths) / len(lengths), _FILLING * max(lengths)
    needed = {"--speeches": _LENGTHS * mean}
    if rule := conditions.autoscaling:
        filling += _STARTS * rule.delay_s
        needed["--start-delay"] = _CYCLES * (rule.delay_s + rule.keep_s)
    if failures := conditions.failures:
        machines = least_machines(measured, rate * mean, places(measured, promise))
        needed["--fail-every"] = _FAILURES * failures.between_s / machines
        needed["--repair"] = _REPAIRS * failures.repair_s
    longest = max(needed, key=lambda option: needed[option])
    count = max(speeches, ceil(rate * (filling + needed[longest])))
    if count > _MOST:
        raise InvalidRequest(
            longest,
            f"{count} speeches would have to be simulated, and {_MOST} can be; "
            "plan for a part of the load, or for shorter times",
        )
    first = conditions.seed
    return [poisson(rate, lengths, count, first + n, filling) for n in range(SEEDS)]
