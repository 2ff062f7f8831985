"""The fewest machines of a kind that keep a promise under a demand, and what is left then."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil

from tritone.diagnostics.planner.demand import Demand
from tritone.diagnostics.planner.fleet import Failures, Fleet, Outcome, simulate
from tritone.diagnostics.planner.measured import Measured
from tritone.diagnostics.planner.scaling import Autoscaling
from tritone.errors import InvalidRequest

_MOST_MACHINES = 100_000
_MOST_MORE = 3.0  # times the demand, when headroom is looked for
_FINE = 0.02  # of what is found


@dataclass(frozen=True)
class Promise:
    """first_packet_s: for this share of the speeches. refused, dry: shares of all that may be.
    reserve: how much faster than real time a machine is for all its streams together."""

    first_packet_s: float
    share: float = 0.95
    refused: float = 0.001
    dry: float = 0.01
    reserve: float = 1.25

    def is_kept(self, outcome: Outcome) -> bool:
        return (
            outcome.first_packet(self.share) <= self.first_packet_s
            and outcome.refused <= self.refused
            and outcome.dry <= self.dry
        )


@dataclass(frozen=True)
class Conditions:
    """What else a fleet lives with. spare: machines that may be away, in addition to `failures`.
    autoscaling: from `least` to `most`; without it all machines are there from the begin."""

    waiting_s: float = 0.0
    spare: int = 0
    failures: Failures | None = None
    autoscaling: Autoscaling | None = None
    seed: int = 0


@dataclass(frozen=True)
class Plan:
    """machines: with the spare ones, which `outcome` is without. places: streams that each takes.
    headroom: 0.2 where the promise is kept with a fifth more demand, and no machine more. cores:
    share of the processors that is busy; None where the measurement does not tell."""

    measured: Measured
    machines: int
    spare: int
    places: int
    outcome: Outcome
    headroom: float
    cores: float | None


def places(measured: Measured, promise: Promise) -> int:
    """Streams that one machine may take at a time. Raises InvalidRequest where one is too many."""
    found = 0
    for streams in range(1, measured.most + 1):
        first = measured.first_packet(streams, promise.share)
        speed = measured.speed(streams) / streams
        if first > promise.first_packet_s or speed < promise.reserve:
            if found:
                break
            raise InvalidRequest(
                measured.kind,
                f"with one stream {promise.share:.0%} of the first packets come "
                f"within {1000 * first:.0f} ms, and speech is made {speed:.2f} times as fast as it "
                f"is heard; {1000 * promise.first_packet_s:.0f} ms and {promise.reserve:g} times "
                "are wanted, which no number of such machines gives",
            )
        found = streams
    return found


def least_machines(measured: Measured, listened: float, limit: int) -> int:
    """Below which are too few in any case. listened: speeches heard at a time."""
    return max(1, ceil(listened / measured.speed(limit)))


def plan(
    measured: Measured,
    demands: Sequence[Demand],
    promise: Promise,
    conditions: Conditions | None = None,
) -> Plan:
    """demands: on each of which the plan must hold, with a seed of its own. Raises InvalidRequest
    where no number of machines will do."""
    given = conditions or Conditions()
    limit = places(measured, promise)
    fleet = Fleet(measured, 0, limit, given.waiting_s, given.failures, given.autoscaling)
    listened = max(demand.listened for demand in demands)

    def outcome(machines: int, times: float = 1.0) -> Outcome:
        """The first that breaks the promise, or that of the most refused."""
        found: list[Outcome] = []
        for seed, demand in enumerate(demands, given.seed):
            asked = demand if times == 1 else demand.faster(times)
            found.append(simulate(replace(fleet, machines=machines), asked, seed))
            if not promise.is_kept(found[-1]):
                return found[-1]
        return max(found, key=lambda each: (each.refused, each.first_packet(promise.share)))

    if given.autoscaling:
        machines = given.autoscaling.least
        found = outcome(machines)
    else:
        least = least_machines(measured, listened, limit)
        machines, found = _fewest(outcome, measured.kind, least, promise)
    more = 0.0
    if promise.is_kept(found):
        more = _headroom(lambda times: promise.is_kept(outcome(machines, times)))
    cores = None
    if measured.cpu_s_per_audio_s:
        average = found.machine_s / found.lasted_s
        spoken = listened * (1 - found.refused)
        cores = spoken * measured.cpu_s_per_audio_s / (measured.cores * average)
    return Plan(measured, machines + given.spare, given.spare, limit, found, more, cores)


def _fewest(
    outcome: Callable[[int], Outcome], kind: str, least: int, promise: Promise
) -> tuple[int, Outcome]:
    """least: below which are too few in any case."""
    many, found = _enough(outcome, kind, least, promise)
    few = least - 1
    while many - few > 1:
        middle = (few + many) // 2
        tried = outcome(middle)
        if promise.is_kept(tried):
            many, found = middle, tried
        else:
            few = middle
    return many, found


def _enough(
    outcome: Callable[[int], Outcome], kind: str, least: int, promise: Promise
) -> tuple[int, Outcome]:
    """Some number of machines that keeps the promise. Raises InvalidRequest where twice as many
    are no better, as then no number is enough."""
    many, step = least, 1
    found = outcome(least)
    half = least, found
    while not promise.is_kept(found):
        many, step = many + step, 2 * step
        found = outcome(many)
        if many < 2 * half[0]:
            continue
        if many > _MOST_MACHINES or not (
            promise.is_kept(found) or _is_better(found, half[1], promise.share)
        ):
            raise InvalidRequest(
                kind,
                f"not even {many} machines keep the promise: first packet "
                f"{1000 * found.first_packet(promise.share):.0f} ms, {found.refused:.2%} refused, "
                f"{found.dry:.2%} run dry",
            )
        half = many, found
    return many, found


def _is_better(found: Outcome, other: Outcome, share: float) -> bool:
    """First packets are drawn, so they are a little better now and then."""
    first = found.first_packet(share) < 0.99 * other.first_packet(share)
    return first or found.refused < other.refused or found.dry < other.dry


def _headroom(is_kept: Callable[[float], bool]) -> float:
    """How much more demand is kept than once, which is."""
    kept, lost = 1.0, _MOST_MORE
    while lost - kept > _FINE:
        middle = (kept + lost) / 2
        kept, lost = (middle, lost) if is_kept(middle) else (kept, middle)
    return kept - 1
