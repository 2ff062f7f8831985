"""tritone plan: how many machines a load needs, from what one of each kind was measured to do."""

import json
import re
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tritone.cli.command import refused
from tritone.errors import InvalidRequest

if TYPE_CHECKING:
    from tritone.diagnostics.planner.demand import Demand
    from tritone.diagnostics.planner.measured import Measured
    from tritone.diagnostics.planner.plan import Conditions, Plan, Promise

MISSING = "tritone plan simulates with simpy, which is not here: pip install 'tritone[plan]'"
_UNITS = {"ms": 1e-3, "s": 1.0, "": 1.0, "min": 60.0, "h": 3600.0}
Time = Annotated[str | None, typer.Option(metavar="TIME")]


@dataclass(frozen=True)
class Asked:
    """What is asked of the machines: one of the three."""

    streams: Annotated[
        float | None, typer.Option(help="speeches that are heard at a time, on average")
    ] = None
    rate: Annotated[float | None, typer.Option(help="speeches a second")] = None
    trace: Annotated[
        Path | None, typer.Option(metavar="CSV", help="with the columns arrival_s and audio_s")
    ] = None
    speeches: Annotated[int, typer.Option(help="that are simulated at least, without --trace")] = (
        10_000
    )
    seed: Annotated[int, typer.Option(help="of the simulation")] = 0

    def of(
        self, measured: "Measured", promise: "Promise", conditions: "Conditions"
    ) -> "list[Demand]":
        """On each of which a plan must hold. Raises InvalidRequest."""
        from tritone.diagnostics.planner.demand import read_trace
        from tritone.diagnostics.planner.steady import SEEDS, steady

        if (self.streams is None) + (self.rate is None) + (self.trace is None) != 2:
            raise InvalidRequest("--streams", "give one of it, --rate and --trace")
        if self.trace:
            return [read_trace(self.trace)] * SEEDS
        positive("streams", self.streams)
        positive("rate", self.rate)
        if self.speeches < 100:
            raise InvalidRequest("--speeches", f"is {self.speeches}; it must be at least 100")
        lengths = measured.audio_s
        rate = self.rate or (self.streams or 0) * len(lengths) / sum(lengths)
        return steady(measured, rate, promise, conditions, self.speeches)


@dataclass(frozen=True)
class Promised:
    """What callers are promised."""

    first_packet: Annotated[str, typer.Option(metavar="TIME", help="such as 300ms or 0.3s")]
    share: Annotated[float, typer.Option(help="of the speeches that have it by then")] = 0.95
    refused: Annotated[float, typer.Option(help="share that may be refused")] = 0.001
    dry: Annotated[float, typer.Option(help="share that may run dry while it is heard")] = 0.01
    reserve: Annotated[
        float, typer.Option(help="how much faster than real time a machine stays for its streams")
    ] = 1.25

    @property
    def promise(self) -> "Promise":
        """Raises InvalidRequest."""
        from tritone.diagnostics.planner.plan import Promise

        for name in ("share", "refused", "dry"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise InvalidRequest(f"--{name}", f"is {value:g}; 0 to 1 is meant, without 1")
        if not (self.reserve >= 0 and isfinite(self.reserve)):
            raise InvalidRequest("--reserve", f"is {self.reserve:g}; it must be at least 0")
        first = seconds("first-packet", self.first_packet)
        return Promise(first, self.share, self.refused, self.dry, self.reserve)


@dataclass(frozen=True)
class Lived:
    """What the machines live with."""

    waiting: Time = None
    spare: Annotated[int, typer.Option(help="machines that may be away")] = 0
    fail_every: Time = None
    repair: Time = None
    autoscale: Annotated[
        str | None,
        typer.Option(metavar="LEAST:MOST", help="machines, as streams need them"),
    ] = None
    start_delay: Time = None

    def conditions(self, seed: int) -> "Conditions":
        """Raises InvalidRequest."""
        from tritone.diagnostics.planner.fleet import Failures
        from tritone.diagnostics.planner.plan import Conditions

        if self.spare < 0:
            raise InvalidRequest("--spare", f"is {self.spare}; it must be at least 0")
        if (self.fail_every is None) != (self.repair is None):
            raise InvalidRequest("--fail-every", "it and --repair belong together")
        failures = None
        if self.fail_every is not None and self.repair is not None:
            between = seconds("fail-every", self.fail_every)
            failures = Failures(between, seconds("repair", self.repair))
        waiting = seconds("waiting", self.waiting) if self.waiting else 0.0
        return Conditions(waiting, self.spare, failures, self._autoscaling(), seed)

    def _autoscaling(self) -> Any:
        from tritone.diagnostics.planner.scaling import Autoscaling

        if self.autoscale is None:
            return None
        found = re.fullmatch(r"(\d+):(\d+)", self.autoscale)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise InvalidRequest(
                "--autoscale",
                f"{self.autoscale}; LEAST:MOST machines are needed, such as 2:20",
            )
        delay = seconds("start-delay", self.start_delay or "2min")
        return Autoscaling(int(found[1]), int(found[2]), delay_s=delay)


def plan(
    bench: Annotated[
        list[Path], typer.Option(metavar="FILE", help="of python -m benchmarks.capacity; often")
    ],
    asked: Asked,
    promised: Promised,
    lived: Lived,
    price: Annotated[
        list[str] | None, typer.Option(metavar="KIND=NUMBER", help="of a machine an hour; often")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the plans as JSON on stdout")] = False,
) -> int:
    """How many machines a load needs, from what one of each kind was measured to do.

    The fleet is simulated, speech by speech: arrivals are a Poisson process or
    a trace, lengths and first packets are drawn from the measured ones, and
    streams share what their machine makes. --waiting is how long a speech waits
    for a place before it is refused (0), --fail-every and --repair are means of
    one machine's failures, --start-delay is how long a new machine of
    --autoscale takes to serve (2min). A TIME is a number with ms, s, min or h.

    Exit status: 0 the promise is kept, 1 it is not with these machines, 2 it
    cannot be planned so.
    """
    if find_spec("simpy") is None:
        return refused(MISSING)
    from tritone.diagnostics.planner import plan as planning
    from tritone.diagnostics.planner.measured import read_measured

    measured = [read_measured(path) for path in bench]
    prices = _prices(price or [], [each.kind for each in measured])
    promise, conditions = promised.promise, lived.conditions(asked.seed)
    plans = [
        planning.plan(each, asked.of(each, promise, conditions), promise, conditions)
        for each in measured
    ]
    kept = [(each, promise.is_kept(each.outcome)) for each in plans]
    if as_json:
        print(json.dumps([_plain(*each, promise, prices) for each in kept], indent=1))
    else:
        for each, well in kept:
            print(report(each, well, promise, prices.get(each.measured.kind)))
    return 0 if all(well for _, well in kept) else 1


def seconds(option: str, text: str) -> float:
    """Of a TIME. Raises InvalidRequest."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+) ?(ms|s|min|h|)", text.strip())
    value = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if value <= 0:
        raise InvalidRequest(f"--{option}", f"{text}; a time is needed, such as 300ms or 2min")
    return value


def positive(option: str, value: float | None) -> None:
    if value is not None and not (value > 0 and isfinite(value)):
        raise InvalidRequest(f"--{option}", f"is {value:g}; it must be above 0")


def _prices(given: list[str], kinds: list[str]) -> dict[str, float]:
    """Kind -> price of an hour. Raises InvalidRequest."""
    found: dict[str, float] = {}
    for text in given:
        kind, _, number = text.rpartition("=")
        if kind not in kinds:
            raise InvalidRequest("--price", f"{text}; the machines are {', '.join(kinds)}")
        try:
            found[kind] = float(number)
        except ValueError:
            raise InvalidRequest("--price", f"{text}; {number!r} is no number") from None
        positive("price", found[kind])
    return found


def report(plan: "Plan", kept: bool, promise: "Promise", price: float | None) -> str:
    """A paragraph for people."""
    found = plan.outcome
    machines = found.machine_s / found.lasted_s
    lines = [
        f"{plan.measured.kind}: machines {plan.machines}, of {plan.places} streams each"
        + ("" if kept else ", WHICH DO NOT KEEP THE PROMISE"),
        f"  first packet {1000 * found.first_packet(promise.share):.0f} ms ({promise.share:.0%} of "
        f"{len(found.first_packets)} speeches in {found.lasted_s:.0f} s), {found.refused:.2%} "
        f"refused, {found.dry:.2%} run dry",
        f"  {found.use:.0%} of the places used, headroom {plan.headroom:.0%} more speech"
        + ("" if plan.cores is None else f", processors {plan.cores:.0%} busy"),
    ]
    if found.failures:
        lines.append(f"  {found.failures} failures broke {found.broken:.2%} of the speeches")
    if found.most != plan.machines or round(machines) != plan.machines:
        lines.append(f"  {machines:.1f} machines on average, at most {found.most}")
    if price is not None:
        lines.append(f"  {price * _paid(plan):.2f} an hour")
    return "\n".join(lines)


def _paid(plan: "Plan") -> float:
    """Machines that are paid for, on average: what the simulation had, and those to spare."""
    found = plan.outcome
    return found.machine_s / found.lasted_s + plan.spare


def _plain(
    plan: "Plan", kept: bool, promise: "Promise", prices: dict[str, float]
) -> dict[str, Any]:
    outcome = asdict(plan.outcome)
    del outcome["first_packets"], outcome["spoken"]
    price = prices.get(plan.measured.kind)
    return {
        "kind": plan.measured.kind,
        "kept": kept,
        "machines": plan.machines,
        "places": plan.places,
        "first_packet_s": plan.outcome.first_packet(promise.share),
        "headroom": plan.headroom,
        "cores": plan.cores,
        "price_an_hour": None if price is None else price * _paid(plan),
        **outcome,
    }
